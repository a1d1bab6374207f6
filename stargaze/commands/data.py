"""The commands about data: fetch repositories, list and select features."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from stargaze.commands.cluster import resolve_place, run_stage
from stargaze.commands.options import CommonOptions, PlaceOptions, Session, command_with_example, split_names, utc_now
from stargaze.config import POLICIES
from stargaze.errors import UsageError
from stargaze.output import CommandResult, Output
from stargaze.system.process import github_token
from stargaze.system.progress import Report

EXAMPLES = {
    "fetch": "stargaze fetch --stars '>=1000' --language rust --limit 5000",
    "features": "stargaze features --json",
    "select-features": "stargaze select-features",
}
app = typer.Typer()
command = command_with_example(app, EXAMPLES)


@command("fetch")
def fetch(
    files: Annotated[list[Path] | None, typer.Option("--from", help="File of GitHub records; repeatable.")] = None,
    more_files: Annotated[list[Path] | None, typer.Argument(help="More files.", metavar="[FILE]...")] = None,
    sample: Annotated[str | None, typer.Option(help="One of the included samples.")] = None,
    query: Annotated[str | None, typer.Option(help="GitHub: words and qualifiers of its search.")] = None,
    stars: Annotated[str | None, typer.Option(help="GitHub: range of stars, as '>=1000'.")] = None,
    created: Annotated[str | None, typer.Option(help="GitHub: creation dates, as 2015..2020-06-30.")] = None,
    language: Annotated[str | None, typer.Option(help="GitHub: primary language.")] = None,
    topic: Annotated[str | None, typer.Option(help="GitHub: a topic.")] = None,
    organization: Annotated[str | None, typer.Option(help="GitHub: an organization or a user.")] = None,
    names: Annotated[list[str] | None, typer.Option("--name", help="GitHub: owner/name; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(help="GitHub: how many repositories; 0 means all.")] = None,
    sampling: Annotated[str | None, typer.Option(help="GitHub: top, stratified or random.")] = None,
    details: Annotated[
        bool | None, typer.Option("--details", help="GitHub: also contributors, README length and followers.")
    ] = None,
    star_history: Annotated[
        list[str] | None, typer.Option(help="GitHub: weekly stars of owner/name, '*' for all; repeatable.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="GitHub: request again what may have changed, ignoring the cache.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing: preview the files, or the requests to GitHub.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each request.")] = False,
    *,
    place: PlaceOptions,
    common: CommonOptions,
) -> None:
    """Fetch repositories: a sample, files of GitHub records (JSON, CSV, Parquet, .gz), or GitHub itself."""
    from stargaze.features.fetch import GithubOptions, fetch_repositories, plan_fetch, uses_github

    search: dict[str, Any] = {"query": query, "stars": stars, "created": created, "language": language, "topic": topic}
    search |= {"organization": organization, "limit": limit, "sampling": sampling}
    search |= {"details": details, "star_history": star_history}
    options = {f"github.{name}": value for name, value in {**search, "names": names}.items()}
    options["fetch.sample"] = sample
    session = common.open_session(options)
    out, config, store = session
    inputs = [*(files or []), *(more_files or [])]
    if sample is not None and (inputs or config.fetch.files or uses_github(config, inputs, update=False)):
        raise UsageError(
            "--sample cannot be combined with files or a query", hint="remove them from command and config"
        )
    if dry_run and (place.detach or place.attach is not None):
        raise UsageError("--dry-run cannot be combined with --detach or --attach", hint="stargaze fetch --dry-run")
    stage_options = {**search, "sample": sample, "name": names, "update": update or None, "file": inputs}
    place = resolve_place(place, stage_options)
    if dry_run and not uses_github(config, inputs, update=update):
        _preview(session, inputs)
        return
    if dry_run:
        place = PlaceOptions("local")
    github = GithubOptions(token=github_token(), update=update, log=out.note if verbose else None)

    def run(report: Report) -> CommandResult:
        if dry_run:
            plan = plan_fetch(config, store, report, github)
            return CommandResult(plan.as_dict(), plan.as_text())
        summary = fetch_repositories(config, store, inputs, utc_now(), report, github)
        return CommandResult(summary.as_dict(), summary.as_text())

    files_of_job = inputs or [Path(name) for name in config.fetch.files]
    typed = bool(inputs) or any(value is not None for value in options.values())
    settings: dict[str, Any] = {
        "typed": typed,
        "is_recorded": not dry_run,
        "options": ["--update"] * update,
        "files": files_of_job,
    }
    if result := run_stage("fetch", session, place, run, **settings):
        out.answer(result.value, result.text)
        _note_warnings(out, result.value)
        out.note("next: stargaze fetch" if dry_run else "next: stargaze select-features")


def _preview(session: Session, files: list[Path]) -> None:
    """Print what ``fetch`` would read from files, and end with the error with which it would end."""
    from stargaze.features.fetch import preview_files

    out, config, _ = session
    with out.progress("fetch") as report:
        preview = preview_files(config.fetch, files, utc_now(), report)
    out.answer(preview.as_dict(), preview.as_text())
    _note_warnings(out, preview.as_dict())
    if preview.error:
        raise preview.error
    out.note("next: the same command without --dry-run")


def _note_warnings(out: Output, summary: Mapping[str, Any]) -> None:
    for warning in summary.get("warnings", ()):
        out.note(f"warning: {warning}")


@command("features")
def features(common: CommonOptions) -> None:
    """List the features with source, unit, policy and meaning; with a store, also missing values and importance."""
    from stargaze.features.selection.select_features import COLUMNS, list_features

    out, _, store = common.open_session()
    title = "Features (missing: share; under a policy: importance in nat², or why it was removed)"
    out.table(list_features(store), COLUMNS, title)


@command("select-features")
def select_features(
    exclude: Annotated[
        list[str] | None, typer.Option(help="Never use these: name, pattern or group; repeatable.")
    ] = None,
    include: Annotated[list[str] | None, typer.Option(help="Select these wherever possible; repeatable.")] = None,
    policies: Annotated[str | None, typer.Option(help="Comma-separated; default features.policies.")] = None,
    test_repositories: Annotated[
        str | None, typer.Option(metavar="FILE", help="Names of the test set, one owner/name per line.")
    ] = None,
    *,
    place: PlaceOptions,
    common: CommonOptions,
) -> None:
    """Select the features of each policy, with a reason for each one that is removed."""
    from stargaze.features.selection.leak_guard import describe_refused
    from stargaze.features.selection.select_features import select_features

    options: dict[str, Any] = {"exclude": exclude or None, "include": include or None}
    options |= {"policies": split_names(policies)}
    options |= {"test_repositories": test_repositories}
    session = common.open_session({f"features.{name}": value for name, value in options.items()})
    out, config, store = session

    def run(report: Report) -> CommandResult:
        selection = select_features(config.features, store, report)
        return CommandResult(selection.as_rows(), selection.test_set)

    if result := run_stage("select-features", session, resolve_place(place, options), run):
        title = "Features (importance in nat², or why it was removed)"
        used = [policy for policy in POLICIES if policy in result.value[0]]  # a job may have had other settings
        columns = ["feature", "missing", "rho", *used]
        out.table(result.value if out.as_json else group_numbered(result.value, columns), columns, title)
        if result.text:
            out.note(result.text)
        out.text(f"plot: {store.selection_plot}")
        for line in describe_refused({row["feature"]: row[used[-1]] for row in result.value}):
            out.note(f"warning: {line}")
        out.note("next: stargaze screen")


def group_numbered(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row for features with consecutive numbers and equal values: the components of the embeddings.

    Examples
    --------
    >>> group_numbered([{"feature": f"component_{i}", "all": "constant"} for i in (1, 2, 3)], ["feature", "all"])
    [{'feature': 'component_1 to 3', 'all': 'constant'}]
    """

    def values(row: Mapping[str, Any]) -> tuple[str, ...]:
        stem = str(row["feature"]).rstrip("0123456789")
        return (stem, *(str(row.get(name)) for name in columns if name != "feature"))

    grouped = []
    for (stem, *_), same in itertools.groupby(rows, key=values):
        equal = [dict(row) for row in same]
        if len(equal) > 1 and stem.endswith("_"):
            equal = [equal[0] | {"feature": f"{equal[0]['feature']} to {str(equal[-1]['feature']).removeprefix(stem)}"}]
        grouped += equal
    return grouped

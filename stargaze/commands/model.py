"""The commands about models: screen and tune them, predict, forecast and report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from stargaze.commands.cluster import resolve_place, run_stage
from stargaze.commands.options import CommonOptions, PlaceOptions, Session, command_with_example, split_names, utc_now
from stargaze.errors import UsageError
from stargaze.output import CommandResult, Output
from stargaze.system.files import is_standard_output
from stargaze.system.progress import Report

EXAMPLES = {
    "screen": "stargaze screen --families lightgbm,ridge",
    "tune": "stargaze tune --trials 200",
    "predict": "stargaze predict pallets/flask https://github.com/vercel/next.js",
    "forecast": "stargaze forecast pallets/flask",
    "ablate": "stargaze ablate --without text --without forks",
    "report": "stargaze report --output report.html",
}
Names = Annotated[list[str], typer.Argument(help="owner/name or GitHub URL, one or more.", metavar="OWNER/NAME...")]
PredictedNames = Annotated[
    list[str] | None, typer.Argument(help="owner/name or GitHub URL, one or more.", metavar="[OWNER/NAME]...")
]
LEADERBOARD_COLUMNS = ["policy", "family", "status", "rmsle", "spread", "rmse", "r2", "mdape", "rho"]
LEADERBOARD_COLUMNS += ["fit_time", "size_mb", "note"]
ABLATION_COLUMNS = ["without", "features", "rmsle", "rmsle_change", "rmsle_error", "r2", "r2_change", "r2_error"]
ABLATION_COLUMNS += ["rmse", "rmse_change", "rmse_error", "beyond_noise"]
app = typer.Typer()
command = command_with_example(app, EXAMPLES)


@command("screen")
def screen(
    families: Annotated[str | None, typer.Option(help="Comma-separated names; default all.")] = None,
    max_rows: Annotated[int | None, typer.Option(help="At most this many training rows.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds per family.")] = None,
    time_budget: Annotated[float | None, typer.Option(help="Seconds for all families, slow ones last.")] = None,
    executor: Annotated[
        str | None, typer.Option(help="Where they run: process, docker (on the engine of DOCKER_HOST) or ray.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(help="Families at the same time; 0 means as many as fit.")
    ] = None,
    cpus: Annotated[float | None, typer.Option(help="docker: cores of a container.")] = None,
    memory: Annotated[float | None, typer.Option(help="docker: memory of a container in GB.")] = None,
    *,
    place: PlaceOptions,
    common: CommonOptions,
) -> None:
    """Compare the model families by cross-validation, each one isolated in a process, a container or a Ray task."""
    from stargaze.tuning.screen import leaderboard_rows, screen

    options = {"families": split_names(families), "max_rows": max_rows, "time_limit": time_limit, "executor": executor}
    options |= {"time_budget": time_budget, "max_concurrent": max_concurrent, "cpus": cpus, "memory": memory}
    keys = {f"screening.{name}": value for name, value in options.items()}
    session = common.open_session(keys)
    out, config, store = session

    def run(report: Report) -> CommandResult:
        return CommandResult(leaderboard_rows(screen(config.screening, store, config.features.seed, report)))

    if result := run_stage("screen", session, resolve_place(place, options), run):
        out.table(result.value, LEADERBOARD_COLUMNS, "Leaderboard (RMSLE in nat, RMSE in stars, fit time in s)")
        out.note("next: stargaze tune")


@command("tune")
def tune(
    trials: Annotated[int | None, typer.Option(help="Configurations to try.")] = None,
    time_budget: Annotated[float | None, typer.Option(help="Seconds for trials, refit and calibration.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search and the models.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Trials at the same time.")] = None,
    racing: Annotated[bool | None, typer.Option(help="Stop a trial that cannot win.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What is minimized: rmsle, or rmse in stars, whose estimate is the mean.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped tuning; finished trials are not repeated.")
    ] = False,
    *,
    place: PlaceOptions,
    common: CommonOptions,
) -> None:
    """Tune the finalists with Ray Tune and save the best as a bundle; with `tuning.target = "growth"`, fit forecasts.

    On the machines of stargaze infra: stargaze tune --on cluster
    """
    from stargaze.features.selection.leak_guard import describe_alarms
    from stargaze.tuning.tune import tune

    options: dict[str, Any] = {"trials": trials, "time_budget": time_budget, "seed": seed}
    options |= {"max_concurrent": max_concurrent, "racing": racing, "metric": metric}
    keys = {f"tuning.{name}": value for name, value in {**options, "on": place.on}.items()}
    session = common.open_session(keys)
    out, config, store = session
    options["resume"] = resume or None
    place = resolve_place(place, options, config.tuning.on)
    if config.tuning.target == "growth":
        search_options = [name for name, value in options.items() if value is not None and name != "seed"]
        if search_options:
            option = search_options[0].replace("_", "-")
            raise UsageError(f'--{option} has no effect when tuning.target is "growth"', hint="stargaze tune")
        _tune_growth(session, place)
        return

    def run(report: Report) -> CommandResult:
        tuned = tune(config.tuning, store, resume=resume, report=report)
        return CommandResult(dataclasses.asdict(tuned), tuned.as_text())

    if result := run_stage("tune", session, place, run, resume=resume):
        out.answer(result.value, result.text)
        for line in describe_alarms(result.value["scores"]):
            out.note(f"warning: {line}")
        out.note("next: stargaze deploy")


@command("predict")
def predict(
    names: PredictedNames = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Predict the records of this file instead; each format of fetch; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="With --from: write a .csv, .jsonl or .parquet table instead of stdout."),
    ] = None,
    *,
    common: CommonOptions,
) -> None:
    """Predict the stars of known repositories on this machine: one sentence for each, and the strongest factors.

    With --from, of any number of records of files, known or not: one line each; --json prints JSON lines.
    """
    if files and not names:
        _predict_files(common.open_session(), files, output)
        return
    if files or output or not names:
        problem = "--output needs --from" if output and not files else "names and --from cannot be combined"
        problem = problem if names or output else "no repository is named"
        raise UsageError(problem, hint="stargaze predict OWNER/NAME..., or stargaze predict --from FILE")
    from stargaze.features.history.table_format import HistoryFormat
    from stargaze.features.ingest.user_input import UnknownRepositoryError
    from stargaze.serve.prediction.local import answer_lines, predict_locally

    out, config, store = common.open_session()
    history, exclude, form = config.growth.history_file, config.serve.exclude, HistoryFormat.of(config.growth)
    answer = predict_locally(store, names, now=utc_now(), history=history, form=form, exclude=exclude)
    out.answer(answer, "\n".join(answer_lines(answer)))
    for error in answer["errors"]:
        out.error(UnknownRepositoryError(error["message"], hint=error["hint"]))


def _predict_files(session: Session, files: list[Path], output: Path | None) -> None:
    """Predict the records of files; a refused record has an error in its row and stops no other."""
    from stargaze.bundle.star_bundle import Bundle
    from stargaze.features.streams.record_stream import open_records
    from stargaze.serve.lookup.exclusion import Exclusions
    from stargaze.serve.predict_records import RecordCounts, predict_to_lines, predict_to_table
    from stargaze.serve.prediction.local import find_bundle
    from stargaze.table_files import check_table_path

    out, config, store = session
    if output:
        store.check_output(output)
        check_table_path(output, files)
    bundle, exclusions = Bundle.load(find_bundle(store)), Exclusions.parse(config.serve.exclude)
    with open_records(config.fetch, bundle.catalog.own_columns, files, utc_now()) as stream:
        if output:
            with out.progress("predict") as report:
                counts = predict_to_table(output, bundle, stream, exclusions, report)
            value = {"path": str(output), **dataclasses.asdict(counts)}
            _answer_beside(output, out, value, f"{output}: {counts.as_text()}")
            return
        counts = RecordCounts(bundle.digest)
        for text in predict_to_lines(bundle, stream, exclusions, counts, as_json=out.as_json):
            out.lines(text)
        out.note(counts.as_text())


def _answer_beside(table: Path | None, out: Output, value: dict[str, Any], text: str) -> None:
    """Print the answer; on stderr and as text if a table was written to stdout."""
    if table and is_standard_output(table):
        out.note(text)
    else:
        out.answer(value, text)


@command("forecast")
def forecast(names: Names, common: CommonOptions) -> None:
    """Forecast the stars of repositories from their star history: one row per horizon, and the next milestone of each."""
    from stargaze.serve.prediction.local import forecast_rows, milestone_lines

    out, config, store = common.open_session()
    now = utc_now()
    options: dict[str, Any] = {"exclude": config.serve.exclude, "notify": lambda line: out.note(f"warning: {line}")}
    rows, errors = forecast_rows(config.growth, store, names, now=now, **options)
    out.table(rows, ["repository", "last_day", "stars", "days", "forecast", "low", "high"], "Forecast")
    if not out.as_json:
        for line in milestone_lines(rows, now.date()):
            out.text(line)
    for error in errors:
        out.error(error)


@command("ablate")
def ablate(
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Group, feature or pattern, joined by + to be removed together; repeatable; default all groups."
        ),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Feature policy; default tuning.estimate_policy.")] = None,
    family: Annotated[str, typer.Option(help="Model family, with default parameters.")] = "lightgbm",
    seeds: Annotated[int, typer.Option(help="Fits per fold, each with another seed.", min=1, max=100)] = 3,
    *,
    common: CommonOptions,
) -> None:
    """Measure what groups of features add: out-of-fold scores with and without them, paired by fold, of refitted models."""
    from stargaze.tuning.ablation import ablate

    out, config, store = common.open_session({"tuning.estimate_policy": policy})
    with out.progress("ablate") as progress:
        options: dict[str, Any] = {"family": family, "seeds": seeds, "report": progress}
        rows = ablate(store, config.tuning.estimate_policy, without or (), metric=config.tuning.metric, **options)
    out.table(rows, ABLATION_COLUMNS, f"Policy {config.tuning.estimate_policy} without groups of features, out-of-fold")
    out.text("change: added without the features; error: standard error of the paired differences over folds")


@command("report")
def report(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it; default report.html in the store.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Also write every held-out prediction to this .csv, .jsonl or .parquet file."),
    ] = None,
    *,
    common: CommonOptions,
) -> None:
    """Write one HTML page about the newest bundle: data card, model card, charts, and their numbers."""
    from stargaze.report.write import write_report

    out, _, store = common.open_session()
    with out.progress("report") as progress:
        written = write_report(store, output, progress, predictions=predictions)
    _answer_beside(predictions, out, written.tables.as_dict(), written.as_text())


def _tune_growth(session: Session, place: PlaceOptions) -> None:
    from stargaze.tuning.growth.tune_growth import tune_growth

    out, config, store = session

    def run(report: Report) -> CommandResult:
        tuned = tune_growth(config.growth, config.tuning, store, now=utc_now(), report=report)
        return CommandResult(dataclasses.asdict(tuned))

    if not (result := run_stage("tune", session, place, run, is_recorded=False)):
        return
    tuned = result.value
    if out.as_json:
        out.answer(tuned)
        return
    out.table(tuned["left_out"], ["kind", "column", "reason", "rows", "example"], "Left out of the history")
    anomaly_columns = ["anomaly", "cases", "repositories", "action", "examples"]
    out.table(tuned["anomalies"], anomaly_columns, "Anomalies of the history")
    columns = ["days", "method", "examples", "r2", "median_error", "coverage"]
    out.table(tuned["scores"], columns, "Growth (R² of its log, error as a share)")
    out.text(f"growth bundle {Path(tuned['bundle']).name[:12]} of {tuned['repositories']:,} repositories")

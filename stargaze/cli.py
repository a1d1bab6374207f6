"""Every command: read the config, call one function, print its answer.

Exit codes: 0 done, 1 a check found a difference, 2 usage, config or bad data, 3 a missing input, 4 credentials,
5 an outside system, 130 interrupted, 128 + number ended by a signal.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from stargaze import __version__, config
from stargaze.commands import hook as cli_hook
from stargaze.commands import infra as cli_infra
from stargaze.commands.options import AsJson, Attach, ConfigPath, Detach, OnPlace, StorePath, now, open_session
from stargaze.errors import StargazeError, UsageError
from stargaze.output import Output
from stargaze.system.signals import unwinding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stargaze.infra.jobs.client import Outcome
    from stargaze.store import Store

INTERRUPTED = 130
EXAMPLES = {
    "init": "stargaze init",
    "config": "stargaze config --json",
    "fetch": "stargaze fetch --stars '>=1000' --language rust --limit 5000",
    "features": "stargaze features --json",
    "select-features": "stargaze select-features",
    "screen": "stargaze screen --families lightgbm,ridge",
    "tune": "stargaze tune --trials 200",
    "deploy": "stargaze deploy",
    "rollback": "stargaze rollback",
    "releases": "stargaze releases --json",
    "logs": "stargaze logs web --follow",
    "scale": "stargaze scale web=4 worker=8",
    "drill": "stargaze drill stargaze --only worker,broker",
    "serve": "stargaze serve --port 8080",
    "run": "stargaze run --once",
    "predict": "stargaze predict nylas/N1 https://github.com/bevacqua/dragula",
    "forecast": "stargaze forecast pallets/flask",
    "report": "stargaze report --output report.html",
    "status": "stargaze status",
    "doctor": "stargaze doctor --json",
}


GOES_ON = {
    "fetch": "stargaze fetch begins this step again, and asks GitHub nothing twice",
    "tune": "stargaze tune --resume goes on",
    "run": "stargaze run goes on",
}
"""What to type after Ctrl-C where that is not the same command again."""


class Commands(TyperGroup):
    """The commands in the order of the path; Ctrl-C becomes exit code 130."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Keep the order in which they are written."""
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what it had finished stays."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            name = ctx.invoked_subcommand
            Output().note("interrupted: what was finished before is kept")
            Output().note(f"hint:  {GOES_ON.get(name, f'stargaze {name} begins this step again')}")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=Commands,
    help="Predict how many stargazers a GitHub repository has earned, and run the machine behind that answer.\n\n"
    "Example: stargaze run",
    epilog=(__doc__ or "").split("\n\n")[1].replace("\n", " "),
    add_completion=False,
    rich_markup_mode=None,  # rich would cost 100 ms of start-up
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command with its example below its help."""
    return app.command(name, epilog=f"Example: {EXAMPLES[name]}")


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Hold what is common to all commands."""
    if version:
        print(__version__)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        raise typer.Exit(UsageError.exit_code)


@command("init")
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = config.DEFAULT_PATH,
    *,
    show: Annotated[bool, typer.Option("--print", help="Print it instead.")] = False,
) -> None:
    """Write the annotated config file with every key at its default."""
    from stargaze.system.files import atomic_write

    if show:
        print(config.render(), end="")
        return
    if path.exists():
        raise UsageError(f"{path} is there already", hint=f"stargaze init --print; or remove {path} first")
    with atomic_write(path) as temporary:
        temporary.write_text(config.render(), encoding="utf-8")
    Output().answer({}, f"{path} is written; next: stargaze run")


@command("config")
def show_config(path: ConfigPath = None, store: StorePath = None, as_json: AsJson = False) -> None:
    """Print every key as it is in force: default, file, environment and option taken together."""
    settings = config.load(path, options={"store.path": store})
    Output(as_json).answer(config.as_dict(settings), config.render(settings))


@command("fetch")
def fetch(
    files: Annotated[
        list[Path] | None, typer.Option("--from", help="File of GitHub records; may be given again.")
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(help="More files.", metavar="[FILE]...")] = None,
    query: Annotated[str | None, typer.Option(help="GitHub: words and qualifiers of its search.")] = None,
    stars: Annotated[str | None, typer.Option(help="GitHub: range of stars, as '>=1000'.")] = None,
    created: Annotated[str | None, typer.Option(help="GitHub: range of creation, as 2015..2020-06-30.")] = None,
    language: Annotated[str | None, typer.Option(help="GitHub: primary language.")] = None,
    topic: Annotated[str | None, typer.Option(help="GitHub: a topic.")] = None,
    organization: Annotated[str | None, typer.Option(help="GitHub: an organization or a user.")] = None,
    names: Annotated[list[str] | None, typer.Option("--name", help="GitHub: owner/name; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(help="GitHub: how many; 0 means all.")] = None,
    sampling: Annotated[str | None, typer.Option(help="GitHub: top, stratified or random.")] = None,
    details: Annotated[
        bool | None, typer.Option("--details", help="GitHub: contributors, README, followers too.")
    ] = None,
    star_history: Annotated[
        list[str] | None, typer.Option(help="GitHub: weekly stars of owner/name, '*' of all; may be given again.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="GitHub: ask anew what may have changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="GitHub: say what it takes, and gather nothing.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each request.")] = False,
    on: OnPlace = None,
    detach: Detach = False,
    attach: Attach = False,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Gather repositories: the shipped sample, files of GitHub records (JSON, CSV, Parquet, .gz), or GitHub itself."""
    from stargaze.features import fetch as sources
    from stargaze.store import lock_store

    asked: dict[str, Any] = {"query": query, "stars": stars, "created": created, "language": language, "topic": topic}
    asked |= {
        "organization": organization,
        "limit": limit,
        "sampling": sampling,
        "details": details,
        "star_history": star_history,
    }
    options = {f"github.{name}": value for name, value in {**asked, "names": names}.items()}
    out, settings, place = open_session(path, store, as_json, options)
    given = [*(files or []), *(more or [])]
    if dry_run and (detach or attach):
        raise UsageError("--dry-run begins nothing that could be left or followed", hint="stargaze fetch --dry-run")
    own = {**asked, "name": names, "update": update or None, "file": given}
    if _is_away(on, detach, attach, own) and not dry_run:
        words = ["--update"] if update else []
        from_files = given or [Path(name) for name in settings.fetch.files]
        found = _away("fetch", out, settings, place, detach, attach, words=words, files=from_files)
        if found is not None:
            out.answer(found.value, found.text)
            out.note("next: stargaze select-features")
        return
    way = sources.GithubOptions(
        token=os.environ.get("GITHUB_TOKEN", ""), update=update, tell=out.note if verbose else None
    )
    with lock_store(place), out.progress("fetch") as report:
        if dry_run:
            answer: Any = sources.foresee(settings, place, given, report, way)
        else:
            answer = sources.repositories(settings, place, given, now(), report, way)
    out.answer(answer.as_dict(), answer.as_text())
    out.note("next: stargaze fetch" if dry_run else "next: stargaze select-features")


@command("features")
def features(path: ConfigPath = None, store: StorePath = None, as_json: AsJson = False) -> None:
    """Print the catalogue of features: source, unit, policy, meaning; with a store, what is missing and what each is worth."""
    from stargaze.features.selection.feature_table import COLUMNS, list_features

    out, _, place = open_session(path, store, as_json)
    out.table(list_features(place), COLUMNS, "Features (missing: share; under a policy: worth in nat², or why not)")


@command("select-features")
def select_features(
    on: OnPlace = None,
    detach: Detach = False,
    attach: Attach = False,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Decide which features stay under each policy, with a reason for each that goes."""
    from stargaze.features.selection.select_features import select_features
    from stargaze.store import lock_store

    out, settings, place = open_session(path, store, as_json)
    if _is_away(on, detach, attach, {}):
        found = _away("select-features", out, settings, place, detach, attach)
        if found is None:
            return
        rows = found.value
    else:
        with lock_store(place), out.progress("select-features") as report:
            rows = select_features(settings.features, place, report).as_rows()
    out.table(rows, ["feature", "missing", "rho", *config.POLICIES], "Features (worth in nat², or why not)")
    out.text(f"picture: {place.selection_plot}")
    out.note("next: stargaze screen")


@command("screen")
def screen(
    families: Annotated[str | None, typer.Option(help="Names with commas between; default all.")] = None,
    max_rows: Annotated[int | None, typer.Option(help="At most this many training rows.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds a family may take.")] = None,
    executor: Annotated[
        str | None, typer.Option(help="Where they run: process, docker (on the engine of DOCKER_HOST) or ray.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(help="Families at the same time; 0 means what there is room for.")
    ] = None,
    cpus: Annotated[float | None, typer.Option(help="docker: cores of a container.")] = None,
    memory: Annotated[float | None, typer.Option(help="docker: memory of a container in GB.")] = None,
    on: OnPlace = None,
    detach: Detach = False,
    attach: Attach = False,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Compare the model families under cross-validation, each on its own: a process, a container or a Ray task."""
    from stargaze.store import lock_store
    from stargaze.tuning.screen import leaderboard_rows, screen

    names = None if families is None else [name.strip() for name in families.split(",") if name.strip()]
    own = {
        "families": names,
        "max_rows": max_rows,
        "time_limit": time_limit,
        "executor": executor,
        "max_concurrent": max_concurrent,
    }
    own |= {"cpus": cpus, "memory": memory}
    out, settings, place = open_session(
        path, store, as_json, {f"screening.{name}": value for name, value in own.items()}
    )
    if _is_away(on, detach, attach, own):
        found = _away("screen", out, settings, place, detach, attach)
        if found is None:
            return
        board = found.value
    else:
        with lock_store(place), out.progress("screen") as report:
            board = leaderboard_rows(screen(settings.screening, place, settings.features.seed, report))
    columns = ["policy", "family", "status", "rmsle", "spread", "r2", "mdape", "rho", "fit_time", "size_mb", "note"]
    out.table(board, columns, "Leaderboard (RMSLE in nat, fit time in s)")
    out.note("next: stargaze tune")


@command("tune")
def tune(
    trials: Annotated[int | None, typer.Option(help="Configurations to try.")] = None,
    time_budget: Annotated[float | None, typer.Option(help="Stop starting trials after this many seconds.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes search and models.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Trials at the same time.")] = None,
    racing: Annotated[bool | None, typer.Option(help="End a trial that cannot win.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped tuning was; repeats no finished trial.")
    ] = False,
    on: OnPlace = None,
    detach: Detach = False,
    attach: Attach = False,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Tune the finalists with Ray Tune and save the best as a bundle; with `tuning.target = "growth"`, foresee growth.

    On the machines of stargaze infra: stargaze tune --on cluster
    """
    import dataclasses

    from stargaze.store import lock_store
    from stargaze.tuning.tune import tune

    options = {
        "trials": trials,
        "time_budget": time_budget,
        "seed": seed,
        "max_concurrent": max_concurrent,
        "racing": racing,
    }
    given = {f"tuning.{name}": value for name, value in {**options, "on": on}.items()}
    out, settings, place = open_session(path, store, as_json, given)
    away = _is_away(on, detach, attach, {**options, "resume": resume or None}, settings.tuning.on)
    if settings.tuning.target == "growth":
        asked = {**options, "seed": None, "resume": resume or None}
        searching = [name for name, value in asked.items() if value is not None]
        _tune_growth(out, settings, place, searching, (detach, attach) if away else None)
        return
    if away:
        found = _away("tune", out, settings, place, detach, attach, resume=resume)
        if found is not None:
            out.answer(found.value, found.text)
            out.note("next: stargaze deploy")
        return
    with lock_store(place), out.progress("tune") as report:
        tuned = tune(settings.tuning, place, now=now(), resume=resume, report=report)
    out.answer(dataclasses.asdict(tuned), tuned.as_text())
    out.note("next: stargaze deploy")


@command("deploy")
def deploy(
    digest: Annotated[
        str | None, typer.Argument(help="Digest of a bundle or its beginning; default the newest.")
    ] = None,
    force: Annotated[
        str | None,
        typer.Option("--force", help="Why it shall go also if it predicts worse than the release in production."),
    ] = None,
    rotate_secrets: Annotated[
        bool, typer.Option("--rotate-secrets", help="swarm: make new passwords and keys, and let the old ones go.")
    ] = False,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Push the bundle, unless it predicts worse than production, as a signed release that hooks check before they install it."""
    import dataclasses

    from stargaze.serve.release.publish import check_force_reason, deploy
    from stargaze.serve.release.quality_gate import check_quality

    out, settings, place = open_session(path, store, as_json)
    forced = check_force_reason(force)

    def gate(challenger: Path, champion: Path) -> None:
        out.note(check_quality(challenger, champion, place).as_text())

    if settings.deploy.to == "swarm":
        from stargaze.commands import swarm as cli_delivery

        cli_delivery.deploy(
            out, settings, place, digest=digest, rotate=rotate_secrets, now=now(), gate=gate, forced=forced
        )
        return
    if rotate_secrets:
        raise UsageError("--rotate-secrets is about the Swarm's secrets", hint='deploy.to = "swarm"')
    release = deploy(settings.deploy, place, now=now(), digest=digest, gate=gate, force_reason=forced)
    word = "is deployed" if release.changed else "was deployed already: nothing to do"
    out.answer(dataclasses.asdict(release), f"release {release.digest[:12]} {word}")
    out.note("next: stargaze serve")


@command("rollback")
def rollback(
    to: Annotated[
        str | None, typer.Argument(help="Digest of a release or its beginning; default the one before.")
    ] = None,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Return to the release before; it is a new release, so the record stays whole."""
    import dataclasses

    from stargaze.serve.release.publish import rollback

    out, settings, place = open_session(path, store, as_json)
    if settings.deploy.to == "swarm":
        from stargaze.commands import swarm as cli_delivery

        cli_delivery.rollback(out, settings, place, to=to, now=now())
        return
    release = rollback(settings.deploy, place, now=now(), to=to)
    out.answer(dataclasses.asdict(release), f"release {release.digest[:12]} serves again")


@command("releases")
def releases(path: ConfigPath = None, store: StorePath = None, as_json: AsJson = False) -> None:
    """List the releases, newest first: who, when, which bundle."""
    import dataclasses

    from stargaze.serve.release.publish import list_releases

    out, _, place = open_session(path, store, as_json)
    rows = [dataclasses.asdict(release) for release in list_releases(place)]
    out.table(
        [{**row, "digest": row["digest"][:12]} for row in rows] if not as_json else rows,
        ["created_at", "kind", "digest", "author"],
    )


@command("logs")
def logs(
    service: Annotated[str, typer.Argument(help="A service, as status names it: web, worker, broker, results.")],
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of each replica.", min=1)] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    path: ConfigPath = None,
    store: StorePath = None,
) -> None:
    """Print the log of a service of the Swarm, of all its replicas."""
    from stargaze.commands import swarm as cli_delivery

    _, settings, place = open_session(path, store, False)
    cli_delivery.logs(settings, place, service, lines=lines, follow=follow)


@command("scale")
def scale(
    replicas: Annotated[list[str], typer.Argument(help="How many of what.", metavar="SERVICE=NUMBER...")],
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Set how many pages and workers run in the Swarm, until the next deploy."""
    from stargaze.commands import swarm as cli_delivery

    out, settings, place = open_session(path, store, as_json)
    cli_delivery.scale(out, settings, place, replicas)


@command("drill")
def drill(
    name: Annotated[str, typer.Argument(help="The cluster's name (infra.name), typed because this hurts it.")],
    only: Annotated[str, typer.Option(help="Some of: worker, web, broker, node, deploy; divided by commas.")] = "",
    rate: Annotated[
        float,
        typer.Option(help="Questions asked meanwhile [1/s]; fewer where serve.rate_limit is lower.", min=0.1, max=1000),
    ] = 50.0,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Kill parts of production under load, one after the other, and say which promises held. Ends with 1 if one did not."""
    from stargaze.commands import swarm as cli_delivery

    out, settings, place = open_session(path, store, as_json)
    typed = ["--store", str(place.root), *(["--config", str(path)] if path else [])]
    cli_delivery.drill(out, settings, place, name=name, only=only, rate=rate, typed=typed)


@command("serve")
def serve(
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Prediction processes.")] = None,
    path: ConfigPath = None,
    store: StorePath = None,
) -> None:
    """Serve the page and the API: gunicorn and a Celery worker, until Ctrl-C."""
    from stargaze.serve.runtime.settings import Sources
    from stargaze.serve.supervisor.supervise import serve

    options = {"serve.port": port, "serve.host": host, "serve.worker_processes": workers}
    out, settings, place = open_session(path, store, False, options)
    sources = Sources(settings.github.api_url, settings.growth.history_file)
    code = serve(settings.serve, place, sources, announce=lambda url: out.text(f"serving at {url} (Ctrl-C ends it)"))
    raise typer.Exit(code)


@command("run")
def run(
    once: Annotated[
        bool, typer.Option("--once", help="Predict once over HTTP, then end, instead of serving on.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Do every stage, also those that are done.")] = False,
    trials: Annotated[int | None, typer.Option(help="Configurations to try.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Walk from the repositories to the page in one go; what is done already is skipped."""
    from stargaze.pipeline.run import travel

    out, settings, place = open_session(path, store, as_json, {"tuning.trials": trials, "serve.port": port})
    raise typer.Exit(travel(settings, place, out, once=once, again=again, clock=now))


@command("predict")
def predict(
    names: Annotated[list[str], typer.Argument(help="owner/name or GitHub URL, one or more.", metavar="OWNER/NAME...")],
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Predict the stars of known repositories here in the terminal, with interval and the strongest reasons."""
    from stargaze.serve.prediction.local import predict_locally

    out, _, place = open_session(path, store, as_json)
    ranked = predict_locally(place, names)
    columns = ["rank", "repository", "predicted", "interval", "percentile", "actual", "factors"]
    out.table(ranked if not as_json else [row["prediction"] for row in ranked], columns)


@command("forecast")
def forecast(
    names: Annotated[list[str], typer.Argument(help="owner/name or GitHub URL, one or more.", metavar="OWNER/NAME...")],
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Foresee the stars of repositories from their history, a horizon each; the growth bundle answers."""
    from stargaze.serve.prediction.forecast import forecast_rows

    out, settings, place = open_session(path, store, as_json)
    rows = forecast_rows(settings.growth, place, names, now=now())
    out.table(rows, ["repository", "last_day", "stars", "days", "forecast", "low", "high"], "Forecast")


@command("report")
def report(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it; default report.html in the store.")
    ] = None,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page on the newest bundle: data and model card, charts, and the numbers behind them."""
    from stargaze.report.write import write_report

    out, _, place = open_session(path, store, as_json)
    with out.progress("report") as tell:
        written = write_report(place, output, tell)
    out.answer(written.numbers.as_dict(), written.as_text())


@command("status")
def status(path: ConfigPath = None, store: StorePath = None, as_json: AsJson = False) -> None:
    """Show every artefact: where it lies, when it was made, what it holds; with a Swarm, its machines and services."""
    from stargaze.pipeline.stages import state

    out, settings, place = open_session(path, store, as_json)
    if settings.deploy.to == "swarm":
        from stargaze.commands import swarm as cli_delivery

        cli_delivery.status(out, settings, place, state(place))
        return
    out.table(state(place), ["noun", "holds", "made", "path"])


@command("doctor")
def doctor(path: ConfigPath = None, store: StorePath = None, as_json: AsJson = False) -> None:
    """Check this machine, the cloud and its machines; say what is ill and what to type. Ends with 1 if something is."""
    from stargaze.errors import DifferenceFoundError
    from stargaze.pipeline.doctor import examine

    out, settings, place = open_session(path, store, as_json)
    checks = examine(settings, place, os.environ)
    out.table([check.as_row() for check in checks], ["check", "state", "found", "type"])
    ill = [check.name for check in checks if check.state == "ill"]
    if ill:
        raise DifferenceFoundError(f"ill: {', '.join(ill)}", hint="the last column says what to type")


def _tune_growth(
    out: Output, settings: config.Config, place: Store, searching: list[str], away: tuple[bool, bool] | None
) -> None:
    """Make the growth bundle; there are no trials that could be bounded or gone on with."""
    import dataclasses

    from stargaze.store import lock_store
    from stargaze.tuning.growth.tune_growth import tune_growth

    if searching:
        option = searching[0].replace("_", "-")
        raise UsageError(f"--{option} is about trials, and growth has none", hint="stargaze tune")
    if away:
        found = _away("tune", out, settings, place, *away)
        if found is None:
            return
        tuned = found.value
    else:
        with lock_store(place), out.progress("tune") as report:
            tuned = dataclasses.asdict(tune_growth(settings.growth, settings.tuning, place, now=now(), report=report))
    if out.as_json:
        out.answer(tuned)
        return
    out.table(tuned["faults"], ["fault", "cases", "repositories", "done", "as"], "Broken and renamed series")
    out.table(
        tuned["scores"],
        ["days", "method", "examples", "r2", "median_error", "coverage"],
        "Growth (R² of its log, error as a share)",
    )
    out.text(f"growth bundle {Path(tuned['bundle']).name[:12]} of {tuned['repositories']:,} repositories")


def _is_away(on: str | None, detach: bool, attach: bool, asked: Mapping[str, Any], configured: str = "local") -> bool:
    """Notify whether a stage is the cluster's; who speaks of leaving or meeting it means that. ``asked``: its own options."""
    if detach and attach:
        raise UsageError("--detach leaves a stage to itself, and --attach follows it", hint="give one of them")
    late = [name.replace("_", "-") for name, value in asked.items() if value is not None and value != []]
    if attach and late:
        raise UsageError(
            f"--attach follows what was begun, and --{late[0]} comes too late for that", hint=f"leave out --{late[0]}"
        )
    place = configured if on is None else config.parse_section("tuning", {"on": on}, source="option").on
    if on == "local" and (detach or attach):
        option = "detach" if detach else "attach"
        raise UsageError(f"--{option} is about the cluster, and --on says local", hint="give one of them")
    return detach or attach or place == "cluster"


def _away(
    stage: str, out: Output, settings: config.Config, place: Store, detach: bool, attach: bool, **taken: Any
) -> Outcome | None:
    """Carry a stage out on the cluster, or follow the one that was begun; None where it is left to itself."""
    from stargaze.infra.jobs import remote_stage as elsewhere
    from stargaze.store import lock_store

    with lock_store(place), out.progress(stage) as report:
        begun = {} if attach else elsewhere.begin(stage, settings, place, now(), report, **taken)
        if not detach:
            return elsewhere.attend(stage, settings, place, report)
    out.answer(begun, f"{stage} runs on {begun['machine']}")
    out.note(f"next: stargaze {stage} --attach")
    return None


app.add_typer(cli_infra.app, name="infra")
app.add_typer(cli_hook.app, name="hook")


def main(argv: list[str] | None = None) -> None:
    """Run the app; the single place where an error becomes a message and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot write ends nothing
    try:
        with unwinding():
            code = app(argv, prog_name="stargaze", standalone_mode=False)
    except (StargazeError, typer.TyperException) as error:
        problem = error if isinstance(error, StargazeError) else _misuse(error)
        Output().error(problem)
        raise SystemExit(problem.exit_code) from error
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has seen enough
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("error: standard output: the disk is full\nhint:  write elsewhere", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest would fail once more at the end
        raise SystemExit(5) from None
    raise SystemExit(code or 0)


def _misuse(error: typer.TyperException) -> UsageError:
    """Word an unknown command, option or value as every other error is worded."""
    path = getattr(getattr(error, "ctx", None), "command_path", "stargaze")
    return UsageError(" ".join(error.format_message().split()), hint=f"{path} -h shows what it takes")


if __name__ == "__main__":
    main()

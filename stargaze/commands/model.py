"""The commands about models: screen and tune them, predict, forecast and report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from stargaze.commands.cluster import run_on_cluster
from stargaze.commands.options import (
    AsJson,
    Attach,
    ConfigPath,
    Detach,
    On,
    Session,
    StorePath,
    command_with_example,
    open_session,
    utc_now,
)
from stargaze.errors import UsageError

EXAMPLES = {
    "screen": "stargaze screen --families lightgbm,ridge",
    "tune": "stargaze tune --trials 200",
    "predict": "stargaze predict nylas/N1 https://github.com/bevacqua/dragula",
    "forecast": "stargaze forecast pallets/flask",
    "report": "stargaze report --output report.html",
}
Names = Annotated[list[str], typer.Argument(help="owner/name or GitHub URL, one or more.", metavar="OWNER/NAME...")]
LEADERBOARD_COLUMNS = ["policy", "family", "status", "rmsle", "spread", "r2", "mdape", "rho"]
LEADERBOARD_COLUMNS += ["fit_time", "size_mb", "note"]
app = typer.Typer()
command = command_with_example(app, EXAMPLES)


@command("screen")
def screen(
    families: Annotated[str | None, typer.Option(help="Comma-separated names; default all.")] = None,
    max_rows: Annotated[int | None, typer.Option(help="At most this many training rows.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds per family.")] = None,
    executor: Annotated[
        str | None, typer.Option(help="Where they run: process, docker (on the engine of DOCKER_HOST) or ray.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(help="Families at the same time; 0 means as many as fit.")
    ] = None,
    cpus: Annotated[float | None, typer.Option(help="docker: cores of a container.")] = None,
    memory: Annotated[float | None, typer.Option(help="docker: memory of a container in GB.")] = None,
    on: On = None,
    detach: Detach = False,
    attach: Attach = False,
    config_path: ConfigPath = None,
    store_path: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Compare the model families by cross-validation, each one isolated in a process, a container or a Ray task."""
    from stargaze.infra.jobs.placement import runs_on_cluster
    from stargaze.store import lock_store
    from stargaze.tuning.screen import leaderboard_rows, screen

    names = None if families is None else [name.strip() for name in families.split(",") if name.strip()]
    options = {"families": names, "max_rows": max_rows, "time_limit": time_limit, "executor": executor}
    options |= {"max_concurrent": max_concurrent, "cpus": cpus, "memory": memory}
    keys = {f"screening.{name}": value for name, value in options.items()}
    session = open_session(config_path, store_path, as_json, keys)
    out, config, store = session
    if runs_on_cluster(on, detach=detach, attach=attach, options=options):
        outcome = run_on_cluster("screen", session, detach=detach, attach=attach)
        if outcome is None:
            return
        rows = outcome.value
    else:
        with lock_store(store), out.progress("screen") as report:
            rows = leaderboard_rows(screen(config.screening, store, config.features.seed, report))
    out.table(rows, LEADERBOARD_COLUMNS, "Leaderboard (RMSLE in nat, fit time in s)")
    out.note("next: stargaze tune")


@command("tune")
def tune(
    trials: Annotated[int | None, typer.Option(help="Configurations to try.")] = None,
    time_budget: Annotated[float | None, typer.Option(help="Start no trial after this many seconds.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search and the models.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Trials at the same time.")] = None,
    racing: Annotated[bool | None, typer.Option(help="Stop a trial that cannot win.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped tuning; finished trials are not repeated.")
    ] = False,
    on: On = None,
    detach: Detach = False,
    attach: Attach = False,
    config_path: ConfigPath = None,
    store_path: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Tune the finalists with Ray Tune and save the best as a bundle; with `tuning.target = "growth"`, fit forecasts.

    On the machines of stargaze infra: stargaze tune --on cluster
    """
    from stargaze.infra.jobs.placement import runs_on_cluster
    from stargaze.store import lock_store
    from stargaze.tuning.tune import tune

    options: dict[str, Any] = {"trials": trials, "time_budget": time_budget, "seed": seed}
    options |= {"max_concurrent": max_concurrent, "racing": racing}
    keys = {f"tuning.{name}": value for name, value in {**options, "on": on}.items()}
    session = open_session(config_path, store_path, as_json, keys)
    out, config, store = session
    options["resume"] = resume or None
    on_cluster = runs_on_cluster(on, detach=detach, attach=attach, options=options, configured=config.tuning.on)
    if config.tuning.target == "growth":
        search_options = [name for name, value in options.items() if value is not None and name != "seed"]
        if search_options:
            option = search_options[0].replace("_", "-")
            raise UsageError(f'--{option} has no effect when tuning.target is "growth"', hint="stargaze tune")
        _tune_growth(session, on_cluster=on_cluster, detach=detach, attach=attach)
        return
    if on_cluster:
        outcome = run_on_cluster("tune", session, detach=detach, attach=attach, resume=resume)
        if outcome is None:
            return
        out.answer(outcome.value, outcome.text)
    else:
        with lock_store(store), out.progress("tune") as report:
            tuned = tune(config.tuning, store, now=utc_now(), resume=resume, report=report)
        out.answer(dataclasses.asdict(tuned), tuned.as_text())
    out.note("next: stargaze deploy")


@command("predict")
def predict(
    names: Names, config_path: ConfigPath = None, store_path: StorePath = None, as_json: AsJson = False
) -> None:
    """Predict the stars of known repositories on this machine, with interval and the strongest factors."""
    from stargaze.serve.prediction.local import predict_locally

    out, _, store = open_session(config_path, store_path, as_json)
    rows = predict_locally(store, names)
    columns = ["rank", "repository", "predicted", "interval", "percentile", "actual", "factors"]
    out.table(rows if not as_json else [row["prediction"] for row in rows], columns)


@command("forecast")
def forecast(
    names: Names, config_path: ConfigPath = None, store_path: StorePath = None, as_json: AsJson = False
) -> None:
    """Forecast the stars of repositories from their star history, one row per horizon, with the growth bundle."""
    from stargaze.serve.prediction.local import forecast_rows

    out, config, store = open_session(config_path, store_path, as_json)
    rows = forecast_rows(config.growth, store, names, now=utc_now())
    out.table(rows, ["repository", "last_day", "stars", "days", "forecast", "low", "high"], "Forecast")


@command("report")
def report(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it; default report.html in the store.")
    ] = None,
    config_path: ConfigPath = None,
    store_path: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page about the newest bundle: data card, model card, charts, and their numbers."""
    from stargaze.report.write import write_report

    out, _, store = open_session(config_path, store_path, as_json)
    with out.progress("report") as progress:
        written = write_report(store, output, progress)
    out.answer(written.tables.as_dict(), written.as_text())


def _tune_growth(session: Session, *, on_cluster: bool, detach: bool, attach: bool) -> None:
    from stargaze.store import lock_store
    from stargaze.tuning.growth.tune_growth import tune_growth

    out, config, store = session
    if on_cluster:
        outcome = run_on_cluster("tune", session, detach=detach, attach=attach)
        if outcome is None:
            return
        tuned = outcome.value
    else:
        with lock_store(store), out.progress("tune") as report:
            tuned = dataclasses.asdict(tune_growth(config.growth, config.tuning, store, now=utc_now(), report=report))
    if out.as_json:
        out.answer(tuned)
        return
    out.table(
        tuned["anomalies"],
        ["anomaly", "cases", "repositories", "action", "examples"],
        "Anomalies of the history",
    )
    columns = ["days", "method", "examples", "r2", "median_error", "coverage"]
    out.table(tuned["scores"], columns, "Growth (R² of its log, error as a share)")
    out.text(f"growth bundle {Path(tuned['bundle']).name[:12]} of {tuned['repositories']:,} repositories")

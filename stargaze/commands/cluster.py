"""Run a stage on this machine or as a job on the cluster, and list and stop these jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from stargaze.commands.options import CommonOptions, PlaceOptions, Session, command_with_example, utc_now
from stargaze.config import parse_section
from stargaze.errors import UsageError
from stargaze.output import CommandResult
from stargaze.pipeline.stage_records import begin_stage, record_end, record_stage, record_start
from stargaze.store import Store, lock_store
from stargaze.system.progress import Report

EXAMPLES = {"jobs": "stargaze jobs --json"}
app = typer.Typer()
command = command_with_example(app, EXAMPLES)


@command("jobs")
def jobs(
    *,
    stop: Annotated[
        str | None, typer.Option("--stop", metavar="ID", help="Stop this job; its results stay there.")
    ] = None,
    common: CommonOptions,
) -> None:
    """List the jobs on the cluster, of every store and machine; follow one by the option --attach of its stage."""
    from stargaze.infra.jobs.remote_stage import JOB_COLUMNS, list_cluster_jobs, stop_cluster_job

    out, config, store = common.open_session()
    if stop is not None:
        stopped = stop_cluster_job(config, store, stop)
        out.answer(stopped, f"job {stopped['id']}: {stopped['state']}")
        return
    rows = list_cluster_jobs(config, store)
    out.table(rows, JOB_COLUMNS, "Jobs on the cluster (here: the one of this store)")
    if rows:
        out.note(f"next: stargaze {rows[0]['stage']} --attach {rows[0]['id']}, or stargaze jobs --stop {rows[0]['id']}")


def resolve_place(place: PlaceOptions, options: Mapping[str, Any], configured: str = "local") -> PlaceOptions:
    """Return the place with ``on`` set to local or cluster; ``--detach`` and ``--attach`` imply the cluster.

    ``options`` are the stage's own options, None where not given; they cannot be combined with ``--attach``.
    """
    on, detach, attach = place.on, place.detach, place.attach
    if detach and attach is not None:
        raise UsageError("--detach and --attach cannot be combined", hint="give one of them")
    names = [name.replace("_", "-") for name, value in options.items() if value is not None and value != []]
    if attach is not None and names:
        raise UsageError(
            f"--{names[0]} cannot be combined with --attach, which follows a job that is already running",
            hint=f"leave out --{names[0]}",
        )
    on = configured if on is None else parse_section("tuning", {"on": on}, source="option").on
    if place.on == "local" and (detach or attach is not None):
        raise UsageError(f"--{'detach' if detach else 'attach'} needs --on cluster", hint="--on cluster")
    return PlaceOptions("cluster" if detach or attach is not None else on, detach, attach)


def run_stage(
    stage: str,
    session: Session,
    place: PlaceOptions,
    run: Callable[[Report], CommandResult],
    *,
    typed: bool = False,
    is_recorded: bool = True,
    **inputs: Any,
) -> CommandResult | None:
    """Run a stage here with ``run``, or on the cluster, or follow the one that runs there; None if it was only started.

    ``typed`` says that options named the source of ``fetch``; with ``is_recorded``, what the stage ran with is recorded.
    """
    out, config, store = session
    with lock_store(store), out.progress(stage) as report:
        keys = begin_stage(stage, config, store, files=inputs.get("files", ())) if is_recorded else {}
        if place.on == "local":
            result = _run_here(stage, store, run, report)
            if is_recorded:
                record_stage(stage, store, keys, utc_now(), typed=typed)
            return result
        from stargaze.infra.jobs.remote_stage import attach_stage, is_job_of_store, start_stage
        from stargaze.pipeline.stages import use_in_sandbox

        job = {} if place.attach is not None else start_stage(stage, config, store, utc_now(), report, **inputs)
        if is_recorded and place.attach is None:
            record_start(stage, store, keys, typed=typed)
        if not place.detach:
            is_own = not place.attach or is_job_of_store(place.attach, store)
            attached = attach_stage(stage, config, store, report, place.attach or "", use_in_sandbox)
            if is_own:
                record_end(stage, store, utc_now())
            return attached
    out.answer(job, f"{stage} runs on {job['machine']} as job {job['id']}")
    out.note(f"next: stargaze {stage} --attach")
    return None


def _run_here(stage: str, store: Store, run: Callable[[Report], CommandResult], report: Report) -> CommandResult:
    try:
        return run(report)
    except KeyboardInterrupt as interrupt:
        if stage == "tune" and not interrupt.args and not store.journal.exists():
            raise KeyboardInterrupt("stargaze tune starts this step again") from None
        raise

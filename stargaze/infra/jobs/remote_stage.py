"""Run a pipeline stage as a job on the cluster."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from stargaze.config import Config
from stargaze.errors import ExternalError, MissingInputError
from stargaze.infra.jobs.client import check_inputs, follow_job, submit_job
from stargaze.infra.jobs.job_note import JobNote, check_stage, note_from_dict, read_note, require_note
from stargaze.infra.jobs.results import UseBundle
from stargaze.infra.jobs.spec import build_spec, check_job_id
from stargaze.infra.jobs.ssh_client import NEVER_RAN, HeadLayout, JobService, SshJobService
from stargaze.output import CommandResult
from stargaze.store import Store
from stargaze.system.process import token_environment
from stargaze.system.progress import Report
from stargaze.system.text import replace_unprintable

NEEDS_TOKEN = ("fetch",)
"""The stages that receive GITHUB_TOKEN of this machine."""
RESULT_KEYS = {
    "fetch": {"repositories"},
    "stars": {"bundle", "trials"},
    "growth": {"anomalies", "bundle", "left_out", "repositories", "scores"},
}
"""Keys of a result that is one object; that of other stages is a list of rows."""
JOB_COLUMNS = ("id", "stage", "state", "started_at", "here")


def connect_cluster(config: Config, store: Store) -> JobService:
    """Return the job server of the cluster that the config names; MissingInputError if there is no cluster."""
    from stargaze.infra.hosts.host_list import find_ssh_hosts
    from stargaze.infra.hosts.state_dir import open_state_dir

    machine = find_ssh_hosts(config.infra, open_state_dir(config.infra, store), "development")[0]
    return SshJobService(machine, HeadLayout.from_variables(config.infra.ansible_variables))


def start_stage(
    stage: str,
    config: Config,
    store: Store,
    now: datetime,
    report: Report,
    *,
    options: Sequence[str] = (),
    files: Sequence[Path] = (),
    resume: bool = False,
) -> dict[str, str]:
    """Start a stage on the cluster; return its id, stage, machine and time."""
    environment = token_environment() if stage in NEEDS_TOKEN else {}
    options = [*options, *(["--resume"] if resume else [])]
    spec = build_spec(stage, config, store, options=options, files=files, resume=resume)
    check_inputs(spec, store)  # before the cluster is contacted
    job = f"stargaze-{secrets.token_hex(6)}"
    return submit_job(spec, connect_cluster(config, store), store, now, job, environment, report).answer()


def is_started(stage: str, config: Config, store: Store) -> bool:
    """Return whether the stage was started on the cluster, which knows it, and its results are not downloaded."""
    note = read_note(store)
    if note is None or note.stage != stage:
        return False
    return connect_cluster(config, store).describe(note.id).get("state") not in NEVER_RAN


def is_job_of_store(job: str, store: Store) -> bool:
    """Return whether a job was started from this store and its results are not downloaded."""
    note = read_note(store)
    return note is not None and note.id == job


def attach_stage(
    stage: str, config: Config, store: Store, report: Report, job: str = "", use: UseBundle = bool
) -> CommandResult:
    """Follow a stage on the cluster and download its results; return its result as if it ran here.

    Without the id of a ``job`` it is the one that was started from this store. ``use`` verifies a bundle by using it.
    """
    note = (
        _find_note(stage, config, store, job) if job else require_note(stage, store)
    )  # before the cluster is contacted
    outcome = follow_job(note, connect_cluster(config, store), store, report, use)
    _check_result(note, outcome.value)
    if stage == "tune":
        latest = store.latest_growth if note.target == "growth" else store.latest
        outcome.value["bundle"] = str(store.bundles / latest.read_text(encoding="ascii").strip())
    return outcome


def list_cluster_jobs(config: Config, store: Store) -> list[dict[str, Any]]:
    """Return a row for each job on the cluster, newest first, and for that of this store if the cluster does not know it."""
    note = read_note(store)
    known = connect_cluster(config, store).list_jobs()
    jobs = [{name: replace_unprintable(str(job.get(name, ""))) for name in JOB_COLUMNS} for job in known]
    if note is not None and note.id not in [job["id"] for job in jobs]:
        jobs.append({**note.answer(), "state": "unknown"})
    return [{**job, "here": "yes" if note is not None and note.id == job["id"] else ""} for job in jobs]


def stop_cluster_job(config: Config, store: Store, job: str) -> dict[str, Any]:
    """Stop a job; its results stay on the cluster."""
    check_job_id(job)
    service = connect_cluster(config, store)
    state = replace_unprintable(str(service.stop(job).get("state")))
    if state == "unknown":
        raise MissingInputError(f"{service.name} knows no job {job}", hint="stargaze jobs lists them")
    return {"id": job, "state": state}


def _find_note(stage: str, config: Config, store: Store, job: str) -> JobNote:
    """Return the note about a job that may have been started elsewhere."""
    check_job_id(job)
    note = read_note(store)
    if note is not None and note.id == job:
        check_stage(stage, note)
        return note
    service = connect_cluster(config, store)
    described = service.describe(job)
    if described.get("state") == "unknown":
        raise MissingInputError(f"{service.name} knows no job {job}", hint="stargaze jobs lists them")
    try:
        found = note_from_dict({**described, "id": job, "machine": service.name})
    except (TypeError, ValueError) as error:
        raise ExternalError(f"{service.name}: job {job} cannot be read: {error}", hint="stargaze jobs") from error
    check_stage(stage, found)
    return found


def _check_result(note: JobNote, value: Any) -> None:
    """Raise ExternalError if a stage did not return its result."""
    keys = RESULT_KEYS.get(note.target or note.stage)
    is_valid = isinstance(value, list) and all(isinstance(row, dict) for row in value)
    if keys is not None:
        is_valid = isinstance(value, dict) and keys <= value.keys()
    if not is_valid:
        raise ExternalError(f"{note.stage} returned no result", hint=f"stargaze {note.stage} --on cluster")

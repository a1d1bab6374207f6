"""Submit a job, show its progress, stop it on Ctrl-C, and download its results."""

from __future__ import annotations

import io
import json
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from stargaze.bundle.manifest import verify_files
from stargaze.errors import ExternalError, MissingInputError, StargazeError, UsageError, error_from_code
from stargaze.infra.jobs.archive import checksums, pack_files, unpack_files
from stargaze.infra.jobs.spec import JobSpec
from stargaze.infra.jobs.ssh_client import JobService
from stargaze.output import CommandResult
from stargaze.store import Store
from stargaze.system.files import convert_disk_errors, read_json, scratch_folder, write_json
from stargaze.system.journal import Journal
from stargaze.system.progress import Report

RETRY_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses before a lost connection is opened again [s]."""
KEPT_LINES = 20
"""Last lines that a command printed, for the error message if it crashes."""
STOPPED = (130, 143, -2, -15)
"""Exit codes of a command that was stopped."""


def read_job(store: Store) -> dict[str, Any] | None:
    """Return the job of a store on the cluster, None if there is none."""
    job: dict[str, Any] | None = read_json(store.job, "status") if store.job.exists() else None
    return job


def require_job(stage: str, store: Store) -> dict[str, Any]:
    """Return the job of a stage; MissingInputError if there is no job, UsageError if it is a job of another stage."""
    job = read_job(store)
    if job is None:
        raise MissingInputError(f"this store has no {stage} job on the cluster", hint=f"stargaze {stage} --on cluster")
    if job["stage"] != stage:
        hint = f"stargaze {job['stage']} --attach"
        raise UsageError(f"the job on the cluster is {job['stage']}, not {stage}", hint=hint)
    return job


def check_inputs(spec: JobSpec, store: Store) -> None:
    """Check that every input of a job exists; the hint of MissingInputError is the command that creates it."""
    for path in spec.inputs.values():
        if path == store.journal and not path.exists():
            raise MissingInputError("there is no stopped tuning to resume", hint=f"stargaze {spec.stage} --on cluster")
        if path.is_relative_to(store.root):
            store.require(path)
        elif not path.exists():
            raise MissingInputError(f"{path}: no such file", hint="check the name")


def submit_job(
    spec: JobSpec, service: JobService, store: Store, now: datetime, environment: Mapping[str, str], report: Report
) -> dict[str, str]:
    """Upload the inputs, which exist, and start the job; return its id, stage, machine and time.

    ExternalError if the store already has a job on the cluster, or the head node has other code or cannot be reached.
    """
    report(f"inspecting {service.name}", 0.0)
    expected = checksums(spec.inputs)
    state = service.inspect(expected)
    _check_no_job(store, service, state["job"])
    missing = {name: spec.inputs[name] for name in state["missing"]}
    size = sum(path.stat().st_size for path in missing.values()) / 1e6
    report(f"uploading {size:.1f} MB to {service.name}", 0.0)
    started = now.isoformat(timespec="seconds")
    job = {"id": f"stargaze-{uuid.uuid4().hex[:12]}", "stage": spec.stage, "started": started}
    public = {**job, "machine": service.name}
    outputs = {"outputs": list(spec.outputs), "partial_outputs": list(spec.partial_outputs)}
    write_json(store.job, {**public, "inputs": list(expected), **outputs})
    request: dict[str, Any] = {**job, "argv": list(spec.argv), "config": spec.config}
    request |= {"checksums": expected, "environment": dict(environment)}
    try:
        service.submit(request, pack_files(missing))
    except KeyboardInterrupt:
        service.stop()  # waits for a submission in progress
        store.job.unlink(missing_ok=True)
        raise
    except StargazeError:
        if not _may_be_running(service, job["id"]):
            store.job.unlink(missing_ok=True)
        raise
    return public


def follow_job(stage: str, service: JobService, store: Store, report: Report) -> CommandResult:
    """Show the progress of the job until it has ended, download its results and return its result, or raise its error.

    Ctrl-C stops the job, downloads its partial results and raises KeyboardInterrupt. If this process ends in another way or the
    connection is lost, the job continues.
    """
    job = require_job(stage, store)
    output = JobOutput()
    try:
        exit_code = _read_events(service, report, stage, output)
    except KeyboardInterrupt:
        report(f"stopping {stage} on {service.name}", 0.0)
        service.stop()
        download_results(service, store, job["partial_outputs"])
        raise
    if exit_code == 0:
        download_results(service, store, job["outputs"])
        if store.journal.name in job["partial_outputs"]:
            _clean_journal(store, resumed=store.journal.name in job["inputs"])
        return CommandResult(output.result, output.text)
    download_results(service, store, job["partial_outputs"])
    if output.error is not None and exit_code not in STOPPED:
        raise error_from_code(output.error["error"], output.error["hint"], output.error["code"])
    hint = f"stargaze {stage} --on cluster{' --resume' if job['partial_outputs'] else ''}"
    raise ExternalError(f"{stage} ended on {service.name}{output.describe_end(exit_code)}", hint=hint)


def download_results(service: JobService, store: Store, names: Sequence[str]) -> None:
    """Download files, verify them, move them into place, and delete the record of the job."""
    if names:
        with scratch_folder(store.root) as scratch:
            downloaded = unpack_files(io.BytesIO(service.download(names)), scratch)
            for name in downloaded:
                if name.startswith("bundles/latest"):
                    _verify_bundle(scratch, name)
            _move_into_place(scratch, store, downloaded)
    store.job.unlink(missing_ok=True)


@dataclass
class JobOutput:
    """The report of a command besides its progress: its error, its result, and its last lines."""

    error: dict[str, Any] | None = None
    result: Any = None
    text: str = ""
    lines: list[str] = field(default_factory=list)

    def add(self, event: Mapping[str, Any]) -> None:
        """Record an event."""
        if "error" in event:
            self.error = dict(event)
        if "result" in event:
            self.result, self.text = event["result"], event["text"]
        if str(event.get("output", "")).strip():
            self.lines = [*self.lines, event["output"]][-KEPT_LINES:]

    def describe_end(self, exit_code: int | None) -> str:
        """Return why the command ended, to be appended to a message."""
        reason = (self.error or {}).get("error") or next(reversed(self.lines), "")
        return f": {reason}" if reason else "" if exit_code is None else f" with exit code {exit_code}"


def _read_events(service: JobService, report: Report, stage: str, output: JobOutput) -> int | None:
    """Read the events of the job, also after lost connections; return its exit code, None if it is unknown."""
    offset, failures = 0, 0
    while True:
        try:
            for line in service.follow(offset):
                event, failures = json.loads(line), 0
                if "exit_code" in event:
                    output.add({"output": event.get("reason") or ""})
                    return int(event["exit_code"]) if event["exit_code"] is not None else None
                offset += len(line.encode()) + 1
                output.add(event)
                if "activity" in event:
                    report(event["activity"], event["fraction"])
        except ExternalError as error:
            if failures == len(RETRY_PAUSES):
                hint = f"the job continues; stargaze {stage} --attach follows it"
                raise ExternalError(error.message, hint=hint) from error
            time.sleep(RETRY_PAUSES[failures])
            failures += 1


def _check_no_job(store: Store, service: JobService, running: Mapping[str, Any] | None) -> None:
    job = read_job(store)
    if job is not None and running is not None and running["id"] == job["id"]:
        state, results = (
            ("is running", "") if running["running"] else ("has finished", "; its results have not been downloaded")
        )
        raise ExternalError(
            f"{job['stage']} of this store {state} on {service.name} (started {job['started']}){results}",
            hint=f"stargaze {job['stage']} --attach",
        )
    if running is not None and running["running"]:
        raise ExternalError(
            f"{running['stage']} of this store is running on {service.name} (started {running['started']}) "
            "and was not started from this machine",
            hint="wait for it",
        )


def _may_be_running(service: JobService, job: str) -> bool:
    """Return whether a job runs although its submission failed; True if this is unknown."""
    try:
        state = service.inspect({})["job"]
    except ExternalError:
        return True
    return state is not None and state["id"] == job and state["running"]


def _verify_bundle(scratch: Path, latest: str) -> None:
    """Check that the bundle is complete and the one that is named; nothing is loaded from it."""
    digest = (scratch / latest).read_text(encoding="utf-8").strip()
    if verify_files(scratch / "bundles" / Path(digest).name) != digest:
        raise ExternalError("the downloaded bundle is not the one that was created", hint="stargaze tune --attach")


def _move_into_place(scratch: Path, store: Store, names: Sequence[str]) -> None:
    """Move bundles first, and the files that name them last."""
    for folder in sorted({Path(name).parent for name in names if name.count("/") == 2}):
        target = store.root / folder
        with convert_disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # the same digest
                shutil.rmtree(target)
            (scratch / folder).rename(target)
            target.chmod(0o755)
    for name in (name for name in names if name.count("/") < 2):
        with convert_disk_errors(store.root / name):
            (store.root / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).chmod(0o644)
            if store.root / name == store.journal:
                Journal(store.journal).adopt(scratch / name)
            else:
                (scratch / name).replace(store.root / name)


def _clean_journal(store: Store, *, resumed: bool) -> None:
    """Delete the journal after a resumed tuning, keep its trials after another one, as a local tuning does."""
    if resumed:
        store.journal.unlink(missing_ok=True)
    else:
        Journal(store.journal).set_aside()

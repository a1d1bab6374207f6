"""Begin a job, show its progress, stop it on Ctrl-C, and download its results."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from stargaze.errors import ExternalError, MissingInputError, StargazeError, error_from_code
from stargaze.infra.jobs.archive import checksums, pack_files
from stargaze.infra.jobs.job_note import JobNote, keep_old_note, read_note
from stargaze.infra.jobs.results import UseBundle, download_results
from stargaze.infra.jobs.spec import PARTIAL_OUTPUTS, JobSpec, list_outputs
from stargaze.infra.jobs.ssh_client import NEVER_RAN, ConnectionLostError, JobService, on_machine, store_id
from stargaze.output import CommandResult
from stargaze.store import Store
from stargaze.system.journal import Journal
from stargaze.system.progress import Report
from stargaze.system.text import last_line, replace_unprintable

T = TypeVar("T")
RETRY_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses before a lost connection is opened again [s]."""
KEPT_LINES = 20
"""Last lines that a command printed, for the error message if it crashes."""
LOG_LINE = re.compile(r"\[[^\]]*\] |\*\*\* |PC: @|    @ |hint:|\(\w+ pid=")
"""Beginnings of lines of Ray's C++ log, of a stack trace and of a hint, which are not the reason of an end."""


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
    spec: JobSpec,
    service: JobService,
    store: Store,
    now: datetime,
    job: str,
    environment: Mapping[str, str],
    report: Report,
) -> JobNote:
    """Upload the inputs, which exist, and start the job ``job``; return its note.

    ExternalError if the store already has a job on the cluster, or the head node has other code or cannot be reached.
    """
    report(f"inspecting {service.name}", 0.0)
    expected, origin = checksums(spec.inputs), store_id(store.root)
    has_old_note = _check_no_job(store, service)
    state = service.inspect(expected, origin)
    _check_none_running(service, state["running"])
    missing = {name: path for name, path in spec.inputs.items() if name in state["missing"]}
    size = sum(path.stat().st_size for path in missing.values()) / 1e6
    started_at = now.isoformat(timespec="seconds")
    note = JobNote(job, spec.stage, service.name, started_at, spec.target, expected)
    if has_old_note:
        report(f"the note about the unknown job is kept as {keep_old_note(store)}", 0.0)
    note.write(store)
    report(f"uploading {size:.1f} MB to {service.name}", 0.0)
    request: dict[str, Any] = {name: getattr(note, name) for name in ("id", "stage", "started_at", "target")}
    request |= {"origin": origin, "argv": list(spec.argv), "config": spec.config, "checksums": expected}
    request |= {"environment": dict(environment)}
    try:
        service.begin(job, request, pack_files(missing))
    except KeyboardInterrupt:
        _stop_for_good(note, service, store)
        raise KeyboardInterrupt(f"stargaze {spec.stage} --on cluster starts this step again") from None
    except StargazeError as error:
        _check_begun(note, service, store, error)
    return note


def follow_job(
    note: JobNote, service: JobService, store: Store, report: Report, use: UseBundle = bool
) -> CommandResult:
    """Show the progress of a job until it has ended, download its results and return its result, or raise its error.

    Ctrl-C stops the job, downloads its partial results and raises KeyboardInterrupt. If this process ends in another way or the
    connection is lost, the job continues. ``use`` verifies a bundle by using it.
    """
    output = JobOutput()
    partial = PARTIAL_OUTPUTS.get(note.stage, ())
    try:
        try:
            end = _read_events(note, service, report, output)
        except KeyboardInterrupt:
            report(f"stopping {note.stage} on {service.name}", 0.0)
            _retry(note, lambda: service.stop(note.id))
            arrived = _retry(note, lambda: download_results(service, store, note.id, partial))
            note.delete(store)
            hint = resume_hint(note, store, arrived)
            raise KeyboardInterrupt(
                f"{hint} {'continues' if '--resume' in hint else 'starts this step again'}"
            ) from None
        if end.get("exit_code") == 0:
            outputs = list_outputs(note.stage, note.target)
            report(f"downloading the results from {service.name}", 1.0)
            _retry(note, lambda: download_results(service, store, note.id, outputs, outputs[-1], use))
            if note.stage == "tune":
                _set_journal_aside(note, store)
            note.delete(store)
            return CommandResult(output.result, output.text)
        if end["state"] == "unknown":
            raise MissingInputError(
                f"{service.name} never received job {note.id}, or has deleted it",
                hint=f"start it again: stargaze {note.stage} --on cluster",
            )
        arrived = _retry(note, lambda: download_results(service, store, note.id, partial))
        note.delete(store)
    except KeyboardInterrupt as interrupt:
        raise (
            interrupt if interrupt.args else KeyboardInterrupt(f"stargaze {note.stage} --attach follows the job again")
        ) from None
    raise _end_error(note, service, end, output, resume_hint(note, store, arrived))


def resume_hint(note: JobNote, store: Store, arrived: list[str]) -> str:
    """Return the command that continues a stage: resumes it if there are finished trials, else starts it again."""
    name = store.journal.name
    has_trials = (name in arrived or name in note.inputs) and store.journal.exists()
    if has_trials and store.journal.read_bytes().count(b"\n") > 1:
        return f"stargaze {note.stage} --on cluster --resume"
    return f"stargaze {note.stage} --on cluster"


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
            self.error = {name: event.get(name) for name in ("error", "hint", "code")}
        if "result" in event:
            self.result, self.text = _printable(event["result"]), str(_printable(event.get("text", "")))
        if str(event.get("output", "")).strip():
            self.lines = [*self.lines, replace_unprintable(str(event["output"]))][-KEPT_LINES:]

    def last_reason(self) -> str:
        """Return why the command ended, if it said so."""
        lines = [line for line in self.lines if not LOG_LINE.match(line)]
        errors = [line for line in lines if line.startswith("error:")]
        reason = (self.error or {}).get("error") or next(reversed(errors or lines), "")
        return replace_unprintable(str(reason))[:300]


def _end_error(
    note: JobNote, service: JobService, end: Mapping[str, Any], output: JobOutput, hint: str
) -> StargazeError:
    """Return the error of a job that did not succeed."""
    name, state = service.name, end["state"]
    if state == "stopped":
        return ExternalError(f"{note.stage} was stopped on {name} (job {note.id})", hint=hint)
    if state == "not started":
        return ExternalError(f"{note.stage} did not start on {name}: its start was interrupted", hint=hint)
    if state == "lost":
        return ExternalError(f"{note.stage} was lost: Ray or its head node {name} was restarted", hint=hint)
    if output.error is not None:
        code = output.error["code"] if isinstance(output.error["code"], int) else ExternalError.exit_code
        message, told = (replace_unprintable(str(output.error[part] or "")) for part in ("error", "hint"))
        is_disk = on_machine(name, told) != told
        return error_from_code(f"{name}: {message}" if is_disk else message, on_machine(name, told), code)
    reason = output.last_reason() or last_line(replace_unprintable(str(end.get("reason") or ""), keep="\n"), "")
    exit_code = end.get("exit_code")
    described = f": {reason[:300]}" if reason else "" if exit_code is None else f" with exit code {exit_code}"
    return ExternalError(f"{note.stage} ended on {name}{described}", hint=hint)


def _read_events(note: JobNote, service: JobService, report: Report, output: JobOutput) -> dict[str, Any]:
    """Read the events of the job, also after lost connections; return the last answer: its exit code and state."""
    offset, failures = 0, 0
    while True:
        try:
            for answer in service.follow(note.id, offset):
                if "exit_code" in answer:
                    return _check_end(service, answer)
                event, next_offset = answer.get("event"), int(answer.get("next", offset))
                failures = 0 if next_offset > offset else failures
                offset = max(offset, next_offset)
                if isinstance(event, dict):
                    output.add(event)
                    _report_progress(event, report)
            raise ConnectionLostError(f"lost the connection to {service.name}: the answer has no end")
        except (ArithmeticError, ExternalError, ValueError, TypeError) as error:
            if failures == len(RETRY_PAUSES):
                hint = f"the job continues; stargaze {note.stage} --attach follows it"
                message = (
                    error.message if isinstance(error, StargazeError) else f"{service.name} gave an invalid answer"
                )
                raise ExternalError(message, hint=hint) from error
            time.sleep(RETRY_PAUSES[failures])
            failures += 1


def _check_end(service: JobService, answer: dict[str, Any]) -> dict[str, Any]:
    exit_code = answer["exit_code"]
    if exit_code is not None and not isinstance(exit_code, int):
        raise ConnectionLostError(f"{service.name} gave an invalid answer")
    return {**answer, "state": str(answer.get("state"))}


def _report_progress(event: Mapping[str, Any], report: Report) -> None:
    activity, fraction = event.get("activity"), event.get("fraction")
    if isinstance(activity, str) and isinstance(fraction, (int, float)):
        report(replace_unprintable(activity)[:300], float(max(0.0, min(1.0, fraction))))  # 1.0 for NaN


def _printable(value: Any) -> Any:
    """Return a result without control characters, which a terminal would interpret."""
    if isinstance(value, str):
        return replace_unprintable(value, keep="\n")
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return (
        {str(_printable(name)): _printable(item) for name, item in value.items()} if isinstance(value, dict) else value
    )


def _retry(note: JobNote, call: Callable[[], T]) -> T:
    """Call until the connection is not lost; then ExternalError with the command that continues."""
    for pause in (*RETRY_PAUSES, None):
        try:
            return call()
        except ConnectionLostError as error:
            if pause is None:
                raise ExternalError(error.message, hint=f"stargaze {note.stage} --attach") from error
            time.sleep(pause)
    raise AssertionError


def _check_no_job(store: Store, service: JobService) -> bool:
    """Raise ExternalError if the cluster knows the job of the store; return whether there is a note about another one."""
    note = read_note(store)
    if note is None:
        return False
    state = service.describe(note.id).get("state")
    if state in NEVER_RAN:
        return True
    described = "is running" if state == "running" else "has ended"
    raise ExternalError(
        f"{note.stage} of this store {described} on {service.name} (started {note.started_at}, job {note.id}); "
        "its results have not been downloaded",
        hint=f"stargaze {note.stage} --attach",
    )


def _check_none_running(service: JobService, running: list[dict[str, Any]]) -> None:
    """Raise ExternalError if a job of this store runs that it has no note about."""
    for job in running:
        stage, job_id, started = job["stage"], job["id"], replace_unprintable(str(job.get("started_at")))
        raise ExternalError(
            f"{stage} of this store is running on {service.name} (started {started}, job {job_id})",
            hint=f"stargaze {stage} --attach {job_id}, or stargaze jobs --stop {job_id}",
        )


def _check_begun(note: JobNote, service: JobService, store: Store, error: StargazeError) -> None:
    """Continue if the job runs although the answer to its start was lost; delete the note if it does not, and raise."""
    try:
        state = _retry(note, lambda: service.describe(note.id)).get("state")
    except ExternalError:
        hint = f"stargaze {note.stage} --attach finds out whether the job has begun"
        raise ExternalError(error.message, hint=hint) from error
    if state in NEVER_RAN:
        note.delete(store)
        raise error
    if not isinstance(error, ConnectionLostError):
        raise error


def _stop_for_good(note: JobNote, service: JobService, store: Store) -> None:
    """Stop a job while it begins; the note stays if that fails."""
    try:
        service.stop(note.id)
    except (StargazeError, KeyboardInterrupt):
        raise KeyboardInterrupt(f"stargaze {note.stage} --attach follows the job, if it has begun") from None
    note.delete(store)


def _set_journal_aside(note: JobNote, store: Store) -> None:
    """Delete the journal that was resumed and has not changed since it was sent; keep the trials of any other."""
    name = store.journal.name
    if name in note.inputs and store.journal.exists() and checksums({name: store.journal})[name] == note.inputs[name]:
        Journal(store.journal).finish()
    else:
        Journal(store.journal).set_aside()

"""The job server on the Ray head node: inspect, begin, describe, follow, stop, download, list.

Runs there under Ray's account, once per call by ssh: ``python -m stargaze.infra.jobs.server FOLDER SETTINGS RAY_ADDRESS REQUEST
METHOD JOB``. Each job has a folder, named by the id that its client created.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.errors import ExternalError, StargazeError, UsageError
from stargaze.infra.jobs.archive import ByteStream, pack_files
from stargaze.infra.jobs.framing import AnswerWriter
from stargaze.infra.jobs.job_folder import JobFolder
from stargaze.infra.jobs.ray_api import FINAL_STATES, RayJobs
from stargaze.infra.jobs.receive import create_job_folder, prune_jobs, receive_files, send_secrets, uploaded_file
from stargaze.infra.jobs.spec import FILE_NAME, JOB_ID, check_job_id
from stargaze.system.files import convert_disk_errors
from stargaze.system.locks import BusyError, file_lock
from stargaze.system.progress import WAITING
from stargaze.system.source_package import code_digest

POLL_INTERVAL = 0.2
"""Time between two reads of the events of a job [s]."""
STATUS_INTERVAL = 2.0
"""Time between two requests to Ray for the status of a job [s]."""
HEARTBEAT = 5.0
"""Interval of heartbeats, which tell both ends that the connection is alive [s]."""
WAIT_INTERVAL = 30.0
"""Interval of reports about the cores that a job waits for [s]."""
TIMEOUT = 120.0
"""Timeout for a job to stop [s]; a busy machine needs a minute."""
MAX_REQUEST = 10_000_000
"""Largest first line of a request [byte]."""
DONE = (*FINAL_STATES, "")
"""An empty state is that of a job that Ray does not know."""
PUBLIC = ("id", "stage", "started_at", "origin", "target")
"""The parts of a record that a description contains."""


@dataclass(frozen=True)
class JobServer:
    """The folder of all jobs on the head node, and Ray's job API."""

    folder: Path
    jobs: RayJobs

    def inspect(self, expected: dict[str, str], origin: str) -> dict[str, Any]:
        """Return the digest of the code, the running jobs of a store, and which of its files have not been uploaded yet."""
        missing = [name for name, digest in expected.items() if not uploaded_file(self.folder, digest).is_file()]
        running = [job for job in self.list_jobs() if job["state"] == "running" and job["origin"] == origin]
        return {"code": code_digest(), "running": running, "missing": missing}

    def begin(self, request: dict[str, Any], archive: ByteStream) -> dict[str, Any]:
        """Receive the files and start the job; return its description when it runs. The same request again changes nothing."""
        job, digest = check_job_id(request["id"]), _digest_request(request)
        with file_lock(self._lock(job)):
            place = self.place(job)
            if place.record.exists():
                return self._continue_start(job, digest, request["environment"])
            prune_jobs(self.folder, lambda other: self.jobs.status(other)[0] in DONE)
            receive_files(self.folder, request["checksums"], archive)
            cache = next(
                (self.place(other["id"]).store for other in self.list_jobs() if _has_cache(other, request)), None
            )
            record = {name: request[name] for name in (*PUBLIC, "argv")} | {"request": digest, "started": False}
            create_job_folder(self.folder, place, record, request, cache)
            self._start(job, request["environment"])
        return self.describe(job)

    def describe(self, job: str) -> dict[str, Any]:
        """Return id, stage, time and state of a job; the state of one that never began is unknown."""
        place = self.place(job)
        record = place.read()
        if record is None:
            return {"id": job, "state": "unknown"}
        return {**{name: record[name] for name in PUBLIC}, "state": self._state(job, place, started=record["started"])}

    def settle(self, job: str) -> Iterator[dict[str, Any]]:
        """Wait until no call begins this job any more, with heartbeats; none can begin it later."""
        while True:
            try:
                with file_lock(self._lock(job), busy="held"):
                    place = self.place(job)
                    record = place.read()
                    if not place.record.exists():
                        place.root.mkdir(exist_ok=True)
                        place.write(id=job, abandoned=True)
                    elif record is not None and not record["started"]:
                        self.jobs.stop(job)  # it waits for secrets that nobody sends any more
                    return
            except BusyError:
                yield {}
                time.sleep(POLL_INTERVAL)

    def list_jobs(self) -> list[dict[str, Any]]:
        """Return a description of each job, newest first."""
        names = [path.name for path in self.folder.iterdir() if JOB_ID.fullmatch(path.name)]
        known = [job for job in map(self.describe, names) if job["state"] != "unknown"]
        return sorted(known, key=lambda job: str(job["started_at"]), reverse=True)

    def follow(self, job: str, offset: int) -> Iterator[dict[str, Any]]:
        """Yield each event of a job from an offset [byte] until it has ended; an empty object is a heartbeat."""
        place, last_output, last_status, last_wait = self.place(job), time.monotonic(), 0.0, math.inf
        while (record := place.read()) is not None:
            status, reason, is_silent = "RUNNING", "", True
            if time.monotonic() - last_status > STATUS_INTERVAL:
                status, reason = self.jobs.status(job)
                last_status = time.monotonic()
            for event, next_offset in place.read_events(offset):  # after the status: the last events are not missed
                if "exit_code" in event:
                    state = self._state(job, place, started=record["started"])
                    yield {"exit_code": event["exit_code"], "state": state, "reason": ""}
                    return
                offset, is_silent, last_output = next_offset, False, time.monotonic()
                last_wait = 0.0 if event.get("activity", "") == WAITING else math.inf
                yield {"event": event, "next": offset}
            if status in DONE and is_silent:
                state = self._state(job, place, started=record["started"])
                yield {"exit_code": None, "state": state, "reason": reason}
                return
            if time.monotonic() - last_wait > WAIT_INTERVAL:
                last_wait = time.monotonic()
                yield {"event": self._describe_wait(job), "next": offset}
            if time.monotonic() - last_output > HEARTBEAT:
                last_output = time.monotonic()
                yield {}
            if is_silent:
                time.sleep(POLL_INTERVAL)
        yield {"exit_code": None, "state": "unknown", "reason": ""}

    def stop(self, job: str) -> Iterator[dict[str, Any]]:
        """Stop a job and wait until it has ended, with heartbeats."""
        deadline = time.monotonic() + TIMEOUT
        self.jobs.stop(job)
        while self.jobs.status(job)[0] not in DONE:
            if time.monotonic() > deadline:
                raise ExternalError(f"{job} did not stop within {TIMEOUT:g} s of the stop request to Ray")
            yield {}
            time.sleep(POLL_INTERVAL)

    def download(self, job: str, names: Sequence[str]) -> Iterator[bytes]:
        """Pack those of the files that exist; the file that names a bundle includes the bundle."""
        store, files = self.place(job).store, dict[str, Path]()
        for name in names:
            path = store / name
            if not FILE_NAME.fullmatch(name) or not path.is_file():
                continue
            if path.parent.name == "bundles":
                bundle = path.parent / path.read_text(encoding="utf-8").strip()
                files |= {f"bundles/{bundle.name}/{file.name}": file for file in sorted(bundle.iterdir())}
            files[name] = path
        return pack_files(files)

    def place(self, job: str) -> JobFolder:
        """Return the folder of a job."""
        return JobFolder(self.folder / check_job_id(job))

    def _lock(self, job: str) -> Path:
        """Return the lock that the start of a job holds."""
        return self.folder / "locks" / job

    def _start(self, job: str, environment: dict[str, str]) -> None:
        place = self.place(job)
        os.mkfifo(place.secrets, 0o600)
        self.jobs.submit(job, sys.executable, "-I", "-m", "stargaze.infra.jobs.job_runner", str(place.root))
        self._finish_start(job, environment)

    def _finish_start(self, job: str, environment: dict[str, str]) -> None:
        place = self.place(job)
        try:
            send_secrets(place.secrets, json.dumps(environment).encode(), lambda: self._end_reason(job))
        except ExternalError:
            self.jobs.stop(job)
            raise
        finally:
            place.secrets.unlink(missing_ok=True)
        place.write(started=True)

    def _continue_start(self, job: str, digest: str, environment: dict[str, str]) -> dict[str, Any]:
        """Answer a repeated request; complete a start that was interrupted."""
        place = self.place(job)
        record = place.read()
        if record is None or record["request"] != digest:
            raise ExternalError(f"{job} was given up, or is another job", hint="start it again")
        status = "" if record["started"] else self.jobs.status(job)[0]
        if not record["started"] and not status:
            place.secrets.unlink(missing_ok=True)
            self._start(job, environment)
        elif status in ("PENDING", "RUNNING"):
            self._finish_start(job, environment)
        return self.describe(job)

    def _end_reason(self, job: str) -> str:
        """Return why a job has ended, nothing if it has not."""
        status, reason = self.jobs.status(job)
        return (reason or status or "Ray does not know it") if status in DONE else ""

    def _state(self, job: str, place: JobFolder, *, started: bool) -> str:
        """Return running, done, failed, stopped, lost (with Ray or its machine) or "not started"."""
        end = place.end_event()
        if end:
            return "stopped" if end.get("stopped") else "failed" if end["exit_code"] else "done"
        status = self.jobs.status(job)[0]
        if not started or status in ("PENDING", "RUNNING"):
            return "running" if status in ("PENDING", "RUNNING") else "not started"
        return {"STOPPED": "stopped", "": "lost"}.get(status, "failed")

    def _describe_wait(self, job: str) -> dict[str, Any]:
        """Return the event of a job that waits for a core: how many the cluster has, and who uses them."""
        used, total = self.jobs.cores()
        if not total:
            text = "no node of the cluster has one; the job continues when a node joins"
        else:
            others = [self._describe_holder(other) for other in self.jobs.running() if other != job]
            text = f"{used:g} of {total:g} are in use" + (f" by {', '.join(others)}" if others else "")
        return {"activity": f"{WAITING}: {text}", "fraction": 0.0}

    def _describe_holder(self, job: str) -> str:
        record = self.place(job).read() if JOB_ID.fullmatch(job) else None
        return f"{record['stage']} {job} (started {record['started_at']})" if record else f"job {job}"


def _has_cache(other: dict[str, Any], request: dict[str, Any]) -> bool:
    """Return whether a job that has ended left a cache for this one."""
    is_earlier = other["stage"] == request["stage"] == "fetch" and other["origin"] == request["origin"]
    return bool(is_earlier and other["state"] != "running")


def _digest_request(request: dict[str, Any]) -> str:
    """Return a digest of a request without its secrets."""
    public = {name: value for name, value in request.items() if name != "environment"}
    return hashlib.sha256(json.dumps(public, sort_keys=True).encode()).hexdigest()


def main(arguments: list[str]) -> None:
    """Run one method; an error is one answer."""
    folder, settings, address, request, method, job, *parameters = arguments
    writer = AnswerWriter(sys.stdout.buffer, request, job)
    try:
        with convert_disk_errors(Path(folder)):
            os.umask(0o077)
            Path(folder).mkdir(parents=True, exist_ok=True)
            writer.write({"begin": method})
            server = JobServer(Path(folder).resolve(), RayJobs.from_settings(Path(settings), address))
            _run_method(server, writer, method, job, parameters)
            writer.write({"end": method})
    except StargazeError as error:
        writer.write({"rejected": {"error": error.message, "hint": error.hint, "code": error.exit_code}})
        raise SystemExit(error.exit_code) from error
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the client has gone; the job continues


def _run_method(server: JobServer, writer: AnswerWriter, method: str, job: str, parameters: list[str]) -> None:
    stdin = sys.stdin.buffer
    if method == "inspect":
        writer.write(server.inspect(_read_request(stdin), *parameters))
    elif method == "begin":
        writer.write(server.begin(_read_request(stdin), stdin))
    elif method == "list":
        writer.write({"jobs": server.list_jobs()})
    elif method in ("describe", "follow", "stop", "download"):
        for heartbeat in server.settle(job):
            writer.write(heartbeat)
        if method == "follow":
            for answer in server.follow(job, int(parameters[0])):
                writer.write(answer)
        elif method == "download":
            writer.write_data(server.download(job, parameters))
        else:
            for heartbeat in server.stop(job) if method == "stop" else ():
                writer.write(heartbeat)
            writer.write(server.describe(job))
    else:
        raise UsageError(f"{method}: unknown method")


def _read_request(stdin: ByteStream) -> dict[str, Any]:
    try:
        return dict(json.loads(stdin.readline(MAX_REQUEST)))
    except (ValueError, TypeError) as error:
        hint = "try again; a start-up file of the login shell must not read its input"
        raise ExternalError("the request did not arrive completely", hint=hint) from error


if __name__ == "__main__":
    main(sys.argv[1:])

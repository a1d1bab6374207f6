"""The job server on the Ray head node: inspect, submit, follow, stop, download.

Runs there under Ray's account, once per call by ssh: ``python -m stargaze.infra.jobs.server FOLDER SETTINGS RAY_ADDRESS METHOD``.
A folder belongs to one store: uploaded files stay for the next job, and one job runs at a time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stargaze.errors import ExternalError, StargazeError, UsageError
from stargaze.infra.jobs.archive import checksums, pack_files, unpack_files
from stargaze.infra.jobs.ray_api import FINAL_STATES, RayJobs
from stargaze.system.files import convert_disk_errors, scratch_folder, sha256, write_json
from stargaze.system.locks import TEMPORARY_NAME, file_lock, remove_stale
from stargaze.system.source_package import code_digest

CACHE_FILES = ("github.sqlite", "github.sqlite-wal", "github.sqlite-shm")
"""Files that stay for the next job, so that responses of GitHub are not requested again."""
POLL_INTERVAL = 0.2
"""Time between two reads of the events of a job [s]."""
STATUS_INTERVAL = 2.0
"""Time between two requests to Ray for the status of a job [s]."""
HEARTBEAT = 5.0
"""Interval of empty lines, which tell both ends that the connection is alive [s]."""
TIMEOUT = 120.0
"""Timeout for a job to start or to stop [s]; a busy machine needs a minute."""
DONE = (*FINAL_STATES, "")
"""An empty state is that of a job that Ray does not know."""


@dataclass(frozen=True)
class JobServer:
    """The folder of a store's jobs on the head node, and Ray's job API."""

    folder: Path
    jobs: RayJobs

    @property
    def store(self) -> Path:
        """The store of the job."""
        return self.folder / "store"

    @property
    def events(self) -> Path:
        """Events of the job, one JSON object per line."""
        return self.folder / "events.jsonl"

    @property
    def secrets(self) -> Path:
        """A named pipe for the secrets of the job: they are neither written to a file nor sent to Ray."""
        return self.folder / "secrets"

    def inspect(self, expected: dict[str, str]) -> dict[str, Any]:
        """Return the digest of the code, the last job, and which of the expected files are missing or different."""
        missing = [name for name, digest in expected.items() if not _has_checksum(self.store / name, digest)]
        return {"code": code_digest(), "job": self.job(), "missing": missing}

    def job(self) -> dict[str, Any] | None:
        """Return the last job and whether it is ``running``."""
        try:
            job: dict[str, Any] = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return {**job, "running": self.jobs.status(job["id"])[0] in ("PENDING", "RUNNING")}

    def submit(self, request: dict[str, Any], archive: IO[bytes]) -> dict[str, Any]:
        """Receive the files and start the job; return when it runs."""
        with file_lock(
            self.folder / "lock", busy="another command is submitting a job of this store", hint="try again"
        ):
            previous = self.job()
            if previous and previous["running"]:
                raise ExternalError(
                    f"{previous['stage']} of this store is already running (started {previous['started']})"
                )
            remove_stale(self.folder, TEMPORARY_NAME, now=time.time())
            self._receive_files(request["checksums"], archive)
            (self.folder / "stargaze.toml").write_text(request["config"], encoding="utf-8")
            for path in (self.events, self.secrets):
                path.unlink(missing_ok=True)
            os.mkfifo(self.secrets, 0o600)
            job = {name: request[name] for name in ("id", "stage", "argv", "started")}
            write_json(self.folder / "job.json", job)
            try:
                command = [sys.executable, "-I", "-m", "stargaze.infra.jobs.job_runner", str(self.folder)]
                self.jobs.submit(job["id"], shlex.join(command))
                self._send_secrets(job["id"], json.dumps(request["environment"]).encode())
            finally:
                self.secrets.unlink(missing_ok=True)
        return job

    def follow(self, offset: int) -> Iterator[str]:
        """Yield the events of the job from an offset [byte] until it has ended; an empty line is a heartbeat."""
        job, last_output, last_status = self.job(), time.monotonic(), 0.0
        if job is None:
            yield json.dumps({"exit_code": None, "reason": "there is no job"})
            return
        while True:
            is_done, reason = False, ""
            if time.monotonic() - last_status > STATUS_INTERVAL:
                status, reason = self.jobs.status(job["id"])
                is_done, last_status = status in DONE, time.monotonic()
            for line in _read_lines(self.events, offset):  # after the status: the last events are not missed
                offset += len(line)
                last_output = time.monotonic()
                yield line.decode("utf-8", "replace").rstrip("\n")
                if b'"exit_code"' in line and "exit_code" in json.loads(line):
                    return
            if is_done:
                yield json.dumps({"exit_code": None, "reason": reason})
                return
            if time.monotonic() - last_output > HEARTBEAT:
                last_output = time.monotonic()
                yield ""
            time.sleep(POLL_INTERVAL)

    def stop(self) -> None:
        """Stop the job and wait until it has ended; wait for a submission in progress first."""
        with file_lock(self.folder / "lock"):
            job, deadline = self.job(), time.monotonic() + TIMEOUT
        if job is None or not job["running"]:
            return
        self.jobs.stop(job["id"])
        while self.jobs.status(job["id"])[0] not in DONE:
            if time.monotonic() > deadline:
                raise ExternalError(f"{job['stage']} did not stop within {TIMEOUT:g} s of the stop request to Ray")
            time.sleep(POLL_INTERVAL)

    def download(self, names: list[str]) -> bytes:
        """Pack those of the files that exist; the file that names a bundle includes the bundle."""
        files = dict[str, Path]()
        for name in names:
            path = self.store / name
            if path.is_file() and path.parent.name == "bundles":
                bundle = path.parent / path.read_text(encoding="utf-8").strip()
                files |= {f"bundles/{bundle.name}/{file.name}": file for file in sorted(bundle.iterdir())}
            if path.is_file():
                files[name] = path
        return pack_files(files)

    def _receive_files(self, expected: dict[str, str], archive: IO[bytes]) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        with scratch_folder(self.folder) as scratch:
            for name in unpack_files(archive, scratch):
                (self.store / name).parent.mkdir(parents=True, exist_ok=True)
                (scratch / name).replace(self.store / name)
        for path in sorted(self.store.rglob("*"), reverse=True):
            name = path.relative_to(self.store).as_posix()
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):  # not empty
                    path.rmdir()
            elif name not in expected and name not in CACHE_FILES:
                path.unlink()
        files = {name: self.store / name for name in expected}
        if any(not path.is_file() for path in files.values()) or checksums(files) != expected:
            raise ExternalError(
                "checksum mismatch: the files on the cluster differ from those that were uploaded", hint="try again"
            )

    def _send_secrets(self, job: str, content: bytes) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                pipe = os.open(self.secrets, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError as error:
                if error.errno != errno.ENXIO:  # ENXIO: the job does not read yet
                    raise
            status, reason = self.jobs.status(job)
            if status in DONE or time.monotonic() > deadline:
                self.jobs.stop(job)
                raise ExternalError(f"Ray did not start the job: {reason or status or 'timeout'}")
            time.sleep(POLL_INTERVAL)
        with os.fdopen(pipe, "wb") as stream:
            os.set_blocking(pipe, True)
            stream.write(content)


def _has_checksum(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


def _read_lines(path: Path, offset: int) -> list[bytes]:
    """Return the complete lines of a growing file from an offset [byte]."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return [line for line in stream.read().splitlines(keepends=True) if line.endswith(b"\n")]
    except FileNotFoundError:
        return []


def main(arguments: list[str]) -> None:
    """Run one method; an error is one line of JSON and its exit code."""
    folder, settings, address, method, *parameters = arguments
    try:
        with convert_disk_errors(Path(folder)):
            os.umask(0o077)
            Path(folder).mkdir(parents=True, exist_ok=True)
            server = JobServer(Path(folder).resolve(), RayJobs.from_settings(Path(settings), address))
            _run_method(server, method, parameters)
    except StargazeError as error:
        rejected = {"error": error.message, "hint": error.hint, "code": error.exit_code}
        print(json.dumps({"rejected": rejected}), flush=True)  # an error of the job is an event instead
        raise SystemExit(error.exit_code) from error
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the client has gone; the job continues


def _run_method(server: JobServer, method: str, parameters: list[str]) -> None:
    stdin = sys.stdin.buffer
    if method == "inspect":
        print(json.dumps(server.inspect(json.loads(stdin.read()))))
    elif method == "submit":
        print(json.dumps(server.submit(json.loads(stdin.readline()), stdin)))
    elif method == "follow":
        for line in server.follow(int(parameters[0])):
            print(line, flush=True)
    elif method == "stop":
        server.stop()
        print("{}")
    elif method == "download":
        sys.stdout.buffer.write(server.download(parameters))
    else:
        raise UsageError(f"{method}: unknown method")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The desk on the head of a cluster: takes an errand in, has Ray carry it out, tells how far it is, gives the outcome out.

Runs there as Ray's account, called by ssh once for each verb: ``python -m stargaze.infra.jobs.server FOLDER SETTINGS JOBS VERB``.
A folder is that of one store: what was sent once stays, and one job runs there at a time.
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
from stargaze.infra.jobs.archive import pack, sums, unpack
from stargaze.infra.jobs.ray_api import OVER, RayJobs, jobs_of
from stargaze.system.files import convert_disk_errors, scratch_folder, sha256, write_json
from stargaze.system.locks import TEMPORARY_NAME, file_lock, remove_stale
from stargaze.system.source_package import code_digest

STAYS = ("github.sqlite", "github.sqlite-wal", "github.sqlite-shm")
"""What GitHub has answered is asked for once, also by the next job."""
LOOK = 0.2
"""Between two looks at what a job has told [s]."""
ASK = 2.0
"""Between two questions to Ray whether it lives [s]."""
HEARTBEAT = 5.0
"""An empty line so often tells both ends that the other is there [s]."""
PATIENCE = 120.0
"""How long a job may take to begin, or to end when it is told to [s]; a busy machine needs a minute."""


@dataclass(frozen=True)
class Desk:
    """The folder of a store's errands on the head, and Ray's job API."""

    folder: Path
    jobs: RayJobs

    @property
    def store(self) -> Path:
        """What the job works on."""
        return self.folder / "store"

    @property
    def events(self) -> Path:
        """What the job has told, one JSON a line."""
        return self.folder / "events.jsonl"

    @property
    def secrets(self) -> Path:
        """A pipe, through which secrets go from this process into the job's: they are in no file, and Ray is not told."""
        return self.folder / "secrets"

    def look(self, wanted: dict[str, str]) -> dict[str, Any]:
        """Report which code is here, whether a job runs, and which of the files are not here yet."""
        lacks = [name for name, digest in wanted.items() if not _is(self.store / name, digest)]
        return {"code": code_digest(), "job": self.job(), "lacks": lacks}

    def job(self) -> dict[str, Any] | None:
        """Return the job that was begun last, and whether it runs."""
        try:
            known: dict[str, Any] = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return {**known, "runs": self.jobs.status(known["id"])[0] in ("PENDING", "RUNNING")}

    def begin(self, asked: dict[str, Any], parcel: IO[bytes]) -> dict[str, Any]:
        """Take the files in, and start the job; return when it has begun."""
        with file_lock(self.folder / "lock", busy="another command sends an errand of this store", hint="try again"):
            before = self.job()
            if before and before["runs"]:
                raise ExternalError(f"{before['stage']} of this store runs already, since {before['began']}")
            remove_stale(self.folder, TEMPORARY_NAME, now=time.time())  # what a sending that was killed has left
            self._take(asked["sums"], parcel)
            (self.folder / "stargaze.toml").write_text(asked["settings"], encoding="utf-8")
            for path in (self.events, self.secrets):
                path.unlink(missing_ok=True)
            os.mkfifo(self.secrets, 0o600)
            known = {name: asked[name] for name in ("id", "stage", "words", "began")}
            write_json(self.folder / "job.json", known)
            try:
                command = [sys.executable, "-I", "-m", "stargaze.infra.jobs.job_runner", str(self.folder)]
                self.jobs.submit(known["id"], shlex.join(command))
                self._hand_over(known["id"], json.dumps(asked["environment"]).encode())
            finally:
                self.secrets.unlink(missing_ok=True)
        return known

    def follow(self, offset: int) -> Iterator[str]:
        """Yield what the job tells, from a place on [byte], until it has ended; an empty line is a heartbeat."""
        job, spoke, asked = self.job(), time.monotonic(), 0.0
        if job is None:
            yield json.dumps({"ended": None, "why": "no job is known here"})
            return
        while True:
            over, why = False, ""
            if time.monotonic() - asked > ASK:
                status, why = self.jobs.status(job["id"])
                over, asked = status in (*OVER, ""), time.monotonic()
            for line in _lines(self.events, offset):  # after the question: what it told last is not missed
                offset += len(line)
                spoke = time.monotonic()
                yield line.decode("utf-8", "replace").rstrip("\n")
                if b'"ended"' in line and "ended" in json.loads(line):
                    return
            if over:
                yield json.dumps({"ended": None, "why": why})
                return
            if time.monotonic() - spoke > HEARTBEAT:
                spoke = time.monotonic()
                yield ""
            time.sleep(LOOK)

    def stop(self) -> None:
        """End the job, and wait until it has ended; one that is about to begin is awaited."""
        with file_lock(self.folder / "lock"):
            job, limit = self.job(), time.monotonic() + PATIENCE
        if job is None or not job["runs"]:
            return
        self.jobs.stop(job["id"])
        while self.jobs.status(job["id"])[0] not in (*OVER, ""):
            if time.monotonic() > limit:
                raise ExternalError(f"{job['stage']} does not end: Ray was told to end it {PATIENCE:g} s ago")
            time.sleep(LOOK)

    def give(self, names: list[str]) -> bytes:
        """Pack the outcome: of these files those that are there, a bundle by the file that names it."""
        files = dict[str, Path]()
        for name in names:
            path = self.store / name
            if path.is_file() and path.parent.name == "bundles":
                folder = path.parent / path.read_text(encoding="utf-8").strip()
                files |= {f"bundles/{folder.name}/{file.name}": file for file in sorted(folder.iterdir())}
            if path.is_file():
                files[name] = path
        return pack(files)

    def _take(self, wanted: dict[str, str], parcel: IO[bytes]) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        with scratch_folder(self.folder) as scratch:
            for name in unpack(parcel, scratch):
                (self.store / name).parent.mkdir(parents=True, exist_ok=True)
                (scratch / name).replace(self.store / name)
        for path in sorted(self.store.rglob("*"), reverse=True):
            name = path.relative_to(self.store).as_posix()
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):  # it holds something
                    path.rmdir()
            elif name not in wanted and name not in STAYS:
                path.unlink()
        there = {name: self.store / name for name in wanted}
        if any(not path.is_file() for path in there.values()) or sums(there) != wanted:
            raise ExternalError("the files on the head are not those that were sent", hint="try again")

    def _hand_over(self, job: str, content: bytes) -> None:
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                pipe = os.open(self.secrets, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError as error:
                if error.errno != errno.ENXIO:  # else nobody reads yet
                    raise
            status, why = self.jobs.status(job)
            if status in (*OVER, "") or time.monotonic() > limit:
                self.jobs.stop(job)
                raise ExternalError(f"Ray did not begin the job: {why or status or 'it took too long'}")
            time.sleep(LOOK)
        with os.fdopen(pipe, "wb") as stream:
            os.set_blocking(pipe, True)
            stream.write(content)


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


def _lines(path: Path, offset: int) -> list[bytes]:
    """Return the whole lines of a file that grows, from a place on."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return [line for line in stream.read().splitlines(keepends=True) if line.endswith(b"\n")]
    except FileNotFoundError:
        return []


def main(arguments: list[str]) -> None:
    """Do what is asked; an error is a line of JSON and the code that it has everywhere."""
    folder, settings, address, verb, *more = arguments
    try:
        with convert_disk_errors(Path(folder)):
            os.umask(0o077)
            Path(folder).mkdir(parents=True, exist_ok=True)
            _serve(Desk(Path(folder).resolve(), jobs_of(Path(settings), address)), verb, more)
    except StargazeError as error:
        refused = {"error": error.message, "hint": error.hint, "code": error.exit_code}
        print(json.dumps({"refused": refused}), flush=True)  # a job's own error is an event, and no refusal
        raise SystemExit(error.exit_code) from error
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever followed has gone; the job goes on


def _serve(desk: Desk, verb: str, more: list[str]) -> None:
    stdin = sys.stdin.buffer
    if verb == "look":
        print(json.dumps(desk.look(json.loads(stdin.read()))))
    elif verb == "begin":
        print(json.dumps(desk.begin(json.loads(stdin.readline()), stdin)))
    elif verb == "follow":
        for line in desk.follow(int(more[0])):
            print(line, flush=True)
    elif verb == "stop":
        desk.stop()
        print("{}")
    elif verb == "give":
        sys.stdout.buffer.write(desk.give(more))
    else:
        raise UsageError(f"{verb}: no such verb")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The head of a cluster as it is reached from here: one call by ssh for each verb of its desk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import queue
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stargaze.errors import (
    CredentialsError,
    DifferenceFoundError,
    ExternalError,
    MissingInputError,
    StargazeError,
    UsageError,
)
from stargaze.system.source_package import code_digest
from stargaze.system.ssh import SshHost

CONFIGURE = "stargaze infra configure --tags ray"
TRAVELS = 3600.0
"""Longest time that files may travel [s]."""
ANSWERS = 300.0
"""Longest wait for an answer [s]; a job that begins on a busy machine takes its time."""
SILENCE = 30.0
"""A head that has told nothing for so long, not even that it is there, is out of reach [s]."""
ABSENT = ("No module named", "No such file or directory", "not found", "ModuleNotFoundError")
KINDS = {
    kind.exit_code: kind
    for kind in (DifferenceFoundError, UsageError, MissingInputError, CredentialsError, ExternalError)
}


@dataclass(frozen=True)
class HeadLayout:
    """Where things are on the head, as the playbooks leave them."""

    python: str = "/opt/stargaze/bin/python"
    settings: str = "/etc/stargaze/ray.env"
    user: str = "ray"
    folder: str = "/var/lib/ray"
    jobs: str = "http://127.0.0.1:8265"


def place_of(variables: Mapping[str, str]) -> HeadLayout:
    """Return the place where a config has given variables to the playbooks' role.

    Examples
    --------
    >>> place_of({"ray_user": "worker", "ray_dashboard_port": "8266"}).jobs
    'http://127.0.0.1:8266'
    """
    usual = HeadLayout()
    return HeadLayout(
        user=variables.get("ray_user", usual.user),
        folder=variables.get("ray_folder", usual.folder),
        jobs=f"http://127.0.0.1:{variables.get('ray_dashboard_port', '8265')}",
    )


class JobService(Protocol):
    """The desk on the head. Every verb but ``begin`` may be repeated."""

    @property
    def name(self) -> str:
        """What the machine is called."""

    def look(self, wanted: Mapping[str, str]) -> dict[str, Any]:
        """Return ``job`` (None, or what was begun last and whether it ``runs``) and ``lacks``, the files that it has not.

        A head with other code than ours is an ExternalError.
        """

    def begin(self, asked: Mapping[str, Any], parcel: bytes) -> None:
        """Send files and start the job; one that runs already is an ExternalError."""

    def follow(self, offset: int) -> Iterator[str]:
        """Yield what the job tells from a place on; the last has ``ended``. A connection that breaks is an ExternalError.

        What the desk itself refuses is the error that it is: no line of the job's.
        """

    def stop(self) -> None:
        """End the job and wait for that; nothing happens to one that is over."""

    def give(self, names: Sequence[str]) -> bytes:
        """Return a parcel with what there is of these files."""


@dataclass(frozen=True)
class SshHead:
    """The desk of a machine that is entered by ssh, for one store."""

    machine: SshHost
    place: HeadLayout
    store: str

    @property
    def name(self) -> str:
        """What the machine is called."""
        return self.machine.name

    def look(self, wanted: Mapping[str, str]) -> dict[str, Any]:
        """Ask what is there; refuse other code."""
        found: dict[str, Any] = json.loads(self._ask("look", stdin=json.dumps(wanted).encode()))
        if found["code"] != code_digest():
            raise ExternalError(f"{self.name} has another stargaze than this machine", hint=CONFIGURE)
        return found

    def begin(self, asked: Mapping[str, Any], parcel: bytes) -> None:
        """Send the errand in one stream: what is asked, secrets among it, in its first line, and then the files."""
        self._ask("begin", stdin=json.dumps(asked).encode() + b"\n" + parcel, seconds=TRAVELS)

    def follow(self, offset: int) -> Iterator[str]:
        """Read line by line what a command there prints; a heartbeat is an empty line."""
        words = self.machine.argv(self._command("follow", str(offset)), root=True)
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            try:
                yield from self._lines(process)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with a jump host's ssh, which would hold the pipe open

    def stop(self) -> None:
        """End the job."""
        self._ask("stop")

    def give(self, names: Sequence[str]) -> bytes:
        """Fetch the outcome."""
        return self._ask("give", *names, seconds=TRAVELS)

    def _lines(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        lines = queue.SimpleQueue[bytes]()

        def read() -> None:
            for line in process.stdout or ():
                if line.endswith(b"\n"):  # of a connection that breaks the last may be a part
                    lines.put(line)
            lines.put(b"")

        threading.Thread(target=read, daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=SILENCE)
            except queue.Empty:
                raise self._out_of_reach(f"nothing in {SILENCE:g} s") from None
            if not line:
                said = (process.stderr.read() if process.stderr else b"").decode("utf-8", "replace").strip()
                raise self._out_of_reach((said.splitlines() or ["the connection was closed"])[-1])
            if line.startswith(b'{"refused"'):
                raise _told(self.name, line)
            if line.strip():
                yield line.decode("utf-8", "replace").rstrip("\n")

    def _out_of_reach(self, why: str) -> ExternalError:
        return ExternalError(f"{self.name} is out of reach: {why}")

    def _ask(self, verb: str, *more: str, stdin: bytes = b"", seconds: float = ANSWERS) -> bytes:
        done = self.machine.try_run(*self._command(verb, *more), stdin=stdin, root=True, seconds=seconds)
        if done.returncode:
            raise _refused(self.name, done)
        return done.stdout

    def _command(self, verb: str, *more: str) -> list[str]:
        place = self.place
        command = [place.python, "-I", "-m", "stargaze.infra.jobs.server", f"{place.folder}/errands/{self.store}"]
        return ["runuser", "-u", place.user, "--", *command, place.settings, place.jobs, verb, *more]


def head_of(machine: SshHost, place: HeadLayout, store: Path) -> SshHead:
    """Return the desk for a store: its folder there has a name that no other store of any machine is likely to have."""
    told = f"{platform.node()} {uuid.getnode()} {os.getuid()} {store.resolve()}"
    return SshHead(machine, place, hashlib.sha256(told.encode()).hexdigest()[:12])


def _refused(name: str, done: subprocess.CompletedProcess[bytes]) -> StargazeError:
    try:
        return _told(name, done.stdout.splitlines()[-1])
    except (ValueError, LookupError, TypeError):
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
    if any(word in line for word in ABSENT for line in lines):
        return ExternalError(f"{name} has no stargaze, or an older one: {lines[-1][:200]}", hint=CONFIGURE)
    return ExternalError(f"{name}: {lines[-1][:300]}", hint="stargaze infra status")


def _told(name: str, line: bytes) -> StargazeError:
    """Return the error of the desk itself that is told in a line."""
    told = json.loads(line)["refused"]
    return raised(f"{name}: {told['error']}", told["hint"], told["code"])


def raised(message: str, hint: str, code: int) -> StargazeError:
    """Return an error that was told as JSON, of the kind that has this exit code."""
    return KINDS.get(code, ExternalError)(message, hint=hint)

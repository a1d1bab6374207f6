"""A project in which the commands run as a user types them, and the processes that they start."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TAG = "STARGAZE_TEST_TAG"
"""Environment variable by which the processes of a test are found."""
LOOPBACK = {
    "0100007F",  # 127.0.0.1
    "0000000000000000FFFF00000100007F",  # the same, as IPv6 writes it
    "00000000000000000000000001000000",  # ::1
}
AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
"""Processes of Ray that compute nothing, and that notice after a minute that their Ray was killed."""
TIMEOUT = 300.0
"""Ray starts in 5 s on two idle cores, and in a minute on busy ones [s]."""


@dataclass(frozen=True)
class Project:
    """A folder with a store, in which stargaze commands run as a user types them."""

    folder: Path
    tag: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    """Value of TAG in the environment of all processes that are started here, which finds them whatever their parent is."""
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    """Further environment variables of the commands."""
    unset: tuple[str, ...] = ()

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def released(self) -> str:
        """The digest of the bundle that the page serves."""
        return (self.store / "serving" / "current").resolve().name

    def run(self, *argv: str, expect: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command until it exits, and compare its exit code; ``variables`` are added to its environment."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "stargaze", *argv],
            cwd=self.folder,
            env={**self.environment(), **variables},
            umask=0,  # commands must not rely on the user's
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def run_json(self, *argv: str) -> Any:
        """Run a command and return the JSON that it prints."""
        return json.loads(self.run(*argv, "--json").stdout)

    @contextlib.contextmanager
    def started(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; at the end, kill every process that it left."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "stargaze", *argv],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()

    def processes(self) -> list[int]:
        """Return the pids of all processes that were started here and still run."""
        tag = f"{TAG}={self.tag}".encode()
        return [pid for pid in process_ids() if tag in read_process_file(pid, "environ").split(b"\0")]

    def computing_processes(self) -> list[int]:
        """Return the pids without those that only wait for a Ray that was killed."""
        return [pid for pid in self.processes() if not read_process_file(pid, "cmdline").startswith(AGENTS)]

    def trials(self) -> list[dict[str, Any]]:
        """Return the finished trials in the journal."""
        path = self.store / "trials.jsonl"
        lines = path.read_text().split("\n")[1:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def copy(self, folder: Path) -> Project:
        """Copy the store to another folder."""
        shutil.copytree(self.store, folder / "store", symlinks=True)
        return Project(folder)

    def environment(self) -> dict[str, str]:
        """Return the environment of the commands."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("STARGAZE_", "RAY_"))}
        # One permutation instead of two, as in the demo, which saves twenty seconds.
        own |= {TAG: self.tag, "XDG_CONFIG_HOME": str(self.folder), "STARGAZE_FEATURES_IMPORTANCE_REPEATS": "1"}
        return {name: value for name, value in (own | self.variables).items() if name not in self.unset}


def process_ids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def read_process_file(pid: int, name: str) -> bytes:
    """Return a file in /proc of a process; empty if the process has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def listen_addresses(pids: list[int]) -> set[str]:
    """Return the addresses, as the kernel writes them, on which these processes listen."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            inodes |= {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    addresses = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                addresses.add(fields[1].split(":")[0])
    return addresses


def wait(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a condition holds; fail after the timeout, or when the process has ended."""
    limit = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < limit, f"not within {TIMEOUT:g} s"
        assert process is None or process.poll() is None, "the command has ended"
        time.sleep(0.05)


@dataclass(frozen=True)
class Pipeline:
    """The project after the whole pipeline, and the JSON that each command printed."""

    project: Project
    output: dict[str, Any]

"""SSH client of the job server on the Ray head node: one call per method."""

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

from stargaze.errors import ExternalError, StargazeError, error_from_code
from stargaze.system.source_package import code_digest
from stargaze.system.ssh import SshHost
from stargaze.system.text import last_line

CONFIGURE = "stargaze infra configure --tags ray"
TRANSFER_TIMEOUT = 3600.0
"""Timeout for the transfer of files [s]."""
REQUEST_TIMEOUT = 300.0
"""Timeout for other calls [s]; starting a job on a busy machine takes time."""
SILENCE_TIMEOUT = 30.0
"""A head node without even a heartbeat for so long has lost the connection [s]."""
NOT_INSTALLED = ("No module named", "No such file or directory", "not found", "ModuleNotFoundError")


@dataclass(frozen=True)
class HeadLayout:
    """Paths and addresses on the head node, as the playbooks set them."""

    python: str = "/opt/stargaze/bin/python"
    settings: str = "/etc/stargaze/ray.env"
    user: str = "ray"
    folder: str = "/var/lib/ray"
    ray_address: str = "http://127.0.0.1:8265"

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> HeadLayout:
        """Return the layout with the Ansible variables of a config.

        >>> HeadLayout.from_variables({"ray_user": "worker", "ray_dashboard_port": "8266"}).ray_address
        'http://127.0.0.1:8266'
        """
        return cls(
            user=variables.get("ray_user", cls.user),
            folder=variables.get("ray_folder", cls.folder),
            ray_address=f"http://127.0.0.1:{variables.get('ray_dashboard_port', '8265')}",
        )


class JobService(Protocol):
    """The job server of one store. Every method but ``submit`` may be repeated."""

    @property
    def name(self) -> str:
        """Name of the machine."""

    def inspect(self, checksums: Mapping[str, str]) -> dict[str, Any]:
        """Return ``job`` (None, or the last job and whether it is ``running``) and the names of ``missing`` files.

        Other code on the head node than on this machine is an ExternalError.
        """

    def submit(self, request: Mapping[str, Any], archive: bytes) -> None:
        """Upload files and start the job; a running job is an ExternalError."""

    def follow(self, offset: int) -> Iterator[str]:
        """Yield the events of the job from an offset; the last one has ``exit_code``. A lost connection is an ExternalError."""

    def stop(self) -> None:
        """Stop the job and wait until it has ended; do nothing if it is not running."""

    def download(self, names: Sequence[str]) -> bytes:
        """Return an archive of those of the files that exist."""


@dataclass(frozen=True)
class SshJobService:
    """The job server of one store, called by ssh."""

    machine: SshHost
    layout: HeadLayout
    store_id: str

    @property
    def name(self) -> str:
        """Name of the machine."""
        return self.machine.name

    def inspect(self, checksums: Mapping[str, str]) -> dict[str, Any]:
        """Return the state of the job server; reject other code."""
        state: dict[str, Any] = json.loads(self._call("inspect", stdin=json.dumps(checksums).encode()))
        if state["code"] != code_digest():
            raise ExternalError(f"{self.name} has a different version of stargaze than this machine", hint=CONFIGURE)
        return state

    def submit(self, request: Mapping[str, Any], archive: bytes) -> None:
        """Send one stream: the request with the secrets in its first line, then the files."""
        self._call("submit", stdin=json.dumps(request).encode() + b"\n" + archive, seconds=TRANSFER_TIMEOUT)

    def follow(self, offset: int) -> Iterator[str]:
        """Yield the lines that the server prints, without heartbeats."""
        argv = self.machine.argv(self._command("follow", str(offset)), root=True)
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            try:
                yield from self._read_lines(process)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # also the ssh of a jump host, which keeps the pipe open

    def stop(self) -> None:
        """Stop the job."""
        self._call("stop")

    def download(self, names: Sequence[str]) -> bytes:
        """Download files."""
        return self._call("download", *names, seconds=TRANSFER_TIMEOUT)

    def _read_lines(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        lines = queue.SimpleQueue[bytes]()

        def read() -> None:
            for line in process.stdout or ():
                if line.endswith(b"\n"):  # the last line of a lost connection may be incomplete
                    lines.put(line)
            lines.put(b"")

        threading.Thread(target=read, daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=SILENCE_TIMEOUT)
            except queue.Empty:
                raise self._connection_lost(f"no output for {SILENCE_TIMEOUT:g} s") from None
            if not line:
                stderr = process.stderr.read() if process.stderr else b""
                raise self._connection_lost(last_line(stderr, "the connection was closed"))
            if line.startswith(b'{"rejected"'):
                raise _rejection(self.name, line)
            if line.strip():
                yield line.decode("utf-8", "replace").rstrip("\n")

    def _connection_lost(self, reason: str) -> ExternalError:
        return ExternalError(f"lost the connection to {self.name}: {reason}")

    def _call(self, method: str, *parameters: str, stdin: bytes = b"", seconds: float = REQUEST_TIMEOUT) -> bytes:
        completed = self.machine.try_run(*self._command(method, *parameters), stdin=stdin, root=True, seconds=seconds)
        if completed.returncode:
            raise _call_error(self.name, completed)
        return completed.stdout

    def _command(self, method: str, *parameters: str) -> list[str]:
        layout = self.layout
        program = [layout.python, "-I", "-m", "stargaze.infra.jobs.server", f"{layout.folder}/jobs/{self.store_id}"]
        return [
            *("runuser", "-u", layout.user, "--"),
            *(*program, layout.settings, layout.ray_address, method, *parameters),
        ]


def store_id(store: Path) -> str:
    """Return a name for a store that differs from those of other stores, users and machines."""
    identity = f"{platform.node()} {uuid.getnode()} {os.getuid()} {store.resolve()}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _call_error(name: str, completed: subprocess.CompletedProcess[bytes]) -> StargazeError:
    try:
        return _rejection(name, completed.stdout.splitlines()[-1])
    except (ValueError, LookupError, TypeError):
        stderr = completed.stderr.decode("utf-8", "replace")
    reason = last_line(stderr, f"exit code {completed.returncode}")
    if any(text in stderr for text in NOT_INSTALLED):
        return ExternalError(f"{name} has no stargaze, or an old version: {reason[:200]}", hint=CONFIGURE)
    return ExternalError(f"{name}: {reason[:300]}", hint="stargaze infra status")


def _rejection(name: str, line: bytes) -> StargazeError:
    """Return the error that the job server reported."""
    error = json.loads(line)["rejected"]
    return error_from_code(f"{name}: {error['error']}", error["hint"], error["code"])

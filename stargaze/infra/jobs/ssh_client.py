"""SSH client of the job server on the Ray head node: one call per method."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import platform
import secrets
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stargaze.errors import ExternalError, StargazeError, error_from_code
from stargaze.infra.jobs.archive import unpack_files
from stargaze.infra.jobs.connection import Connection
from stargaze.infra.jobs.framing import DataReader, create_mark, parse_answer
from stargaze.infra.jobs.spec import JOB_ID, STAGES
from stargaze.system.process import require_program
from stargaze.system.source_package import code_digest
from stargaze.system.ssh import SSH_FAILED, SshHost, login_error
from stargaze.system.text import last_line, replace_unprintable

CONFIGURE = "stargaze infra configure --tags ray"
REQUEST_TIMEOUT = 300.0
"""Longest wait for the next answer, or until the server reads on [s]; starting a job on a busy machine takes time."""
SILENCE_TIMEOUT = 30.0
"""A head node without even a heartbeat for so long has lost the connection [s]."""
STATES = ("running", "done", "failed", "stopped", "lost", "not started", "unknown")
"""States of a job: lost with Ray or its head node, or never known to the head node."""
NEVER_RAN = ("unknown", "not started")
"""States of a job whose command did not begin."""
NO_JOB = "-"
"""In place of the id of a job in calls that are about none."""
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


class ConnectionLostError(ExternalError):
    """The connection ended before the answer did; what was asked for may have happened."""

    code = "connection_lost"


class JobService(Protocol):
    """The job server. Every method may be repeated; an answer about another job than the one asked for is an error."""

    @property
    def name(self) -> str:
        """Name of the machine."""

    def inspect(self, checksums: Mapping[str, str], origin: str) -> dict[str, Any]:
        """Return the ``running`` jobs of a store and the names of ``missing`` files.

        Other code on the head node than on this machine is an ExternalError.
        """

    def begin(self, job: str, request: Mapping[str, Any], archive: Iterable[bytes]) -> None:
        """Upload files and start the job."""

    def describe(self, job: str) -> dict[str, Any]:
        """Return id, stage and state of a job. After the state ``unknown`` no earlier call can begin the job."""

    def list_jobs(self) -> list[dict[str, Any]]:
        """Return the descriptions of all jobs, newest first."""

    def follow(self, job: str, offset: int) -> Iterator[dict[str, Any]]:
        """Yield events from an offset, each with the ``next`` offset; the last answer has ``exit_code`` and ``state``."""

    def stop(self, job: str) -> dict[str, Any]:
        """Stop the job if it runs, wait until it has ended, and return its description."""

    def download(self, job: str, names: Sequence[str], folder: Path, accepts: Callable[[str], bool]) -> list[str]:
        """Write those of the files that exist, and the files of a bundle, below a folder; return the names."""


@dataclass(frozen=True)
class SshJobService:
    """The job server, called by ssh."""

    machine: SshHost
    layout: HeadLayout

    @property
    def name(self) -> str:
        """Name of the machine."""
        return self.machine.name

    def inspect(self, checksums: Mapping[str, str], origin: str) -> dict[str, Any]:
        """Return the state of the job server; reject other code."""
        state = self._ask(NO_JOB, "inspect", origin, stdin=[json.dumps(checksums).encode() + b"\n"])
        if state.get("code") != code_digest():
            raise ExternalError(f"{self.name} has a different version of stargaze than this machine", hint=CONFIGURE)
        return {"running": _as_jobs(self.name, state, "running"), "missing": _as_list(self.name, state, "missing")}

    def begin(self, job: str, request: Mapping[str, Any], archive: Iterable[bytes]) -> None:
        """Send one stream: the request with the secrets in its first line, then the files."""
        self._ask(job, "begin", stdin=itertools.chain([json.dumps(request).encode() + b"\n"], archive))

    def describe(self, job: str) -> dict[str, Any]:
        """Return the state of a job."""
        return self._check_state(self._ask(job, "describe"))

    def list_jobs(self) -> list[dict[str, Any]]:
        """Return all jobs."""
        return _as_jobs(self.name, self._ask(NO_JOB, "list"), "jobs")

    def follow(self, job: str, offset: int) -> Iterator[dict[str, Any]]:
        """Yield the answers of the server without heartbeats."""
        return self._answers(job, "follow", str(offset), seconds=SILENCE_TIMEOUT)

    def stop(self, job: str) -> dict[str, Any]:
        """Stop the job."""
        return self._check_state(self._ask(job, "stop"))

    def download(self, job: str, names: Sequence[str], folder: Path, accepts: Callable[[str], bool]) -> list[str]:
        """Download files."""
        with contextlib.closing(self._answers(job, "download", *names)) as answers:
            return unpack_files(DataReader(answers), folder, accepts)

    def _ask(self, job: str, method: str, *parameters: str, stdin: Iterable[bytes] = ()) -> dict[str, Any]:
        """Return the last answer to a call that has been answered completely."""
        return deque([{}, *self._answers(job, method, *parameters, stdin=stdin)], maxlen=1)[0]

    def _answers(
        self, job: str, method: str, *parameters: str, stdin: Iterable[bytes] = (), seconds: float = REQUEST_TIMEOUT
    ) -> Generator[dict[str, Any]]:
        """Yield the answers to a call until the server says that it is complete."""
        request = secrets.token_hex(8)
        argv = self.machine.argv(self._command(request, method, job, *parameters), root=True)
        require_program(argv[0])
        has_begun = False
        with Connection(argv, stdin) as connection:
            for line in connection.lines(seconds, create_mark(request)):
                answer = self._parse(line, create_mark(request), job)
                if answer is None:
                    continue
                has_begun = has_begun or "begin" in answer
                if "rejected" in answer:
                    raise _rejection(self.name, answer["rejected"])
                if has_begun and answer.get("end") == method:
                    return
                if has_begun and answer.keys() - {"job_id", "begin"}:
                    yield answer
            raise self._failure(connection, has_begun=has_begun or method == "follow")

    def _check_state(self, described: dict[str, Any]) -> dict[str, Any]:
        if described.get("state") not in STATES:
            raise ExternalError(f"{self.name} did not say in which state the job is", hint=CONFIGURE)
        return described

    def _parse(self, line: bytes, mark: bytes, job: str) -> dict[str, Any] | None:
        try:
            return parse_answer(line, mark, job)
        except (ValueError, RecursionError) as error:
            raise ConnectionLostError(
                f"{self.name} did not answer about {'its jobs' if job == NO_JOB else job}: {str(error)[:200]}"
            ) from error

    def _failure(self, connection: Connection, *, has_begun: bool) -> StargazeError:
        """Return the error of a call that ended without an answer."""
        is_killed = connection.exit_code is None or connection.exit_code < 0
        if has_begun or connection.reason or is_killed:
            reason = connection.reason or last_line(connection.stderr, "the connection was closed")
            return ConnectionLostError(
                f"lost the connection to {self.name}: {reason[:300]}", hint="try again; stargaze infra status"
            )
        if connection.exit_code == SSH_FAILED:
            return ConnectionLostError(
                f"ssh login to {self.name} failed: {login_error(connection.stderr)}", hint="stargaze infra status"
            )
        stderr = connection.stderr.decode("utf-8", "replace")
        reason = last_line(stderr, f"exit code {connection.exit_code}, no answer")
        if any(text in stderr for text in NOT_INSTALLED):
            return ExternalError(f"{self.name} has no stargaze, or an old version: {reason[:200]}", hint=CONFIGURE)
        return ExternalError(f"{self.name}: {reason[:300]}", hint="stargaze infra status")

    def _command(self, request: str, method: str, job: str, *parameters: str) -> list[str]:
        layout = self.layout
        program = [layout.python, "-I", "-m", "stargaze.infra.jobs.server", f"{layout.folder}/jobs"]
        return [
            *("runuser", "-u", layout.user, "--"),
            *(*program, layout.settings, layout.ray_address, request, method, job, *parameters),
        ]


def store_id(store: Path) -> str:
    """Return a name for a store that differs from those of other stores, users and machines."""
    identity = f"{platform.node()} {uuid.getnode()} {os.getuid()} {store.resolve()}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _as_list(name: str, answer: Mapping[str, Any], part: str) -> list[Any]:
    value = answer.get(part)
    if not isinstance(value, list):
        raise ExternalError(f"{name} did not answer with {part}", hint=CONFIGURE)
    return value


def _as_jobs(name: str, answer: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    """Return descriptions of jobs; hints contain their ids and stages in commands."""
    jobs = _as_list(name, answer, part)
    for job in jobs:
        if not isinstance(job, dict) or not JOB_ID.fullmatch(str(job.get("id"))) or job.get("stage") not in STAGES:
            raise ExternalError(
                f"{name} described a job without a valid id and stage: {str(job)[:80]!r}", hint=CONFIGURE
            )
    return jobs


def _rejection(name: str, error: Any) -> StargazeError:
    """Return the error that the job server reported."""
    try:
        message, hint, code = str(error["error"]), str(error["hint"]), int(error["code"])
    except (ArithmeticError, LookupError, TypeError, ValueError):
        message, hint, code = "an error without a reason", "", ExternalError.exit_code
    return error_from_code(f"{name}: {replace_unprintable(message)}", on_machine(name, replace_unprintable(hint)), code)


def on_machine(name: str, hint: str) -> str:
    """Return the hint of an error that occurred on a machine of the cluster; a full disk is not the one of this machine."""
    return f"stargaze infra ssh {name} -- df -h" if "store.path" in hint else hint

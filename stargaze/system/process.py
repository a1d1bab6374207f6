"""Run a program: an argv list, no terminal, a time limit, and no child that outlives the call.

GITHUB_TOKEN is kept out of the environment that programs inherit from a command; who needs it gets it explicitly.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import IO

from stargaze.errors import ExternalError
from stargaze.system.isolated_python import PYTHON, python_path

TIME_LIMIT = 120.0
"""Timeout for one call [s]."""
GRACE_PERIOD = 5.0
"""Time between SIGTERM and SIGKILL [s]."""

TOKEN_VARIABLE = "GITHUB_TOKEN"  # noqa: S105 # the name of a variable
SECRET_NAME = re.compile(
    r"\w*(TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY)\w*(?<!_FILE)", re.IGNORECASE
)
"""Variables that may contain a secret; those that end in _FILE name a file."""
_hidden: list[str] = []
"""The token of each command that runs in this process."""


def run_program(
    program: str,
    *arguments: str,
    stdin: bytes = b"",
    stdout: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = TIME_LIMIT,
    dies_with_caller: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Return the exit code and the output of a program; ExternalError if it is not installed or exceeds the time limit.

    With ``dies_with_caller``, the program and its children end if this process is killed; that costs 50 ms.
    """
    require_program(program)
    launcher = (*PYTHON, "stargaze.system.die_with_parent", "--group", str(os.getpid())) if dies_with_caller else ()
    if dies_with_caller:
        environment = {**(environment or os.environ), "PYTHONPATH": python_path(os.environ)}
    process = subprocess.Popen(
        [*launcher, program, *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # no terminal: a prompt for a passphrase fails at once
    )
    with process:
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise ExternalError(
                f"{program} took longer than {seconds:g} s", hint="check the disk and the network, then try again"
            ) from error
        finally:
            if process.poll() is None:
                _terminate_group(process)
    return subprocess.CompletedProcess(program, process.returncode, out or b"", err)


def checked_output(description: str, completed: subprocess.CompletedProcess[bytes]) -> bytes:
    """Return the stdout of a program; if it failed, raise ExternalError with the first line of its stderr."""
    if completed.returncode == 0:
        return completed.stdout
    lines = [line.strip() for line in completed.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    # git prints the cause first and its consequence last.
    reason = lines[0] if lines else f"exit code {completed.returncode}"
    disk_full = any("No space left on device" in line for line in lines)
    raise ExternalError(
        f"{description} failed: {reason}", hint="the disk is full: free some space" if disk_full else ""
    )


def require_program(program: str) -> None:
    """Raise ExternalError if a program is not installed."""
    if shutil.which(program) is None:
        raise ExternalError(f"{program} is not installed", hint="apt install git openssh-client")


@contextlib.contextmanager
def hide_token() -> Iterator[None]:
    """Remove the token from the environment while the block runs; :func:`github_token` still returns it."""
    token = os.environ.pop(TOKEN_VARIABLE, None)
    _hidden.append(token or "")
    try:
        yield
    finally:
        _hidden.pop()
        if token is not None:
            os.environ[TOKEN_VARIABLE] = token


def github_token() -> str:
    """Return the user's token; empty without one."""
    return (_hidden[-1] if _hidden else "") or os.environ.get(TOKEN_VARIABLE, "")


def token_environment() -> dict[str, str]:
    """Return the variable for a process that sends requests to GitHub; nothing without a token."""
    token = github_token()
    return {TOKEN_VARIABLE: token} if token else {}


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that handles untrusted data or requests: no password or token of the user."""
    return {name: value for name, value in environ.items() if not SECRET_NAME.fullmatch(name)}


def _terminate_group(process: subprocess.Popen[bytes]) -> None:
    """Terminate the program and its children, also on Ctrl-C; git hooks have a grace period for cleanup."""
    deadline = time.monotonic() + GRACE_PERIOD
    try:
        os.killpg(process.pid, signal.SIGTERM)
        while _group_is_alive(process) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        if _group_is_alive(process):
            os.killpg(process.pid, signal.SIGKILL)


def _group_is_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True

"""Calling a program: an argv list, no terminal, a time limit, and no child that outlives the call."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import IO

from stargaze.errors import ExternalError

TIME_LIMIT = 120.0
"""For one call [s]."""
PATIENCE = 5.0
"""To clear up, for a program that is to end [s]."""


def answer(
    program: str,
    *arguments: str,
    stdin: bytes = b"",
    stdout: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = TIME_LIMIT,
) -> subprocess.CompletedProcess[bytes]:
    """Return how a program ended and what it said; without an ``environment`` it has ours.

    Raises
    ------
    ExternalError
        If it is not installed, or took too long.
    """
    need(program)
    process = subprocess.Popen(
        [program, *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # no terminal: whoever needs a passphrase fails at once instead of asking
    )
    with process:
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise ExternalError(
                f"{program} took longer than {seconds:g} s", hint="is the disk or the network slow?"
            ) from error
        finally:
            if process.poll() is None:
                _end(process)
    return subprocess.CompletedProcess(program, process.returncode, out or b"", err)


def good(what: str, done: subprocess.CompletedProcess[bytes]) -> bytes:
    """Return what a program printed, or raise ExternalError with the first line of what it complained of."""
    if done.returncode == 0:
        return done.stdout
    lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    # git names the cause first and its consequence last.
    reason = lines[0] if lines else f"exit code {done.returncode}"
    full = any("No space left on device" in line for line in lines)
    raise ExternalError(f"{what} failed: {reason}", hint="the disk is full: free some space" if full else "")


def need(program: str) -> None:
    """Raise ExternalError if a program is not installed."""
    if shutil.which(program) is None:
        raise ExternalError(f"{program} is not installed", hint="apt install git openssh-client")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and all that runs below it, also on Ctrl-C: hooks have a moment to clear up what they were at."""
    limit = time.monotonic() + PATIENCE
    try:
        os.killpg(process.pid, signal.SIGTERM)
        while _lives(process) and time.monotonic() < limit:
            time.sleep(0.02)
    finally:
        if _lives(process):
            os.killpg(process.pid, signal.SIGKILL)


def _lives(process: subprocess.Popen[bytes]) -> bool:
    """Notify whether anything of the process's group is left."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True

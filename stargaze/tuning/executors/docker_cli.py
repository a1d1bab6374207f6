"""The one file that talks to Docker, by its command, which brings ssh, contexts and TLS as the user has set them up.

Docker's Python SDK knows neither contexts nor BuildKit, speaks ssh by other rules than the user's own client, and is one more
thing to install. What is asked of the engine are lists of words, made by pure functions elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from stargaze.errors import ExternalError

ANSWERS = 120.0
"""Longest wait for an answer of the engine [s]."""
LASTING = ("build", "cp")
"""What takes as long as it takes: an image that is built, data that travel over ssh."""


@dataclass(frozen=True)
class Room:
    """What the engine's machine has: cores and memory [byte]."""

    cores: int
    memory: int


class Engine(Protocol):
    """The engine that ``DOCKER_HOST``, a context or the default names; it may be another machine's."""

    def ask(self, words: Sequence[str], content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a docker command with bytes as its input, and return how it ended: a refusal is an answer too."""

    def must(self, words: Sequence[str], content: bytes | None = None) -> bytes:
        """Run a docker command and return what it printed; a refusal is an ExternalError."""

    def attach(self, words: Sequence[str], log: BinaryIO) -> subprocess.Popen[bytes]:
        """Start a docker command that lasts, in a session of its own; it writes its complaints to the log."""


class Client:
    """The engine behind the ``docker`` command of this machine."""

    def __init__(self) -> None:
        program = shutil.which("docker")
        if program is None:
            raise ExternalError(
                "the command docker is not installed, and screening.executor is docker",
                hint="sudo apt install docker.io; or stargaze screen --executor process",
            )
        self._program = program

    def ask(self, words: Sequence[str], content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a docker command; in a session of its own, so that Ctrl-C does not end the tidying up that follows it."""
        how: dict[str, Any] = {"stdin": subprocess.DEVNULL} if content is None else {"input": content}
        limit = None if words[0] in LASTING else ANSWERS
        command = [self._program, *words]
        try:
            return subprocess.run(
                command, capture_output=True, timeout=limit, start_new_session=True, check=False, **how
            )
        except subprocess.TimeoutExpired as error:
            raise silent(f"nothing in {ANSWERS:g} s") from error

    def must(self, words: Sequence[str], content: bytes | None = None) -> bytes:
        """Run a docker command that is not to be refused."""
        done = self.ask(words, content)
        if done.returncode:
            raise ExternalError(f"docker {words[0]}: {end_of(done.stderr)}", hint="docker info says how the engine is")
        return done.stdout

    def attach(self, words: Sequence[str], log: BinaryIO) -> subprocess.Popen[bytes]:
        """Start a docker command in the background."""
        command = [sys.executable, "-m", "stargaze.system.die_with_parent", str(os.getpid()), self._program, *words]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
        )


def room(engine: Engine) -> Room:
    """Ask what the engine's machine has.

    Raises
    ------
    ExternalError
        If no engine answers.
    """
    asked = engine.ask(["info", "--format", "{{json .}}"])
    try:
        told = json.loads(asked.stdout)
    except ValueError:
        told = {}
    if asked.returncode or told.get("ServerErrors") or not told.get("NCPU"):
        raise silent("; ".join(told.get("ServerErrors") or []) or end_of(asked.stderr))
    return Room(int(told["NCPU"]), int(told["MemTotal"]))


def silent(reason: str) -> ExternalError:
    """Return the error of an engine that does not answer."""
    where = os.environ.get("DOCKER_HOST") or "of this machine"
    return ExternalError(
        f"the Docker engine {where} does not answer: {reason}",
        hint="start it, or name another: DOCKER_HOST=ssh://user@host stargaze screen --executor docker",
    )


def end_of(output: bytes) -> str:
    """Return the last line that says something, where docker writes why."""
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("See 'docker", "Run 'docker"))]
    return told[-1].strip() if told else "it says nothing"

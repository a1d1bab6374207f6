"""Run the ``docker`` command, on this machine or over ssh on another one.

The command uses contexts, TLS and ssh as the user configured them; Docker's Python SDK supports neither contexts nor BuildKit.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from stargaze.errors import ExternalError
from stargaze.system.isolated_python import PYTHON, python_path
from stargaze.system.process import TIME_LIMIT, run_program
from stargaze.system.source_package import pack_tar
from stargaze.system.ssh import SshHost
from stargaze.system.text import last_lines

LONG_TIME_LIMIT = 3600.0
"""Timeout for a build or a transfer [s]."""
BUILD_LOG_LINES = 12
CONTENT_FORMAT = "{{json .RootFS.Layers}} {{json .Config.Entrypoint}} {{json .Config.Env}} {{json .Config.User}}"
"""The format of an image's identity, equal on every engine; its Id depends on how the engine stores images."""
CONTENT_DIGEST_LENGTH = 12


@dataclass(frozen=True)
class ImageRecipe:
    """The base image and more options of ``docker build``."""

    base: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineCapacity:
    """The cores and the memory [byte] of an engine's machine."""

    cores: int
    memory: int


@dataclass
class DockerEngine:
    """The engine of a host; without one, of this machine or wherever ``DOCKER_HOST`` or the context points to."""

    host: SshHost | None = None
    alternative: str = ""
    """The alternative to Docker on this machine, as part of a hint."""

    def argv(self, arguments: Sequence[str]) -> list[str]:
        """Return the argv of a docker command."""
        return ["docker", *arguments] if self.host is None else self.host.argv(["docker", *arguments], root=True)

    def try_run(
        self, arguments: Sequence[str], stdin: bytes = b"", seconds: float = TIME_LIMIT
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a docker command and return its exit code and output; Ctrl-C does not reach it.

        ExternalError if docker is not installed, or the engine or its host does not answer in time.
        """
        if self.host is not None:
            return self.host.try_run("docker", *arguments, stdin=stdin, root=True, seconds=seconds)
        self._require_docker()
        try:
            return run_program("docker", *arguments, stdin=stdin, seconds=seconds)
        except ExternalError as error:
            raise unreachable_error(error.message) from error

    def run(self, arguments: Sequence[str], stdin: bytes = b"", seconds: float = TIME_LIMIT) -> bytes:
        """Run a docker command and return its stdout; a nonzero exit code is an ExternalError."""
        completed = self.try_run(arguments, stdin, seconds)
        if completed.returncode:
            where = f"{self.host.name}: " if self.host else ""
            command = " ".join(itertools.takewhile(lambda word: not word.startswith("-"), arguments[:2]))
            raise ExternalError(
                f"{where}docker {command} failed: {error_line(completed.stderr)}",
                hint="docker info shows the state of the engine",
            )
        return completed.stdout

    def start(self, arguments: Sequence[str], log: BinaryIO) -> subprocess.Popen[bytes]:
        """Start a docker command in a session of its own, which ends with this process; stderr goes to the log."""
        self._require_docker()
        program, *rest = self.argv(arguments)
        argv = [shutil.which(program) or program, *rest]
        command = [*PYTHON, "stargaze.system.die_with_parent", str(os.getpid()), *argv]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "PYTHONPATH": python_path(os.environ)},
            start_new_session=True,
        )

    def content_digest(self, image: str) -> str:
        """Return a short digest of an image's content; empty if the engine has no such image."""
        completed = self.try_run(["image", "inspect", "--format", CONTENT_FORMAT, image])
        if completed.returncode:
            return ""
        return hashlib.sha256(completed.stdout.rstrip(b"\n")).hexdigest()[:CONTENT_DIGEST_LENGTH]

    def build(self, image: str, files: Mapping[str, bytes], recipe: ImageRecipe, *, target: str = "") -> None:
        """Build an image from a context of files, up to a stage of the Dockerfile (``target``)."""
        # Older engines keep the container of a failed step without --force-rm.
        arguments = ["build", "--force-rm", f"--tag={image}", f"--build-arg=BASE={recipe.base}", *recipe.options]
        arguments += [f"--target={target}"] if target else []
        completed = self.try_run([*arguments, "-"], pack_tar(files), LONG_TIME_LIMIT)
        if completed.returncode:
            raise ExternalError(
                "the image build failed:\n" + last_lines(completed.stdout + completed.stderr, BUILD_LOG_LINES),
                hint="screening.base_image and screening.build_options (stargaze init --print) configure the build",
            )

    def capacity(self) -> EngineCapacity:
        """Return the cores and the memory of the engine's machine; ExternalError if the engine does not answer."""
        completed = self.try_run(["info", "--format", "{{json .}}"])
        try:
            info = json.loads(completed.stdout)
        except ValueError:
            info = {}
        if completed.returncode or info.get("ServerErrors") or not info.get("NCPU"):
            raise unreachable_error("; ".join(info.get("ServerErrors") or []) or error_line(completed.stderr))
        return EngineCapacity(int(info["NCPU"]), int(info["MemTotal"]))

    def _require_docker(self) -> None:
        if self.host is None and shutil.which("docker") is None:
            hint = "sudo apt install docker.io" + (f"; or: {self.alternative}" if self.alternative else "")
            raise ExternalError("docker is not installed", hint=hint)


def unreachable_error(reason: str) -> ExternalError:
    """Return the error of a local engine, or that of ``DOCKER_HOST``, which does not answer."""
    where = os.environ.get("DOCKER_HOST") or "of this machine"
    hint = "start it, or name another one: DOCKER_HOST=ssh://user@host"
    return ExternalError(f"the Docker engine {where} does not answer: {reason}", hint=hint)


def error_line(stderr: bytes) -> str:
    """Return the last line of docker's stderr that is not empty and no reference to its help."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
    reasons = [line for line in lines if line and not line.startswith(("See 'docker", "Run 'docker"))]
    return reasons[-1] if reasons else "no reason given"

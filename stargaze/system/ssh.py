"""Run commands on a machine by ssh."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from stargaze.errors import ExternalError
from stargaze.system.process import TIME_LIMIT, checked_output, require_program, run_program

SSH_FAILED = 255
"""Exit code of ssh itself; other codes are those of the command."""
HOST_KEY_ERRORS = ("REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed")
REASONS = (*HOST_KEY_ERRORS, "Permission denied", "Too many authentication failures")


@dataclass(frozen=True)
class SshHost:
    """A machine that is reached by ssh."""

    name: str
    role: str
    """orchestration, development, parameter or production."""
    private_ip: str
    """The address by which the other machines reach it."""
    address: str
    """The address by which ssh reaches it, with the ``options``."""
    user: str
    """May use sudo."""
    options: tuple[str, ...]
    """Options of ssh: key, pinned host keys, jump host."""

    @property
    def login_argv(self) -> list[str]:
        """The argv that opens a shell; a command may follow."""
        return ["ssh", *self.options, f"{self.user}@{self.address}"]

    def argv(self, command: Sequence[str], *, root: bool = False) -> list[str]:
        """Return the argv that runs a command there; its arguments are quoted for the remote shell."""
        sudo = ["sudo", "-n"] if root and self.user != "root" else []
        return [*self.login_argv, shlex.join([*sudo, *command])]

    def try_run(
        self, *command: str, stdin: bytes = b"", root: bool = False, seconds: float = TIME_LIMIT
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command there and return its exit code and output; ExternalError if the login fails or the time is over."""
        program, *arguments = self.argv(command, root=root)
        completed = run_program(program, *arguments, stdin=stdin, seconds=seconds)
        if completed.returncode == SSH_FAILED:
            raise ExternalError(
                f"ssh login to {self.name} failed: {login_error(completed.stderr)}", hint="stargaze infra status"
            )
        return completed

    def run(self, *command: str, stdin: bytes = b"", root: bool = False, seconds: float = TIME_LIMIT) -> bytes:
        """Run a command there and return its stdout; also a nonzero exit code is an ExternalError."""
        completed = self.try_run(*command, stdin=stdin, root=root, seconds=seconds)
        return checked_output(f"{self.name}: {' '.join(command[:2])}", completed)

    def connection_error(self, *, seconds: float) -> str:
        """Try to log in once; return the reason of a failure, empty on success."""
        program, *arguments = self.argv(["true"])
        require_program(program)
        try:
            completed = run_program(program, *arguments, seconds=seconds)
        except ExternalError:  # timeout
            return "no answer"
        return "" if completed.returncode == 0 else login_error(completed.stderr)


def login_error(stderr: bytes) -> str:
    """Return the most specific line of a failed login; the ssh of a jump host adds lines of its own."""
    lines = [line for raw in stderr.decode("utf-8", "replace").splitlines() if (line := raw.strip("@ \r"))]
    specific = [line for line in lines if any(reason in line for reason in REASONS)]
    return next(iter([*specific, *reversed(lines)]), "no answer")

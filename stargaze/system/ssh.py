"""A machine that is entered by ssh, for those who send work there and need not know who made it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from stargaze.errors import ExternalError
from stargaze.system.process import TIME_LIMIT, answer, good, need

LOST = 255
"""Exit code of ssh itself; a command's own is passed on."""
CHANGED = ("REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed")
REFUSED = ("Permission denied", "Too many authentication failures")


@dataclass(frozen=True)
class SshHost:
    """A machine: what it is called, who it is among the others, and how it is entered."""

    name: str
    role: str
    """orchestration, development, parameter or production."""
    private_ip: str
    """The address by which the other machines reach it."""
    address: str
    """The address by which ssh reaches it, through whatever ``options`` say."""
    user: str
    """Who may sudo."""
    options: tuple[str, ...]
    """Of ssh: key, pinned host keys, way through the jump host."""

    @property
    def way(self) -> list[str]:
        """The argv that enters it, up to the command."""
        return ["ssh", *self.options, f"{self.user}@{self.address}"]

    def words(self, command: Sequence[str], *, root: bool = False) -> list[str]:
        """Return the argv that runs a command there, each word arriving as it is."""
        rights = [] if not root or self.user == "root" else ["sudo", "-n"]
        return [*self.way, shlex.join([*rights, *command])]

    def ask(
        self, *command: str, stdin: bytes = b"", root: bool = False, seconds: float = TIME_LIMIT
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command there; a failure is an answer.

        Raises
        ------
        ExternalError
            If the machine does not let us in, or it took longer than ``seconds``.
        """
        program, *arguments = self.words(command, root=root)
        done = answer(program, *arguments, stdin=stdin, seconds=seconds)
        if done.returncode == LOST:
            raise ExternalError(
                f"{self.name} does not let us in by ssh: {_reason(done.stderr)}", hint="stargaze infra status"
            )
        return done

    def run(self, *command: str, stdin: bytes = b"", root: bool = False, seconds: float = TIME_LIMIT) -> bytes:
        """Run a command there that must end well; return what it printed."""
        done = self.ask(*command, stdin=stdin, root=root, seconds=seconds)
        return good(f"{self.name}: {' '.join(command[:2])}", done)

    def barrier(self, *, seconds: float) -> str:
        """Try to enter, once; return what is in the way, empty if nothing is.

        Raises
        ------
        ExternalError
            If ssh is not installed here.
        """
        program, *arguments = self.words(["true"])
        need(program)
        try:
            done = answer(program, *arguments, seconds=seconds)
        except ExternalError:  # it took longer
            return "no answer"
        return "" if done.returncode == 0 else _reason(done.stderr)


def _reason(said: bytes) -> str:
    """Pick the line that tells most; ssh of a jump host adds its own."""
    lines = [line for line in (one.strip("@ \r") for one in said.decode("utf-8", "replace").splitlines()) if line]
    telling = [line for line in lines for word in (*CHANGED, *REFUSED) if word in line]
    return next(iter([*telling, *reversed(lines)]), "no answer")

"""One tree of errors: each says what is wrong, what to type next, and how the command ends."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StargazeError(Exception):
    """Something a user can put right: a message, a hint and an exit code."""

    exit_code = 5

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class DifferenceFoundError(StargazeError):
    """A check ran to its end and found a difference."""

    exit_code = 1


class UsageError(StargazeError):
    """The command line or the config asks for something that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """A key or a value of the config is wrong; the message begins with its path."""


class BadDataError(UsageError):
    """A file or a record holds something that cannot be true."""


class MissingInputError(StargazeError):
    """An artifact or a file that this step needs is not there yet."""

    exit_code = 3


class CredentialsError(StargazeError):
    """A token, key or password is missing, wrong or too weak."""

    exit_code = 4


class ExternalError(StargazeError):
    """A system outside the program failed: disk, network, git, a server."""

    exit_code = 5


def did_you_mean(name: str, known: Iterable[str], otherwise: str, *, likeness: float = 0.5) -> str:
    """Return the hint for a name that is not known: the nearest of the known ones, or what to say where none is near.

    >>> did_you_mean("strs", ["stars", "forks"], "Known here: stars, forks")
    'Did you mean stars?'
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)
    return f"Did you mean {near[0]}?" if near else otherwise

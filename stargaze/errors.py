"""One tree of errors, each with a code, a message, a hint about what to do next, and the exit code of the command."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class StargazeError(Exception):
    """An error that the user can solve.

    ``code`` names the kind of error in the API and never changes; docs/page-and-api.md lists all codes. ``for_visitors`` says
    whether a visitor of the page may read message and hint: they must not contain paths, SQL, commands or host names.
    """

    exit_code = 5
    code = "internal_error"
    for_visitors = False
    expires_at: str | None = None
    """Until when the reason can be expected to hold; None if it is not temporary."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class DifferenceFoundError(StargazeError):
    """A check completed and found a difference."""

    exit_code = 1
    code = "difference_found"


class UsageError(StargazeError):
    """The command line or the config is not valid."""

    exit_code = 2
    code = "usage_error"


class ConfigError(UsageError):
    """A key or a value of the config is not valid; the message begins with its path."""

    code = "config_error"


class BadDataError(UsageError):
    """A file or a record contains impossible values."""

    code = "bad_data"


class InvalidInputError(BadDataError):
    """What a visitor entered or sent is not valid."""

    code = "invalid_request"
    for_visitors = True


@contextlib.contextmanager
def convert_input_errors() -> Iterator[None]:
    """Raise BadDataError of the block, which parses only what a visitor sent, as InvalidInputError."""
    try:
        yield
    except BadDataError as error:
        if error.for_visitors:
            raise
        raise InvalidInputError(error.message, hint=error.hint) from error


class MissingInputError(StargazeError):
    """An artifact or a file that this step needs does not exist."""

    exit_code = 3
    code = "missing_input"


class CredentialsError(StargazeError):
    """A token, key or password is missing, wrong or too weak."""

    exit_code = 4
    code = "credentials_error"


class ExternalError(StargazeError):
    """A system outside the program failed: disk, network, git, a server."""

    code = "external_error"


def did_you_mean(name: str, known: Iterable[str], otherwise: str, *, cutoff: float = 0.5) -> str:
    """Return the hint for an unknown name: the most similar known name, or the hint ``otherwise`` if none is similar.

    A name that differs only in its case is the most similar one.

    >>> did_you_mean("strs", ["stars", "forks"], "Known here: stars, forks")
    'Did you mean stars?'
    >>> did_you_mean("SCORE", ["scope", "score"], "Known here: scope, score")
    'Did you mean score?'
    """
    names = list(known)
    same = [other for other in names if other.casefold() == name.casefold()]
    similar = same or difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    if not similar:
        return otherwise
    return f"Did you mean {similar[0] if similar[0].isprintable() else repr(similar[0])}?"


def error_from_code(message: str, hint: str, code: int) -> StargazeError:
    """Return the error whose class has this exit code."""
    kinds = (DifferenceFoundError, UsageError, MissingInputError, CredentialsError)
    return next((kind for kind in kinds if kind.exit_code == code), ExternalError)(message, hint=hint)

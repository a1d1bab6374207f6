"""Repositories that ``serve.exclude`` lists: they are never looked up, shown or recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stargaze.errors import InvalidInputError
from stargaze.serve.prediction_request import ErrorDetails, error_details

HIDDEN_OWNER = "-"
"""No account of GitHub has this name. It stands for an excluded repository in stored requests."""


def hidden_name(number: int) -> str:
    """Return the name that is stored instead of that of an excluded repository."""
    return f"{HIDDEN_OWNER}/excluded-{number}"


class ExcludedRepositoryError(InvalidInputError):
    """A requested repository is excluded; the error is the same whether it exists or not, and for all: logs contain it."""

    code = "excluded_repository"

    def __init__(self) -> None:
        super().__init__("this server does not answer for this repository")


@dataclass(frozen=True)
class Exclusions:
    """Names and owners in lower case.

    >>> exclusions = Exclusions.parse(["Own/Name", "acme/*"])
    >>> [exclusions.match(name) for name in ("own/name", "ACME/any", "own/other", hidden_name(1))]
    [True, True, False, True]
    """

    names: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> Exclusions:
        """Read ``owner/name`` and ``owner/*`` as the config has validated them."""
        lower = [pattern.lower() for pattern in patterns]
        owners = frozenset(pattern.removesuffix("/*") for pattern in lower if pattern.endswith("/*"))
        return cls(frozenset(pattern for pattern in lower if not pattern.endswith("/*")), owners)

    def match(self, full_name: str) -> bool:
        """Return whether a repository is excluded."""
        name = full_name.lower()
        return name in self.names or name.partition("/")[0] in (*self.owners, HIDDEN_OWNER)


NO_EXCLUSIONS = Exclusions()


def excluded_error() -> ErrorDetails:
    """Return the error of an excluded repository, as answers carry it."""
    return error_details(ExcludedRepositoryError())

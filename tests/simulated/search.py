"""GitHub's search of repositories: the qualifiers that the collector uses, most stars first, capped at 1,000."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tests.simulated.population import LANGUAGES, TOPICS, Population

CAP = 1000
_TERM = re.compile(r'(\w+):("[^"]*"|\S+)')


class RefusedError(Exception):
    """GitHub answers 422."""


class Index:
    """Searches a population; what was found stays at hand while the next pages are asked for."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self._kept: dict[str, np.ndarray[Any, Any]] = {}

    def forget(self) -> None:
        """Begin anew: something has changed."""
        self._kept.clear()

    def find(self, query: str) -> np.ndarray[Any, Any]:
        """Return the rows that a query means, in the order of their stars."""
        if not query.strip() or len(query) > 256:
            raise RefusedError("Validation Failed")
        if query not in self._kept:
            if len(self._kept) > 8:
                self._kept.pop(next(iter(self._kept)))
            self._kept[query] = self._found(query)
        return self._kept[query]

    def _found(self, query: str) -> np.ndarray[Any, Any]:
        people = self.population
        chosen = people.here.copy()
        for name, value in _TERM.findall(query):
            text = value.strip('"')
            if name in ("stars", "created", "pushed"):
                low, high = _ends(text, is_date=name != "stars")
                column = getattr(people, name)
                chosen &= (column >= low) & (column <= high)
            elif name == "language":
                known = [one for one in LANGUAGES if one and one.lower() == text.lower()]
                chosen &= people.language == (LANGUAGES.index(known[0]) if known else -1)
            elif name == "topic":
                chosen &= people.id % 6 == (TOPICS.index(text) if text in TOPICS else -1)
            elif name in ("org", "user"):
                number = text.removeprefix("owner")
                mine = people.owner == (int(number) if number.isdigit() else -1)
                if not mine.any():
                    raise RefusedError(
                        "The listed users and repositories cannot be searched either because the resources do not exist "
                        "or you do not have permission to view them."
                    )
                chosen &= mine
            elif name == "is":
                chosen &= text == "public"
            else:
                raise RefusedError(f"{name} is no qualifier")
        rows = np.flatnonzero(chosen)
        return rows[np.lexsort((people.tie[rows], -people.stars[rows]))]


def _ends(text: str, *, is_date: bool) -> tuple[float, float]:
    for sign, low, high in ((">=", 0, None), ("<=", None, 0), (">", 1, None), ("<", None, -1)):
        if text.startswith(sign):
            number = _number(text.removeprefix(sign), is_date=is_date)
            return (-np.inf if low is None else number + low), (np.inf if high is None else number + high)
    first, _, last = text.partition("..")
    low_end = -np.inf if first == "*" else _number(first, is_date=is_date)
    return low_end, np.inf if last == "*" else _number(last or first, is_date=is_date)


def _number(text: str, *, is_date: bool) -> float:
    try:
        moment = datetime.fromisoformat(text) if is_date else None
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() if moment else float(int(text))
    except ValueError as error:
        raise RefusedError(f"{text} cannot be read") from error

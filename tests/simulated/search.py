"""GitHub's search of repositories: the qualifiers that the crawl uses, most stars first, limited to 1,000 results."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tests.simulated.population import LANGUAGES, TOPICS, Population

MAX_RESULTS = 1000
_TERM = re.compile(r'(\w+):("[^"]*"|\S+)')


class RefusedError(Exception):
    """GitHub responds with 422."""


class Index:
    """Searches a population and caches the results for the next pages."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self._cache: dict[str, np.ndarray[Any, Any]] = {}

    def clear(self) -> None:
        """Clear the cache after a change."""
        self._cache.clear()

    def find(self, query: str) -> np.ndarray[Any, Any]:
        """Return the matching rows, most stars first."""
        if not query.strip() or len(query) > 256:
            raise RefusedError("Validation Failed")
        if query not in self._cache:
            if len(self._cache) > 8:
                self._cache.pop(next(iter(self._cache)))
            self._cache[query] = self._search(query)
        return self._cache[query]

    def _search(self, query: str) -> np.ndarray[Any, Any]:
        population = self.population
        selected = population.exists.copy()
        words = _TERM.sub(" ", query).lower().split()
        if words:
            selected &= self._mention(words)
        for name, value in _TERM.findall(query):
            text = value.strip('"')
            if name in ("stars", "created", "pushed"):
                low, high = _parse_range(text, is_date=name != "stars")
                column = getattr(population, name)
                selected &= (column >= low) & (column <= high)
            elif name == "language":
                known = [item for item in LANGUAGES if item and item.lower() == text.lower()]
                selected &= population.language == (LANGUAGES.index(known[0]) if known else -1)
            elif name == "topic":
                selected &= population.id % 6 == (TOPICS.index(text) if text in TOPICS else -1)
            elif name in ("org", "user"):
                number = text.removeprefix("owner")
                owned = population.owner == (int(number) if number.isdigit() else -1)
                if not owned.any():
                    raise RefusedError(
                        "The listed users and repositories cannot be searched either because the resources do not exist "
                        "or you do not have permission to view them."
                    )
                selected &= owned
            elif name == "in":
                selected &= text == "name"
            elif name == "is":
                selected &= text == "public"
            else:
                raise RefusedError(f"{name} is not a qualifier")
        rows = np.flatnonzero(selected & ~population.private)
        return rows[np.lexsort((population.tie[rows], -population.stars[rows]))]

    def _mention(self, words: list[str]) -> np.ndarray[Any, Any]:
        """Return whether the name of each repository, without its owner, contains all words."""
        names = [self.population.name(row).rpartition("/")[2] for row in range(len(self.population))]
        return np.array([all(word in name for word in words) for name in names], dtype=bool)


def _parse_range(text: str, *, is_date: bool) -> tuple[float, float]:
    for sign, low, high in ((">=", 0, None), ("<=", None, 0), (">", 1, None), ("<", None, -1)):
        if text.startswith(sign):
            number = _parse_value(text.removeprefix(sign), is_date=is_date)
            return (-np.inf if low is None else number + low), (np.inf if high is None else number + high)
    first, _, last = text.partition("..")
    low_end = -np.inf if first == "*" else _parse_value(first, is_date=is_date)
    return low_end, np.inf if last == "*" else _parse_value(last or first, is_date=is_date)


def _parse_value(text: str, *, is_date: bool) -> float:
    try:
        moment = datetime.fromisoformat(text) if is_date else None
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() if moment else float(int(text))
    except ValueError as error:
        raise RefusedError(f"{text} cannot be read") from error

"""What a repository of the simulated GitHub has besides its record: contributors and the history of its stars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.simulated import accounts
from tests.simulated.population import Population
from tests.simulated.responses import DOCS, Response, json_response, not_found, with_etag

TOO_LARGE = "The history or contributor list is too large to list contributors for this repository via the API."
WEEKS_PER_PAGE = 30
DAY, WEEK = 86_400, 604_800
SUNDAY = 259_200
"""The first Sunday of 1970 [s]: weeks begin on Sundays."""
NAMED_SHARE = 0.8
"""Share of the contributors with an account; the others are anonymous."""


def subresource_response(
    population: Population,
    row: int,
    subresource: str,
    query: dict[str, str],
    headers: Mapping[str, str],
    *,
    now: float,
    has_history: bool,
) -> Response:
    """Return the response to ``/repos/owner/name/`` and this path."""
    number = int(population.id[row])
    if subresource == "contributors":
        return _contributors(population, row, query, headers)
    if subresource in ("commits", "issues", "pulls", "releases"):
        link = f'<https://api.github.com/x?page=2>; rel="next", <https://api.github.com/x?page={number % 90 + 2}>; rel="last"'
        return json_response(200, [{"id": 1}], {"link": link})
    if subresource == "readme":
        return json_response(200, accounts.readme(population.name(row), number % 20_000))
    if subresource == "stargazers/history":
        if not has_history:
            return json_response(403, {"message": "Resource not accessible"})
        return with_etag(star_history_page(population, row, int(query.get("page", 1)), now), headers)
    return not_found()


def _contributors(population: Population, row: int, query: dict[str, str], headers: Mapping[str, str]) -> Response:
    if population.commits[row] == 0:
        return Response(204, b"")
    if population.heavy[row]:
        return json_response(403, {"message": TOO_LARGE, "documentation_url": DOCS})
    people, last = contributors_page(population, row, query)
    return with_etag(people, headers, link_header(f"/repositories/{population.id[row]}/contributors", query, last))


def contributors_page(population: Population, row: int, query: dict[str, str]) -> tuple[list[dict[str, Any]], int]:
    """Return one page of contributors, anonymous ones only if requested, and the number of the last page."""
    size, page = min(int(query.get("per_page", 30)), 100), int(query.get("page", 1))
    named = max(round(NAMED_SHARE * population.contributors[row]), 1)
    total = int(population.contributors[row]) if query.get("anon") in ("1", "true") else named
    shown = range((page - 1) * size, min(page * size, total))
    people = [
        {**accounts.account(f"person{number}", number + 1), "contributions": total - number}
        if number < named
        else {"type": "Anonymous", "name": f"Person {number}", "email": "", "contributions": total - number}
        for number in shown
    ]
    return people, -(-total // size)


def link_header(path: str, query: dict[str, str], last: int) -> dict[str, str]:
    """Return the Link header of a page; there is none if there is one page only."""
    page = int(query.get("page", 1))
    others = {"next": page + 1, "last": last} if page < last else {}
    others |= {"first": 1, "prev": page - 1} if page > 1 else {}
    rest = "".join(f"&{name}={value}" for name, value in query.items() if name != "page")
    links = (f'<https://api.github.com{path}?page={number}{rest}>; rel="{name}"' for name, number in others.items())
    return {"link": ", ".join(links)} if others else {}


def star_history_page(population: Population, row: int, page: int, now: float) -> list[dict[str, Any]]:
    """Return 30 weeks of a repository's star history, newest first: all weeks together have as many stars as its record.

    The current week has seven days too, of which the later ones have no stars yet.
    """
    begin = _sunday(int(now))
    count = max((begin - _sunday(int(population.created[row]))) // WEEK + 1, 1)
    random = np.random.default_rng([int(population.id[row]), 11])
    age = np.arange(count)  # the newest week first, as the numbers of weeks ago
    launch = count - 1 - age
    weights = np.exp(-launch / random.uniform(20, 400)) * random.lognormal(0.0, 0.5, count) + 1e-3
    days_passed = (int(now) - begin) // DAY + 1
    weights[0] *= days_passed / 7
    gains = random.multinomial(int(population.stars[row]), weights / weights.sum())
    weeks = []
    for index in range((page - 1) * WEEKS_PER_PAGE, min(page * WEEKS_PER_PAGE, count)):
        passed = days_passed if index == 0 else 7
        days = np.random.default_rng([int(population.id[row]), index]).multinomial(gains[index], [1 / passed] * passed)
        weeks.append(
            {
                "week": begin - index * WEEK,
                "total": int(gains[index]),
                "days": [*map(int, days), *[0] * (7 - passed)],
            }
        )
    return weeks


def _sunday(second: int) -> int:
    return second - (second - SUNDAY) % WEEK

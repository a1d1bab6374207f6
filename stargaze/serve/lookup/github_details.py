"""Counts and commits of repositories by GraphQL, while a visitor waits: what fails together is queried in smaller parts."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import TooHeavyError
from stargaze.serve.lookup.github_requests import FAIR_TIME, GRACE_TIME, LEAST_TIME, PARALLEL, GithubRequests
from stargaze.serve.lookup.github_resource import MAX_AGE, GithubReply
from stargaze.serve.lookup.pauses import BACKOFF, UnavailableError

AGAIN = 0.0
"""The next visitor requests it alone."""
T = TypeVar("T")
log = logging.getLogger(__name__)


def query_details(
    requests: GithubRequests,
    ids: Mapping[str, str],
    others: Sequence[Callable[[], dict[str, GithubReply]]],
    deadline: float,
) -> tuple[dict[str, dict[str, Any]], dict[str, float], dict[str, GithubReply]]:
    """Return counts and commits by name, when to request again what a name lacks [s], and the replies of other requests.

    ``ids`` are by name; a former name has the same as the present one. ``others`` are sent at the same time.
    """
    if not ids:
        return {}, {}, {}
    details: dict[str, dict[str, Any]] = {}
    waits: dict[str, float] = {}
    is_fair = deadline - time.monotonic() >= FAIR_TIME
    unique = list(dict.fromkeys(ids.values()))
    queries = [partial(_query_nodes, requests, kind, unique, deadline) for kind in graphql.KINDS]
    # before the thread of the caller is late itself
    results: list[Any] = requests.run([*queries, *others], deadline - 2 * GRACE_TIME)
    for kind, nodes in zip(graphql.KINDS, results[: len(queries)], strict=True):
        if nodes is None and is_fair:
            requests.pauses.count_fault(kind.name)
        for name, node_id in ids.items():
            node = (nodes or {}).get(node_id, AGAIN)
            if isinstance(node, dict):
                details.setdefault(name, {}).update(graphql.parse_fields(node))
            else:
                waits[name] = min(node, waits.get(name, MAX_AGE))
    return details, waits, {key: reply for result in results[len(queries) :] for key, reply in (result or {}).items()}


def _query_nodes(
    requests: GithubRequests,
    kind: graphql.Kind,
    ids: Sequence[str],
    deadline: float,
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the nodes by id; instead of one that is missing, when to request it again [s].

    Fields that an organization refuses make its whole node missing, so it is queried again without them.
    """
    try:
        reply = requests.query(kind.name, kind.without(without), {"ids": list(ids)}, deadline)
    except TooHeavyError as error:
        log.warning("no %s of %d repositories from GitHub: %s", kind.name, len(ids), error)

        def query(part: Sequence[str], deadline: float) -> dict[str, Any]:
            return _query_nodes(requests, kind, part, deadline, without)

        return dict.fromkeys(ids, AGAIN) | run_parts(requests, query, ids, deadline, deadline - 3 * GRACE_TIME)
    except UnavailableError as error:
        log.warning("no %s from GitHub: %s", kind.name, error)
        return dict.fromkeys(ids, BACKOFF)
    nodes, errors = reply.data["data"].get("nodes"), graphql.errors_by_index(reply.data)
    found: dict[str, Any] = {}
    refused: dict[frozenset[str], list[str]] = {}
    for index, (node_id, node) in enumerate(itertools.zip_longest(ids, nodes if isinstance(nodes, list) else ())):
        refusals = [error for error in errors.get(index, ()) if error.type in graphql.REFUSED]
        fields = frozenset(error.field for error in refusals if error.field in kind.names) - without
        if isinstance(node, dict) and "nameWithOwner" in node:
            found[node_id] = node
        elif fields:
            refused.setdefault(fields, []).append(node_id)
        else:
            found[node_id] = MAX_AGE if refusals else AGAIN
    for fields, part in refused.items():
        found |= _query_nodes(requests, kind, part, deadline, without | fields)
    return found


def run_parts(
    requests: GithubRequests,
    query: Callable[[Sequence[T], float], dict[str, Any]],
    items: Sequence[T],
    deadline: float,
    end: float,
) -> dict[str, Any]:
    """Query smaller parts at the same time after GitHub gave up on all, and return what is received until ``end``.

    Nothing is sent if it was one item or no time is left.
    """
    if len(items) == 1 or deadline - time.monotonic() < LEAST_TIME:
        return {}
    parts = split(items, smaller_size(len(items)))
    results = requests.run([partial(query, part, deadline) for part in parts], end)
    return {key: value for result in results for key, value in (result or {}).items()}


def split(items: Sequence[T], size: int) -> list[list[T]]:
    """Return parts of at most so many items."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def smaller_size(count: int) -> int:
    """Return the size of the parts of a query that failed: they are sent at the same time."""
    return max(count // PARALLEL, 1)

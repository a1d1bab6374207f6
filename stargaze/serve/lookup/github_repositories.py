"""Repositories of GitHub for the page: their records, contributors and counts, as far as GitHub returns them within seconds."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from stargaze.errors import BadDataError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Reply, TooHeavyError
from stargaze.features.github.crawl.details import parse_names_reply
from stargaze.features.github.search.search import is_repository
from stargaze.features.ingest.field_mapping import map_record
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.lookup.github_requests import (
    BACKOFF,
    FAIR_TIME,
    GRACE_TIME,
    LATE,
    LEAST_TIME,
    PARALLEL,
    PATIENCE,
    QUERY,
    UNREADABLE,
    GithubRequests,
    UnavailableError,
)
from stargaze.serve.lookup.github_resource import MAX_AGE, GithubReply, Resource

LOOKUP_SECONDS = 3.0
"""Time for the records of all names of a batch [s]; the star histories have another two."""
CONTRIBUTORS_MAX_AGE = 6 * 3600.0
"""Time for which a number of contributors is reused [s]; GitHub computes it rarely."""
CONTRIBUTORS_RESERVE = 12
"""Requests per hour that are kept for the records of repositories, which are worth most, if there is no token."""
QUERY_SIZE = 40
"""Repositories of one query: GitHub counts so many within seconds."""
REPOSITORY, CONTRIBUTORS = "repository", "contributors"
"""Kinds of resources."""
EXCLUDED = "excluded"
"""The reason of a repository that the config excludes."""
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RepositoryReply:
    """A record, why there is none (``gone``), or why GitHub was ``unavailable``: the record is then from an earlier reply."""

    record: Mapping[str, Any] | None = None
    gone: str = ""
    unavailable: str = ""
    is_complete: bool = True
    """Whether the record contains counts and commits, which a single REST response lacks."""
    lacks: str = ""
    """Why further counts were not requested."""


class GithubRepositories:
    """Fetches repositories by name: with a token by GraphQL, without one by REST; the contributors always by REST."""

    def __init__(self, requests: GithubRequests, exclusions: Exclusions = NO_EXCLUSIONS) -> None:
        self.requests = requests
        self._exclusions = exclusions

    @property
    def has_token(self) -> bool:
        """Whether the rate limit is high."""
        return self.requests.has_token

    def fetch(self, names: Sequence[str]) -> dict[str, RepositoryReply]:
        """Return a reply for each name, by the name in lower case; never raises."""
        deadline = time.monotonic() + LOOKUP_SECONDS
        resources = [self._repository(name) for name in dict.fromkeys(names)]
        if self.requests.has_token:
            replies = self._fetch_by_graphql(resources, deadline)
        else:
            replies = self.requests.fetch(resources, deadline)
        results = {resource.name.lower(): self._to_result(replies[resource.key]) for resource in resources}
        self._keep_new_names({resource.name.lower(): replies[resource.key] for resource in resources}, results)
        return self._add_contributors(results, deadline)

    def fetch_records(self, names: Sequence[str], deadline: float, reserve: int) -> dict[str, RepositoryReply]:
        """Return the records of names that may be cached, without their contributors, as :meth:`fetch` does.

        Those that are not are requested without a token only, if more than ``reserve`` requests remain: one request each.
        """
        allowed = [name for name in dict.fromkeys(names) if not self._exclusions.match(name)]
        resources = [self._repository(name, reserve) for name in allowed]
        if self.has_token:
            replies = self.requests.cached(dict.fromkeys((resource.key for resource in resources), MAX_AGE))
            reason = self.requests.pause_reason(QUERY, "graphql") or LATE
            replies = self._unavailable([item for item in resources if item.key not in replies], reason) | replies
        else:
            replies = self.requests.fetch(resources, deadline)
        return {resource.name.lower(): self._to_result(replies[resource.key]) for resource in resources}

    def _keep_new_names(self, replies: Mapping[str, GithubReply], results: Mapping[str, RepositoryReply]) -> None:
        """Cache renamed repositories under their present names too, by which their histories are requested."""
        new = {}
        for key, result in results.items():
            new_key = self._repository(str((result.record or {}).get("full_name", key))).key
            if self.requests.earlier(new_key).received_at < replies[key].received_at:
                new[new_key] = replies[key]
        self.requests.keep(new)

    def _repository(self, name: str, reserve: int = 0) -> Resource:
        return Resource(REPOSITORY, name, f"/repos/{name}", self._read_repository, reserve=reserve)

    def _read_repository(self, reply: Reply) -> tuple[Any, str]:
        if not is_repository(reply.data) or reply.data.get("private"):
            return None, "Not Found"
        return self._to_value(reply.data, {}, reply, is_complete=False)

    def _add_contributors(self, results: dict[str, RepositoryReply], deadline: float) -> dict[str, RepositoryReply]:
        """Request the contributors of what was found, with one request each."""
        names = {key: str(result.record["full_name"]) for key, result in results.items() if result.record}
        resources = {
            key: Resource(
                CONTRIBUTORS,
                name,
                f"/repos/{name}/contributors",
                _read_contributors,
                {"per_page": 1, "anon": "true"},
                CONTRIBUTORS_MAX_AGE,
                CONTRIBUTORS_RESERVE,
                PATIENCE,
            )
            for key, name in names.items()
        }
        replies = self.requests.fetch(list(resources.values()), deadline)
        for key, resource in resources.items():
            reply, result = replies[resource.key], results[key]
            record = dict(result.record or {})
            if reply.value is not None:
                record["contributors"] = reply.value
            results[key] = replace(result, record=record, lacks="" if reply.value is not None else reply.unavailable)
        return results

    def _fetch_by_graphql(self, resources: Sequence[Resource], deadline: float) -> dict[str, GithubReply]:
        replies = self.requests.cached(dict.fromkeys((resource.key for resource in resources), MAX_AGE))
        replies = {key: reply for key, reply in replies.items() if not self._is_due(reply)}
        missing = [resource for resource in resources if resource.key not in replies]
        parts = self._split_by_earlier_size(missing)
        results = self.requests.run(
            [partial(self._query, part, deadline) for part in parts],
            deadline,
            lambda _index, fetched: self.requests.keep(fetched),
        )
        for part, fetched in zip(parts, results, strict=True):
            if fetched is None:
                self.requests.count_fault(QUERY)
            replies |= fetched or self._unavailable(part, LATE)
            self.requests.keep(fetched or {})
        return replies

    def _is_due(self, reply: GithubReply) -> bool:
        """Return whether missing counts are requested again before the reply is too old."""
        wait = (reply.value or {}).get("retry_after", MAX_AGE)
        return bool(self.requests.now() >= reply.received_at + wait)

    def _split_by_earlier_size(self, resources: Sequence[Resource]) -> list[list[Resource]]:
        """Return the resources of each query: those that failed together are queried in smaller parts."""
        groups: dict[int, list[Resource]] = {}
        for resource in resources:
            value = self.requests.earlier(resource.key).value or {}
            groups.setdefault(value.get("part_size", QUERY_SIZE), []).append(resource)
        return [part for size, group in groups.items() for part in _split(group, size)]

    def _query(self, resources: Sequence[Resource], deadline: float) -> dict[str, GithubReply]:
        """Query records, then counts and commits at the same time."""
        names = [resource.name for resource in resources]
        text = graphql.names_query(len(names), extra="isPrivate isEmpty")
        try:
            reply = self.requests.query(QUERY, text, graphql.names_variables(names), deadline)
        except TooHeavyError:
            results = self._run_parts(self._query, resources, deadline, deadline - GRACE_TIME)
            return self._unavailable(resources, LATE) | results
        except UnavailableError as error:
            return self._unavailable(resources, str(error))
        nodes = parse_names_reply(names, reply)
        if time.monotonic() > deadline:  # for the next visitor
            deadline = time.monotonic() + LOOKUP_SECONDS
        public = {name: node for name, node in nodes.items() if "gone" not in node and not node.get("isPrivate")}
        details, waits = self._query_details({name: str(node["id"]) for name, node in public.items()}, deadline)
        data, replies = reply.data["data"], dict[str, GithubReply]()
        for index, resource in enumerate(resources):
            if resource.name not in nodes and data.get(f"r{index}") is None:  # a fault, not a refusal
                replies |= self._unavailable([resource], LATE)
                continue
            value, gone = None, str(nodes.get(resource.name, {}).get("gone") or "Not Found")
            if resource.name in public:
                node, wait = public[resource.name], waits.get(resource.name)
                value, gone = self._to_value(node, details.get(resource.name, {}), reply, is_complete=wait is None)
                if value and wait is not None:
                    value |= {"retry_after": wait, "part_size": _smaller(len(names))}
            replies[resource.key] = GithubReply(value, gone, received_at=self.requests.now())
        return replies

    def _query_details(
        self, ids: Mapping[str, str], deadline: float
    ) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
        """Return counts and commits by name, and for each name that lacks some when they are requested again [s].

        ``ids`` are by name; a former name has the same as the present one.
        """
        details: dict[str, dict[str, Any]] = {}
        waits: dict[str, float] = {}
        is_fair = deadline - time.monotonic() >= FAIR_TIME
        kinds, unique = graphql.KINDS if ids else (), list(dict.fromkeys(ids.values()))
        # before the thread of this method is late itself
        end = deadline - 2 * GRACE_TIME
        results = self.requests.run([partial(self._query_nodes, kind, unique, deadline) for kind in kinds], end)
        for kind, nodes in zip(kinds, results, strict=True):
            if nodes is None and is_fair:
                self.requests.count_fault(kind.name)
            for name, node_id in ids.items():
                node = (nodes or {}).get(node_id, MAX_AGE if len(unique) == 1 else 0.0)
                if isinstance(node, dict):
                    details.setdefault(name, {}).update(graphql.parse_fields(node))
                else:
                    waits[name] = min(node, waits.get(name, MAX_AGE))
        return details, waits

    def _query_nodes(
        self, kind: graphql.Kind, ids: Sequence[str], deadline: float, without: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """Return the nodes by id; instead of one that is missing, when to request it again [s].

        Fields that an organization refuses make its whole node missing, so it is queried again without them.
        """
        try:
            reply = self.requests.query(kind.name, kind.without(without), {"ids": list(ids)}, deadline)
        except TooHeavyError as error:
            log.warning("no %s of %d repositories from GitHub: %s", kind.name, len(ids), error)
            none = dict.fromkeys(ids, MAX_AGE if len(ids) == 1 else 0.0)
            query = partial(self._query_nodes, kind, without=without)
            return none | self._run_parts(query, ids, deadline, deadline - 3 * GRACE_TIME)
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
                found[node_id] = MAX_AGE if refusals or len(ids) == 1 else 0.0
        for fields, part in refused.items():
            found |= self._query_nodes(kind, part, deadline, without | fields)
        return found

    def _run_parts(
        self, query: Callable[[Sequence[T], float], dict[str, Any]], items: Sequence[T], deadline: float, end: float
    ) -> dict[str, Any]:
        """Query smaller parts at the same time after GitHub gave up on all, and return what is received until ``end``.

        Nothing is sent if it was one item or no time is left.
        """
        if len(items) == 1 or deadline - time.monotonic() < LEAST_TIME:
            return {}
        parts = _split(items, _smaller(len(items)))
        results = self.requests.run([partial(query, part, deadline) for part in parts], end)
        return {key: value for result in results for key, value in (result or {}).items()}

    def _unavailable(self, resources: Iterable[Resource], reason: str) -> dict[str, GithubReply]:
        return {
            resource.key: replace(self.requests.earlier(resource.key), unavailable=reason) for resource in resources
        }

    def _to_result(self, reply: GithubReply) -> RepositoryReply:
        value = reply.value or {"record": None, "is_complete": True}
        record = value["record"]
        if record and self._exclusions.match(str(record["full_name"])):  # cached before it was excluded
            return RepositoryReply(gone=EXCLUDED)
        return RepositoryReply(record, reply.gone, reply.unavailable, value["is_complete"])

    def _to_value(
        self, item: Mapping[str, Any], details: Mapping[str, Any], reply: Reply, *, is_complete: bool
    ) -> tuple[Any, str]:
        """Return the value that is cached; nothing is kept of an excluded repository under a former name."""
        try:
            row = map_record({**item, "_collected_at": reply.at.isoformat()})
        except BadDataError as error:
            return None, UNREADABLE + error.message
        if self._exclusions.match(str(row.get("full_name"))):
            return None, EXCLUDED
        return {"record": {**row, **details}, "is_complete": is_complete}, ""


def _split(items: Sequence[T], size: int) -> list[list[T]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _smaller(count: int) -> int:
    """Return the size of the parts of a query that failed: they are sent at the same time."""
    return max(count // PARALLEL, 1)


def _read_contributors(reply: Reply) -> tuple[Any, str]:
    """Return the number of contributors: the last page at one per page; an empty repository has none."""
    if not isinstance(reply.data, list):
        return None, "no list of contributors"
    return (reply.last_page if reply.data else 0), ""

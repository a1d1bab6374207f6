"""Repositories of GitHub for the page: their records, contributors and counts, as far as GitHub returns them within seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from stargaze.errors import BadDataError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import TooHeavyError
from stargaze.features.github.api.replies import Reply
from stargaze.features.github.crawl.details import parse_names_reply
from stargaze.features.github.search.search import is_repository
from stargaze.features.ingest.field_mapping import map_record
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.lookup.github_details import query_details, run_parts, smaller_size, split
from stargaze.serve.lookup.github_requests import GRACE_TIME, UNREADABLE, GithubRequests
from stargaze.serve.lookup.github_resource import MAX_AGE, GithubReply, Resource
from stargaze.serve.lookup.pauses import LATE_PAUSE, PATIENCE, QUERY, Pause, UnavailableError

LOOKUP_SECONDS = 3.0
"""Time for the records of all names of a batch [s]; the star histories have another two."""
CONTRIBUTORS_MAX_AGE = 6 * 3600.0
"""Time for which a number of contributors is reused [s]; GitHub computes it rarely."""
CONTRIBUTORS_RESERVE = 12
"""Requests per hour that are kept for the records of repositories, which are worth most, if there is no token."""
UNKNOWN_LIMIT = 20, 3600.0
"""Names per hour that GitHub may not have, if there is no token: whoever tries names leaves requests for repositories."""
QUERY_SIZE = 40
"""Repositories of one query: GitHub counts so many within seconds."""
REPOSITORY, RECORD, CONTRIBUTORS = "repository", "record", "contributors"
"""Kinds of resources: what is known of a repository, its REST record beside GraphQL, and its contributors."""
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
    retry_at: float = 0.0
    """When GitHub can be expected to return more [s since 1970]; 0 if nothing temporary is missing."""


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
            pause = self.requests.pauses.find(QUERY, "graphql") or self.requests.pauses.late()
            replies = self._unavailable([item for item in resources if item.key not in replies], pause) | replies
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
        path = f"/repos/{name}"
        limit = None if self.has_token else UNKNOWN_LIMIT
        return Resource(
            REPOSITORY, name, path, self._read_repository, reserve=reserve, unknown_limit=limit, can_be_refused=False
        )

    def _read_repository(self, reply: Reply) -> tuple[Any, str]:
        if not is_repository(reply.data) or reply.data.get("private"):
            return None, "Not Found"
        return self._to_value(reply.data, reply)

    def _add_contributors(self, results: dict[str, RepositoryReply], deadline: float) -> dict[str, RepositoryReply]:
        """Request the contributors of what was found, with one request each."""
        names = {key: str(result.record["full_name"]) for key, result in results.items() if result.record}
        resources = {key: _contributors(name) for key, name in names.items()}
        replies = self.requests.fetch(list(resources.values()), deadline)
        for key, resource in resources.items():
            reply, result = replies[resource.key], results[key]
            record = dict(result.record or {})
            if reply.value is not None:
                record["contributors"] = reply.value
                results[key] = replace(result, record=record)
            else:
                retry_at = earliest(result.retry_at, reply.retry_at)
                results[key] = replace(result, record=record, lacks=reply.unavailable, retry_at=retry_at)
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
                self.requests.pauses.count_fault(QUERY)
            replies |= fetched or self._unavailable(part, self.requests.pauses.late(QUERY, "graphql"))
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
        return [part for size, group in groups.items() for part in split(group, size)]

    def _query(self, resources: Sequence[Resource], deadline: float) -> dict[str, GithubReply]:
        """Query records, then counts, commits and contributors at the same time."""
        names = [resource.name for resource in resources]
        text = graphql.names_query(len(names), extra="isPrivate isEmpty")
        try:
            reply = self.requests.query(QUERY, text, graphql.names_variables(names), deadline)
        except TooHeavyError:
            results = run_parts(self.requests, self._query, resources, deadline, deadline - GRACE_TIME)
            return self._unavailable(resources, self.requests.pauses.late()) | results
        except UnavailableError as error:
            return self._unavailable(resources, error.pause)
        nodes = parse_names_reply(names, reply)
        if time.monotonic() > deadline:  # for the next visitor
            deadline = time.monotonic() + LOOKUP_SECONDS
        public = {name: node for name, node in nodes.items() if "gone" not in node and not node.get("isPrivate")}
        shown = {name: node for name, node in public.items() if not self._exclusions.match(str(node["nameWithOwner"]))}
        # A repository that is too large for GraphQL has fewer counts in REST.
        large = [resource for resource in resources if resource.name in shown and self._is_incomplete(resource)]
        fetch = partial(self.requests.fetch, deadline=deadline)
        details, waits, others = query_details(
            self.requests,
            {name: str(node["id"]) for name, node in shown.items()},
            [
                partial(fetch, [replace(resource, kind=RECORD) for resource in large]),
                partial(fetch, [_contributors(str(node["nameWithOwner"])) for node in shown.values()]),
            ],
            deadline,
        )
        data, replies = reply.data["data"], dict[str, GithubReply]()
        for index, resource in enumerate(resources):
            if resource.name not in nodes and data.get(f"r{index}") is None:  # a fault, not a refusal
                replies |= self._unavailable([resource], self.requests.pauses.late())
                continue
            value, gone = None, str(nodes.get(resource.name, {}).get("gone") or "Not Found")
            if node := public.get(resource.name):
                value, gone = self._to_value(node, reply)
            if value:
                is_complete = resource.name not in waits
                rest = None if is_complete else others.get(replace(resource, kind=RECORD).key)
                older = rest.value["record"] if rest and rest.value else {}
                record = {**older, **_known(value["record"]), **details.get(resource.name, {})}
                value = {"record": record, "is_complete": is_complete}
            if value and not value["is_complete"]:
                wait = waits[resource.name] or (MAX_AGE if resource in large else 0.0)
                value |= {"retry_after": wait, "part_size": smaller_size(len(names))}
            replies[resource.key] = GithubReply(value, gone, received_at=self.requests.now())
        return replies

    def _is_incomplete(self, resource: Resource) -> bool:
        """Return whether an earlier reply lacks counts."""
        value = self.requests.earlier(resource.key).value
        return bool(value) and not value["is_complete"]

    def _unavailable(self, resources: Iterable[Resource], pause: Pause) -> dict[str, GithubReply]:
        return {resource.key: self.requests.earlier(resource.key).paused(pause) for resource in resources}

    def _to_result(self, reply: GithubReply) -> RepositoryReply:
        value = reply.value or {"record": None, "is_complete": True}
        record = value["record"]
        if record and self._exclusions.match(str(record["full_name"])):  # cached before it was excluded
            return RepositoryReply(gone=EXCLUDED)
        retry_at = reply.retry_at
        if not reply.unavailable and "retry_after" in value:  # counts that are late
            retry_at = reply.received_at + max(value["retry_after"], LATE_PAUSE)
        return RepositoryReply(record, reply.gone, reply.unavailable, value["is_complete"], retry_at=retry_at)

    def _to_value(self, item: Mapping[str, Any], reply: Reply) -> tuple[Any, str]:
        """Return the value that is cached; nothing is kept of an excluded repository under a former name."""
        try:
            row = map_record({**item, "_collected_at": reply.at.isoformat()})
        except BadDataError as error:
            return None, UNREADABLE + error.message
        if self._exclusions.match(str(row.get("full_name"))):
            return None, EXCLUDED
        return {"record": row, "is_complete": False}, ""


def earliest(*times: float) -> float:
    """Return the earliest of the times [s since 1970] that are not 0; 0 if there is none."""
    return min(filter(None, times), default=0.0)


def _contributors(name: str) -> Resource:
    return Resource(
        CONTRIBUTORS,
        name,
        f"/repos/{name}/contributors",
        _read_contributors,
        {"per_page": 1, "anon": "true"},
        CONTRIBUTORS_MAX_AGE,
        CONTRIBUTORS_RESERVE,
        PATIENCE,
    )


def _known(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}


def _read_contributors(reply: Reply) -> tuple[Any, str]:
    """Return the number of contributors: the last page at one per page; an empty repository has none."""
    if not isinstance(reply.data, list):
        return None, "no list of contributors"
    return (reply.last_page if reply.data else 0), ""

"""Fetch repositories by name, and what search results lack: by GraphQL, and by REST if enabled or without a token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stargaze.features.github.api import graphql
from stargaze.features.github.api.graphql import BatchSize, Kind, NodeError, query_in_batches
from stargaze.features.github.api.replies import Reply
from stargaze.features.github.api.response_cache import CachedResponse, CrawlSession, ResponseCache
from stargaze.features.github.search.search import RepoRef, is_node, is_repository, parse_repository
from stargaze.system.progress import Advance

FIRST_SIZE = 100
REMARK = "remark"
"""Prefix of the kind, and only field, of details that state why others are missing."""
GONE = "deleted meanwhile"
REFUSED = "access refused: "
"""Followed by GitHub's message."""
TOO_LARGE = "too large for GitHub to count"
DETAILS_MAX_AGE = timedelta(days=30)
"""Details older than this at the start of a run are fetched again in any case."""

COUNTS = graphql.KINDS[0]


def repository_key(name: str) -> str:
    """Return the cache key of a repository; names are case-insensitive."""
    return f"repo {name.lower()}"


def fetch_by_name(
    names: Iterable[str], session: CrawlSession, *, use_graphql: bool, advance: Advance
) -> tuple[list[RepoRef], dict[str, str]]:
    """Fetch each name; return the existing repositories, and the reason for each missing one."""
    unique_names: dict[str, str] = {}
    for name in names:
        unique_names.setdefault(name.lower(), name)
    missing = [name for name in unique_names.values() if session.get_page(repository_key(name)) is None]
    advance(len(unique_names) - len(missing))
    if use_graphql:
        _fetch_by_graphql(missing, session, advance)
    else:
        for name in missing:
            _fetch_by_rest(name, session)
            advance(1)
    repositories: dict[int, RepoRef] = {}
    gone: dict[str, str] = {}
    for name in unique_names.values():
        page = session.get_page(repository_key(name))
        data = page.data if page else {"gone": "GitHub did not respond"}
        if "gone" in data:
            gone[name] = data["gone"]
        else:
            repository = parse_repository(data, repository_key(name))
            repositories[repository.id] = repository
    return list(repositories.values()), gone


def _fetch_by_rest(name: str, session: CrawlSession) -> None:
    session.get(repository_key(name), f"/repos/{name}", {}, _to_cached)


def _to_cached(reply: Reply) -> CachedResponse:
    if is_repository(reply.data) and not reply.gone:
        return CachedResponse(reply.at, reply.etag, reply.raw)
    return CachedResponse(reply.at, "", json.dumps({"gone": reply.gone or "the response is not a repository"}).encode())


def _fetch_by_graphql(names: list[str], session: CrawlSession, advance: Advance) -> None:
    def query(batch: list[str]) -> Reply:
        return session.client.query(graphql.names_query(len(batch)), graphql.names_variables(batch))

    def store(batch: list[str], reply: Reply) -> list[str]:
        answered = parse_names_reply(batch, reply)
        pages = {
            repository_key(name): CachedResponse(reply.at, "", json.dumps(body).encode())
            for name, body in answered.items()
        }
        session.cache.store_pages(session.run, pages)
        advance(len(answered))
        return [name for name in batch if name not in answered]

    def give_up(name: str) -> None:
        _fetch_by_rest(name, session)
        advance(1)

    query_in_batches(names, BatchSize(FIRST_SIZE), query, store, give_up, session.client)


def parse_names_reply(names: list[str], reply: Reply) -> dict[str, dict[str, Any]]:
    """Return the response for each name, without names missing in the reply."""
    errors = graphql.errors_by_index(reply.data)
    repositories: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(names):
        node = reply.data["data"].get(f"r{index}")
        refusals = [error for error in errors.get(f"r{index}", ()) if error.type in graphql.REFUSED]
        if is_node(node):
            repositories[name] = node
        elif refusals:
            first = refusals[0]
            repositories[name] = {"gone": "Not Found" if first.is_gone else first.message}
    return repositories


class DetailFetcher:
    """Fetches counts and commits while the search waits for its own rate limit; batch sizes persist between calls."""

    def __init__(self, session: CrawlSession, kinds: Sequence[Kind]) -> None:
        self._client = session.client
        self._cache = session.cache
        self._known = {kind: read_current_stamps(kind, session) for kind in kinds}
        self._remarked = {kind: session.cache.get_stamps(_remark_kind(kind)) for kind in kinds}
        self._sizes = {kind: BatchSize(kind.first_size) for kind in kinds}

    def fetch(self, repositories: Sequence[RepoRef], advance: Advance) -> None:
        """Fetch and store missing details; ``advance`` counts repositories times kinds."""
        for kind, stamps in self._known.items():
            missing = [repository for repository in repositories if stamps.get(repository.id) != repository.stamp]
            advance(len(repositories) - len(missing))
            self._fetch_kind(kind, missing, advance)

    def _fetch_kind(self, kind: Kind, missing: Sequence[RepoRef], advance: Advance) -> None:
        """Fetch all fields, then for repositories that refuse some fields the others."""
        pending: dict[frozenset[str], list[RepoRef]] = {frozenset(): list(missing)}
        while pending:
            without, batch = pending.popitem()
            for repository, refused in self._fetch_fields(without, kind, batch, advance):
                pending.setdefault(without | refused, []).append(repository)

    def _fetch_fields(
        self, without: frozenset[str], kind: Kind, missing: Sequence[RepoRef], advance: Advance
    ) -> list[tuple[RepoRef, frozenset[str]]]:
        """Fetch without some fields; return the repositories that refuse more fields, and which."""
        text, requested = kind.without(without), frozenset(kind.names) - without
        parts: dict[int, dict[str, Any]] = {}
        refused: list[tuple[RepoRef, frozenset[str]]] = []

        def query(batch: list[RepoRef]) -> Reply:
            return self._client.query(text, {"ids": [repository.node_id for repository in batch]})

        def store(batch: list[RepoRef], reply: Reply) -> list[RepoRef]:
            results = dict(zip(batch, _parse_nodes(batch, reply, requested), strict=True))
            refused.extend((repository, result.refused) for repository, result in results.items() if result.refused)
            done = {repository: result for repository, result in results.items() if result.is_complete}
            left = [
                repository for repository, result in results.items() if not result.is_complete and not result.refused
            ]
            self._remark(kind, {repository: result.remark for repository, result in done.items()}, reply.at)
            self._store(kind, {repository: result.fields for repository, result in done.items()}, reply.at)
            parts.update((repository.id, results[repository].fields) for repository in left)
            advance(len(done))
            return left

        def give_up(repository: RepoRef) -> None:
            now = self._client.now()
            self._remark(kind, {repository: TOO_LARGE}, now)
            self._store(kind, {repository: parts.get(repository.id, {})}, now)
            advance(1)

        query_in_batches(missing, self._sizes[kind], query, store, give_up, self._client)
        return refused

    def _remark(self, kind: Kind, remarks: Mapping[RepoRef, str], at: datetime) -> None:
        """Store why details are missing, or clear an outdated remark."""
        before = self._remarked[kind]
        rows = [
            (repository.id, repository.stamp, {REMARK: remark} if remark else {})
            for repository, remark in remarks.items()
            if remark or before.get(repository.id) == repository.stamp
        ]
        if rows:
            self._cache.store_details(_remark_kind(kind), rows, at)

    def _store(self, kind: Kind, fields: Mapping[RepoRef, dict[str, Any]], at: datetime) -> None:
        rows = [(repository.id, repository.stamp, values) for repository, values in fields.items()]
        self._cache.store_details(kind.name, rows, at)
        self._known[kind].update((repository.id, repository.stamp) for repository in fields)


def read_current_stamps(kind: Kind, session: CrawlSession) -> dict[int, str]:
    """Return the state stamp of each repository whose details are current; earlier failures are fetched again."""
    cache, run = session.cache, session.run
    stamps = cache.get_stamps(kind.name, run.began - DETAILS_MAX_AGE)
    remarked = cache.get_stamps(_remark_kind(kind))
    recent = cache.get_stamps(_remark_kind(kind), run.began)
    before = {number: stamp for number, stamp in remarked.items() if number not in recent}
    for number, missing in cache.get_details([_remark_kind(kind)], before).items():
        if missing and stamps.get(number) == before[number]:
            del stamps[number]
    return stamps


def read_remarks(repositories: Sequence[RepoRef], cache: ResponseCache) -> dict[str, str]:
    """Return why details are missing, by repository name, for the current state."""
    stamps = cache.get_details(
        [_remark_kind(kind) for kind in (*graphql.KINDS, graphql.README)],
        {repository.id: repository.stamp for repository in repositories},
    )
    return {
        repository.full_name: stamps[repository.id][REMARK] for repository in repositories if stamps.get(repository.id)
    }


def _remark_kind(kind: Kind) -> str:
    return f"{REMARK} {kind.name}"


@dataclass(frozen=True)
class _NodeResult:
    """The result for one repository: its fields, and whether they are complete."""

    fields: dict[str, Any]
    is_complete: bool
    remark: str = ""
    refused: frozenset[str] = frozenset()
    """Refused fields; a query without them may succeed."""


def _parse_nodes(batch: Sequence[RepoRef], reply: Reply, requested: frozenset[str]) -> list[_NodeResult]:
    found = reply.data["data"].get("nodes")
    nodes = found if isinstance(found, list) else []
    errors = graphql.errors_by_index(reply.data)
    padded = [*nodes, *[None] * (len(batch) - len(nodes))]
    return [_parse_node(padded[index], errors.get(index, []), requested) for index in range(len(batch))]


def _parse_node(node: Any, errors: Sequence[NodeError], requested: frozenset[str]) -> _NodeResult:
    refusals = [error for error in errors if error.type in graphql.REFUSED]
    if isinstance(node, dict) and "nameWithOwner" in node:
        return _NodeResult(graphql.parse_fields(node), is_complete=len(refusals) == len(errors))
    for error in refusals:
        if error.field not in requested:
            return _NodeResult({}, is_complete=True, remark=GONE if error.is_gone else REFUSED + error.message)
    return _NodeResult({}, is_complete=False, refused=frozenset(error.field for error in refusals))


def fetch_rest_details(repositories: Sequence[RepoRef], session: CrawlSession, advance: Advance) -> None:
    """Fetch by REST what GraphQL did not return: contributors, README, and followers of each owner.

    Where GraphQL returned the field, empty details replace earlier ones from REST.
    """
    cache, since = session.cache, session.run.began - DETAILS_MAX_AGE
    known = {kind: cache.get_stamps(kind, since) for kind in REST_DETAILS}
    counted = cache.get_stamps(COUNTS.name, since)
    for repository in repositories:
        missing = [kind for kind in REST_DETAILS if known[kind].get(repository.id) != repository.stamp]
        is_counted = missing and counted.get(repository.id) == repository.stamp
        results = (
            cache.get_details([COUNTS.name], {repository.id: repository.stamp}).get(repository.id, {})
            if is_counted
            else {}
        )
        for kind in missing:
            fields = {} if GRAPHQL_FIELDS.get(kind) in results else REST_DETAILS[kind](repository, session)
            cache.store_details(kind, [(repository.id, repository.stamp, fields)], session.client.now())
        advance(1)


def _fetch_contributors(repository: RepoRef, session: CrawlSession) -> dict[str, Any]:
    """Count contributors by the last page number at one per page; an empty repository has no page."""
    reply = session.client.get(
        f"/repos/{repository.full_name}/contributors", {"per_page": 1, "anon": "true"}, allow_refusal=True
    )
    if reply.gone or not isinstance(reply.data, list):
        return {}
    return {"contributors": reply.last_page if reply.data else 0}


def _fetch_readme(repository: RepoRef, session: CrawlSession) -> dict[str, Any]:
    reply = session.client.get(f"/repos/{repository.full_name}/readme", allow_refusal=True)
    return {"readme_length": 0} if reply.gone else _integer_field(reply.data, "size", "readme_length")


def _fetch_followers(repository: RepoRef, session: CrawlSession) -> dict[str, Any]:
    """Fetch an owner once for all its repositories."""
    owner = repository.full_name.partition("/")[0]
    path = f"/{'orgs' if repository.owner_type == 'Organization' else 'users'}/{owner}"

    def to_cached(reply: Reply) -> CachedResponse:
        return CachedResponse(reply.at, reply.etag, b"{}" if reply.gone else reply.raw)

    page = session.get(f"owner {owner}", path, {}, to_cached)
    return _integer_field(page.data, "followers", "owner_followers")


REST_DETAILS: dict[str, Callable[[RepoRef, CrawlSession], dict[str, Any]]] = {
    "contributors": _fetch_contributors,
    "readme": _fetch_readme,
    "followers": _fetch_followers,
}
GRAPHQL_FIELDS = {"readme": "readme_length", "followers": "owner_followers"}
"""Fields that GraphQL returns for most: if the README is README.md, if the owner is a user."""


def _integer_field(data: Any, name: str, field: str) -> dict[str, Any]:
    value = data.get(name) if isinstance(data, dict) else None
    return {field: value} if isinstance(value, int) else {}

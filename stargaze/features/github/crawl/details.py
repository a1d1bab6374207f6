"""What a search row does not tell: counts and commits by GraphQL, contributors and more by REST where asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stargaze.features.github.api import graphql
from stargaze.features.github.api.batching import BatchSize, query_in_batches
from stargaze.features.github.api.client import Client, Reply
from stargaze.features.github.api.graphql import Kind, NodeError
from stargaze.features.github.api.response_cache import CachedResponse, CrawlRun, ResponseCache, cached_get
from stargaze.features.github.search.search import RepoRef
from stargaze.system.progress import Advance

REMARK = "remark"
"""Begins the name of the details that say why those of a kind are missing, and is their only field."""
GONE = "deleted meanwhile"
REFUSED = "access refused: "
"""GitHub's own words come after it."""
TOO_LARGE = "too large for GitHub to count"
DETAILS_MAX_AGE = timedelta(days=30)
"""Before a gather began: details that are older are asked for again, whatever the repository's state."""

COUNTS = graphql.KINDS[0]

"""Told how many repositories more are done."""


class DetailFetcher:
    """Learns counts and commits of repositories as they are found; page sizes are kept from one call to the next.

    So a slice's details are asked for while the search has to wait for its own limit.
    """

    def __init__(self, client: Client, cache: ResponseCache, kinds: Sequence[Kind], run: CrawlRun) -> None:
        self._client = client
        self._spool = cache
        self._known = {kind: known_details(kind, cache, run) for kind in kinds}
        self._remarked = {kind: cache.stamps(_remark_kind(kind)) for kind in kinds}
        self._sizes = {kind: BatchSize(kind.first_size) for kind in kinds}

    def fetch(self, repositories: Sequence[RepoRef], advance: Advance) -> None:
        """Ask for what is not known of their present state; each answer is kept at once.

        ``tell`` hears how many more details are known, as many as there are repositories and kinds.
        """
        for kind, known_details in self._known.items():
            missing = [
                repository for repository in repositories if known_details.get(repository.id) != repository.stamp
            ]
            advance(len(repositories) - len(missing))
            self._fetch_kind(kind, missing, advance)

    def _fetch_kind(self, kind: Kind, missing: Sequence[RepoRef], advance: Advance) -> None:
        """Ask for all, then of those that refuse some fields for the others."""
        pending: dict[frozenset[str], list[RepoRef]] = {frozenset(): list(missing)}
        while pending:
            without, batch = pending.popitem()
            for repository, refused in self._fetch_without(without, kind, batch, advance):
                pending.setdefault(without | refused, []).append(repository)

    def _fetch_without(
        self, without: frozenset[str], kind: Kind, missing: Sequence[RepoRef], advance: Advance
    ) -> list[tuple[RepoRef, frozenset[str]]]:
        """Ask without some fields; return those that refuse more, and which."""
        text, asked = kind.without(without), frozenset(kind.names) - without
        parts: dict[int, dict[str, Any]] = {}
        refused: list[tuple[RepoRef, frozenset[str]]] = []

        def query(batch: list[RepoRef]) -> Reply:
            return self._client.query(text, {"ids": [repository.node_id for repository in batch]})

        def store(batch: list[RepoRef], reply: Reply) -> list[RepoRef]:
            results = dict(zip(batch, _parse_nodes(batch, reply, asked), strict=True))
            refused.extend((repository, result.refused) for repository, result in results.items() if result.refused)
            done = {repository: result for repository, result in results.items() if result.whole}
            left = [repository for repository, result in results.items() if not result.whole and not result.refused]
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
        """Note why nothing is known, for every later summary, or that what was noted is no longer so."""
        before = self._remarked[kind]
        rows = [
            (repository.id, repository.stamp, {REMARK: remark} if remark else {})
            for repository, remark in remarks.items()
            if remark or before.get(repository.id) == repository.stamp
        ]
        if rows:
            self._spool.store_details(_remark_kind(kind), rows, at)

    def _store(self, kind: Kind, fields: Mapping[RepoRef, dict[str, Any]], at: datetime) -> None:
        self._spool.store_details(
            kind.name,
            [(repository.id, repository.stamp, known_details) for repository, known_details in fields.items()],
            at,
        )
        self._known[kind].update((repository.id, repository.stamp) for repository in fields)


def known_details(kind: Kind, cache: ResponseCache, run: CrawlRun) -> dict[int, str]:
    """Return of every repository the state in which this kind was learned, and need not be learned again.

    What is old is learned again; so is, in every gather, what could not be had before it began.
    """
    stamps = cache.stamps(kind.name, run.began - DETAILS_MAX_AGE)
    remarked = cache.stamps(_remark_kind(kind))
    recent = cache.stamps(_remark_kind(kind), run.began)
    before = {number: stamp for number, stamp in remarked.items() if number not in recent}
    for number, missing in cache.details([_remark_kind(kind)], before).items():
        if missing and stamps.get(number) == before[number]:
            del stamps[number]
    return stamps


def remarks(repositories: Sequence[RepoRef], cache: ResponseCache) -> dict[str, str]:
    """Return the names of those whose details could not be had, in their present state, and why."""
    stamps = cache.details(
        [_remark_kind(kind) for kind in graphql.KINDS], {repository.id: repository.stamp for repository in repositories}
    )
    return {
        repository.full_name: stamps[repository.id][REMARK] for repository in repositories if stamps.get(repository.id)
    }


def _remark_kind(kind: Kind) -> str:
    return f"{REMARK} {kind.name}"


@dataclass(frozen=True)
class _NodeResult:
    """What an answer says of one repository: fields, and whether there is nothing to wait for beyond them."""

    fields: dict[str, Any]
    whole: bool
    remark: str = ""
    refused: frozenset[str] = frozenset()
    """Fields without which the others may be had."""


def _parse_nodes(batch: Sequence[RepoRef], reply: Reply, asked: frozenset[str]) -> list[_NodeResult]:
    nodes = reply.data["data"].get("nodes") or []
    errors = graphql.errors_by_index(reply.data)
    padded = [*nodes, *[None] * (len(batch) - len(nodes))]
    return [_parse_node(padded[place], errors.get(place, []), asked) for place in range(len(batch))]


def _parse_node(node: Any, errors: Sequence[NodeError], asked: frozenset[str]) -> _NodeResult:
    refusals = [error for error in errors if error.type in graphql.REFUSED]
    if isinstance(node, dict) and "nameWithOwner" in node:
        return _NodeResult(graphql.fields(node), whole=len(refusals) == len(errors))
    for error in refusals:
        if error.field not in asked:
            return _NodeResult({}, whole=True, remark=GONE if error.is_gone else REFUSED + error.message)
    return _NodeResult({}, whole=False, refused=frozenset(error.field for error in refusals))


def fetch_rest_details(
    repositories: Sequence[RepoRef], client: Client, cache: ResponseCache, run: CrawlRun, advance: Advance
) -> None:
    """Ask REST for what GraphQL lacks, or did not tell: contributors and README, followers of each owner.

    What it told is noted as nothing, over what REST may have said before.
    """
    since = run.began - DETAILS_MAX_AGE
    known_details = {kind: cache.stamps(kind, since) for kind in REST_DETAILS}
    counted = cache.stamps(COUNTS.name, since)
    for repository in repositories:
        missing = [kind for kind in REST_DETAILS if known_details[kind].get(repository.id) != repository.stamp]
        is_counted = missing and counted.get(repository.id) == repository.stamp
        results = (
            cache.details([COUNTS.name], {repository.id: repository.stamp}).get(repository.id, {}) if is_counted else {}
        )
        for kind in missing:
            fields = {} if GRAPHQL_FIELDS.get(kind) in results else REST_DETAILS[kind](repository, client, cache, run)
            cache.store_details(kind, [(repository.id, repository.stamp, fields)], client.now())
        advance(1)


def _contributors(repository: RepoRef, client: Client, _spool: ResponseCache, _gather: CrawlRun) -> dict[str, Any]:
    """Count by the number of the last page of one; an empty repository has no page at all."""
    reply = client.get(
        f"/repos/{repository.full_name}/contributors", {"per_page": 1, "anon": "true"}, allow_refusal=True
    )
    if reply.gone or not isinstance(reply.data, list):
        return {}
    return {"contributors": reply.last_page if reply.data else 0}


def _readme(repository: RepoRef, client: Client, _spool: ResponseCache, _gather: CrawlRun) -> dict[str, Any]:
    reply = client.get(f"/repos/{repository.full_name}/readme", allow_refusal=True)
    return {"readme_length": 0} if reply.gone else _integer_field(reply.data, "size", "readme_length")


def _followers(repository: RepoRef, client: Client, cache: ResponseCache, run: CrawlRun) -> dict[str, Any]:
    """Ask once an owner; many repositories may be theirs."""
    owner = repository.full_name.partition("/")[0]
    path = f"/{'orgs' if repository.owner_type == 'Organization' else 'users'}/{owner}"

    def read(reply: Reply) -> CachedResponse:
        return CachedResponse(reply.at, reply.etag, b"{}" if reply.gone else reply.raw)

    page = cached_get(f"owner {owner}", path, {}, read, client, cache, run)
    return _integer_field(page.data, "followers", "owner_followers")


REST_DETAILS: dict[str, Callable[[RepoRef, Client, ResponseCache, CrawlRun], dict[str, Any]]] = {
    "contributors": _contributors,
    "readme": _readme,
    "followers": _followers,
}
GRAPHQL_FIELDS = {"readme": "readme_length", "followers": "owner_followers"}
"""The field that GraphQL tells of many: where the README is called README.md, where the owner is a person."""


def _integer_field(data: Any, name: str, field: str) -> dict[str, Any]:
    value = data.get(name) if isinstance(data, dict) else None
    return {field: value} if isinstance(value, int) else {}

"""What a search row does not tell: counts and commits by GraphQL, contributors and more by REST where asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stargaze.features.github.api import graphql
from stargaze.features.github.api.batching import PageSize, ask_all
from stargaze.features.github.api.cached_get import page_once
from stargaze.features.github.api.client import Client, Reply
from stargaze.features.github.api.graphql import Kind, NodeError
from stargaze.features.github.api.response_cache import CachedResponse, CrawlRun, ResponseCache
from stargaze.features.github.search.search import RepoRef
from stargaze.system.progress import Advance

REMARK = "remark"
"""Begins the name of the details that say why those of a kind are missing, and is their only field."""
GONE = "deleted meanwhile"
REFUSED = "access refused: "
"""GitHub's own words come after it."""
TOO_LARGE = "too large for GitHub to count"
FRESH = timedelta(days=30)
"""Before a gather began: details that are older are asked for again, whatever the repository's state."""

COUNTS = graphql.KINDS[0]

"""Told how many repositories more are done."""


class DetailFetcher:
    """Learns counts and commits of repositories as they are found; page sizes are kept from one call to the next.

    So a slice's details are asked for while the search has to wait for its own limit.
    """

    def __init__(self, client: Client, spool: ResponseCache, kinds: Sequence[Kind], gather: CrawlRun) -> None:
        self._client = client
        self._spool = spool
        self._known = {kind: known(kind, spool, gather) for kind in kinds}
        self._remarked = {kind: spool.stamps(_remark_of(kind)) for kind in kinds}
        self._sizes = {kind: PageSize(kind.first_size) for kind in kinds}

    def learn(self, repos: Sequence[RepoRef], tell: Advance) -> None:
        """Ask for what is not known of their present state; each answer is kept at once.

        ``tell`` hears how many more details are known, as many as there are repositories and kinds.
        """
        for kind, known in self._known.items():
            todo = [one for one in repos if known.get(one.id) != one.stamp]
            tell(len(repos) - len(todo))
            self._ask(kind, todo, tell)

    def _ask(self, kind: Kind, todo: Sequence[RepoRef], tell: Advance) -> None:
        """Ask for all, then of those that refuse some fields for the others."""
        waiting: dict[frozenset[str], list[RepoRef]] = {frozenset(): list(todo)}
        while waiting:
            without, some = waiting.popitem()
            for one, refused in self._ask_without(without, kind, some, tell):
                waiting.setdefault(without | refused, []).append(one)

    def _ask_without(
        self, without: frozenset[str], kind: Kind, todo: Sequence[RepoRef], tell: Advance
    ) -> list[tuple[RepoRef, frozenset[str]]]:
        """Ask without some fields; return those that refuse more, and which."""
        text, asked = kind.without(without), frozenset(kind.names) - without
        parts: dict[int, dict[str, Any]] = {}
        refused: list[tuple[RepoRef, frozenset[str]]] = []

        def ask(some: list[RepoRef]) -> Reply:
            return self._client.query(text, {"ids": [one.node_id for one in some]})

        def take(some: list[RepoRef], reply: Reply) -> list[RepoRef]:
            told = dict(zip(some, _told(some, reply, asked), strict=True))
            refused.extend((one, what.refused) for one, what in told.items() if what.refused)
            done = {one: what for one, what in told.items() if what.whole}
            left = [one for one, what in told.items() if not what.whole and not what.refused]
            self._remark(kind, {one: what.remark for one, what in done.items()}, reply.at)
            self._keep(kind, {one: what.fields for one, what in done.items()}, reply.at)
            parts.update((one.id, told[one].fields) for one in left)
            tell(len(done))
            return left

        def give_up(one: RepoRef) -> None:
            now = self._client.now()
            self._remark(kind, {one: TOO_LARGE}, now)
            self._keep(kind, {one: parts.get(one.id, {})}, now)
            tell(1)

        ask_all(todo, self._sizes[kind], ask, take, give_up, self._client)
        return refused

    def _remark(self, kind: Kind, remarks: Mapping[RepoRef, str], at: datetime) -> None:
        """Note why nothing is known, for every later summary, or that what was noted is no longer so."""
        before = self._remarked[kind]
        rows = [
            (one.id, one.stamp, {REMARK: remark} if remark else {})
            for one, remark in remarks.items()
            if remark or before.get(one.id) == one.stamp
        ]
        if rows:
            self._spool.keep_details(_remark_of(kind), rows, at)

    def _keep(self, kind: Kind, fields: Mapping[RepoRef, dict[str, Any]], at: datetime) -> None:
        self._spool.keep_details(kind.name, [(one.id, one.stamp, known) for one, known in fields.items()], at)
        self._known[kind].update((one.id, one.stamp) for one in fields)


def known(kind: Kind, spool: ResponseCache, gather: CrawlRun) -> dict[int, str]:
    """Return of every repository the state in which this kind was learned, and need not be learned again.

    What is old is learned again; so is, in every gather, what could not be had before it began.
    """
    found = spool.stamps(kind.name, gather.began - FRESH)
    noted = spool.stamps(_remark_of(kind))
    late = spool.stamps(_remark_of(kind), gather.began)
    before = {number: stamp for number, stamp in noted.items() if number not in late}
    for number, missing in spool.details([_remark_of(kind)], before).items():
        if missing and found.get(number) == before[number]:
            del found[number]
    return found


def remarks(repos: Sequence[RepoRef], spool: ResponseCache) -> dict[str, str]:
    """Return the names of those whose details could not be had, in their present state, and why."""
    found = spool.details([_remark_of(kind) for kind in graphql.KINDS], {one.id: one.stamp for one in repos})
    return {one.full_name: found[one.id][REMARK] for one in repos if found.get(one.id)}


def _remark_of(kind: Kind) -> str:
    return f"{REMARK} {kind.name}"


@dataclass(frozen=True)
class _Told:
    """What an answer says of one repository: fields, and whether there is nothing to wait for beyond them."""

    fields: dict[str, Any]
    whole: bool
    remark: str = ""
    refused: frozenset[str] = frozenset()
    """Fields without which the others may be had."""


def _told(some: Sequence[RepoRef], reply: Reply, asked: frozenset[str]) -> list[_Told]:
    nodes = reply.data["data"].get("nodes") or []
    errors = graphql.errors_by_place(reply.data)
    padded = [*nodes, *[None] * (len(some) - len(nodes))]
    return [_told_of(padded[place], errors.get(place, []), asked) for place in range(len(some))]


def _told_of(node: Any, errors: Sequence[NodeError], asked: frozenset[str]) -> _Told:
    refusals = [error for error in errors if error.type in graphql.REFUSED]
    if isinstance(node, dict) and "nameWithOwner" in node:
        return _Told(graphql.fields(node), whole=len(refusals) == len(errors))
    for error in refusals:
        if error.field not in asked:
            return _Told({}, whole=True, remark=GONE if error.is_gone else REFUSED + error.message)
    return _Told({}, whole=False, refused=frozenset(error.field for error in refusals))


def look_closer(
    repos: Sequence[RepoRef], client: Client, spool: ResponseCache, gather: CrawlRun, tell: Advance
) -> None:
    """Ask REST for what GraphQL lacks, or did not tell: contributors and README, followers of each owner.

    What it told is noted as nothing, over what REST may have said before.
    """
    since = gather.began - FRESH
    known = {kind: spool.stamps(kind, since) for kind in CLOSER}
    counted = spool.stamps(COUNTS.name, since)
    for one in repos:
        todo = [kind for kind in CLOSER if known[kind].get(one.id) != one.stamp]
        is_counted = todo and counted.get(one.id) == one.stamp
        told = spool.details([COUNTS.name], {one.id: one.stamp}).get(one.id, {}) if is_counted else {}
        for kind in todo:
            fields = {} if TOLD.get(kind) in told else CLOSER[kind](one, client, spool, gather)
            spool.keep_details(kind, [(one.id, one.stamp, fields)], client.now())
        tell(1)


def _contributors(one: RepoRef, client: Client, _spool: ResponseCache, _gather: CrawlRun) -> dict[str, Any]:
    """Count by the number of the last page of one; an empty repository has no page at all."""
    reply = client.get(f"/repos/{one.full_name}/contributors", {"per_page": 1, "anon": "true"}, forgiving=True)
    if reply.gone or not isinstance(reply.data, list):
        return {}
    return {"contributors": reply.last_page if reply.data else 0}


def _readme(one: RepoRef, client: Client, _spool: ResponseCache, _gather: CrawlRun) -> dict[str, Any]:
    reply = client.get(f"/repos/{one.full_name}/readme", forgiving=True)
    return {"readme_length": 0} if reply.gone else _number(reply.data, "size", "readme_length")


def _followers(one: RepoRef, client: Client, spool: ResponseCache, gather: CrawlRun) -> dict[str, Any]:
    """Ask once an owner; many repositories may be theirs."""
    owner = one.full_name.partition("/")[0]
    path = f"/{'orgs' if one.owner_type == 'Organization' else 'users'}/{owner}"

    def read(reply: Reply) -> CachedResponse:
        return CachedResponse(reply.at, reply.etag, b"{}" if reply.gone else reply.raw)

    page = page_once(f"owner {owner}", path, {}, read, client, spool, gather)
    return _number(page.data, "followers", "owner_followers")


CLOSER: dict[str, Callable[[RepoRef, Client, ResponseCache, CrawlRun], dict[str, Any]]] = {
    "contributors": _contributors,
    "readme": _readme,
    "followers": _followers,
}
TOLD = {"readme": "readme_length", "followers": "owner_followers"}
"""The field that GraphQL tells of many: where the README is called README.md, where the owner is a person."""


def _number(data: Any, name: str, field: str) -> dict[str, Any]:
    value = data.get(name) if isinstance(data, dict) else None
    return {field: value} if isinstance(value, int) else {}

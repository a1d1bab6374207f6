"""What a search row does not tell: counts and commits by GraphQL, contributors and more by REST where asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from stargaze.features.github import graphql
from stargaze.features.github.client import Client, Reply
from stargaze.features.github.found import Repo
from stargaze.features.github.graphql import Kind
from stargaze.features.github.paging import PageSize, ask_all
from stargaze.features.github.spool import Spool

Tell = Callable[[int], None]
"""Told how many repositories more are done."""


class Learner:
    """Learns counts and commits of repositories as they are found; page sizes are kept from one call to the next.

    So a slice's details are asked for while the search has to wait for its own limit.
    """

    def __init__(self, client: Client, spool: Spool, kinds: Sequence[Kind]) -> None:
        self._client = client
        self._spool = spool
        self._known = {kind: spool.stamps(kind.name) for kind in kinds}
        self._sizes = {kind: PageSize(kind.first_size) for kind in kinds}
        self.gone: list[str] = []
        self.too_large: list[str] = []

    def learn(self, repos: Sequence[Repo], tell: Tell) -> None:
        """Ask for what is not known of their present state; each answer is kept at once.

        ``tell`` hears how many more details are known, as many as there are repositories and kinds.
        """
        for kind, known in self._known.items():
            todo = [one for one in repos if known.get(one.id) != one.stamp]
            tell(len(repos) - len(todo))
            self._ask(kind, todo, tell)

    def _ask(self, kind: Kind, todo: Sequence[Repo], tell: Tell) -> None:
        def ask(some: list[Repo]) -> Reply:
            return self._client.query(kind.text, {"ids": [one.node_id for one in some]})

        def take(some: list[Repo], reply: Reply) -> list[Repo]:
            done, lost = _read(some, reply)
            self._keep(kind, [one for one in some if one.id in done], done, reply.at)
            self.gone += lost
            tell(len(done))
            return [one for one in some if one.id not in done]

        hopeless = ask_all(todo, self._sizes[kind], ask, take, self._client)
        self._keep(kind, hopeless, {}, self._client.now())
        self.too_large += [one.full_name for one in hopeless]
        tell(len(hopeless))

    def _keep(self, kind: Kind, repos: Sequence[Repo], fields: dict[int, dict[str, Any]], at: datetime) -> None:
        self._spool.keep_details(kind.name, [(one.id, one.stamp, fields.get(one.id, {})) for one in repos], at)
        self._known[kind].update((one.id, one.stamp) for one in repos)


def _read(some: Sequence[Repo], reply: Reply) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """Return the fields of each repository that was answered, and the names of those that are gone."""
    nodes = reply.data["data"].get("nodes") or []
    errors = graphql.errors_by_place(reply.data)
    done: dict[int, dict[str, Any]] = {}
    lost = []
    for place, one in enumerate(some):
        node = nodes[place] if place < len(nodes) else None
        if isinstance(node, dict) and "nameWithOwner" in node:
            done[one.id] = graphql.fields(node)
        elif errors.get(place) in graphql.GONE:
            done[one.id] = {}
            lost.append(one.full_name)
    return done, lost


def look_closer(repos: Sequence[Repo], client: Client, spool: Spool, tell: Tell) -> None:
    """Ask REST for what GraphQL lacks, three requests a repository: contributors, README, followers of the owner."""
    known = spool.stamps("deep")
    followers: dict[str, int | None] = {}
    for one in repos:
        if known.get(one.id) == one.stamp:
            tell(1)
            continue
        people = client.get(f"/repos/{one.full_name}/contributors", {"per_page": 1, "anon": "true"}, forgiving=True)
        readme = client.get(f"/repos/{one.full_name}/readme", forgiving=True)
        owner = one.full_name.partition("/")[0]
        if owner not in followers:
            account = client.get(f"/{'orgs' if one.owner_type == 'Organization' else 'users'}/{owner}", forgiving=True)
            followers[owner] = _number(account, "followers")
        found = {
            "contributors": _contributors(people),
            "readme_length": 0 if readme.gone else _number(readme, "size"),
            "owner_followers": followers[owner],
        }
        kept = {name: value for name, value in found.items() if value is not None}
        spool.keep_details("deep", [(one.id, one.stamp, kept)], people.at)
        tell(1)


def _contributors(reply: Reply) -> int | None:
    """Count by the number of the last page of one; an empty repository has no page at all."""
    if reply.gone or not isinstance(reply.data, list):
        return None
    return reply.last_page if reply.data else 0


def _number(reply: Reply, name: str) -> int | None:
    value = reply.data.get(name) if isinstance(reply.data, dict) and not reply.gone else None
    return value if isinstance(value, int) else None

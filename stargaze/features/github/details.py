"""What a search row does not tell: counts and commits by GraphQL, contributors and more by REST where asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.features.github import graphql
from stargaze.features.github.client import Client, Reply
from stargaze.features.github.found import Repo
from stargaze.features.github.graphql import Kind
from stargaze.features.github.paging import PageSize, ask_all
from stargaze.features.github.spool import Spool

Tell = Callable[[int], None]
"""Told how many repositories more are done."""


@dataclass(frozen=True)
class Learned:
    """What could not be learned: repositories gone since they were found, and those too large to be counted."""

    gone: tuple[str, ...] = ()
    too_large: tuple[str, ...] = ()


def learn(kind: Kind, repos: Sequence[Repo], client: Client, spool: Spool, tell: Tell) -> Learned:
    """Ask for one kind of details of every repository whose state is not known yet; each answer is kept at once."""
    known = spool.stamps(kind.name)
    todo = [one for one in repos if known.get(one.id) != one.stamp]
    tell(len(repos) - len(todo))
    gone: list[str] = []

    def ask(some: list[Repo]) -> Reply:
        return client.query(kind.text, {"ids": [one.node_id for one in some]})

    def take(some: list[Repo], reply: Reply) -> list[Repo]:
        done, lost = _read(some, reply)
        spool.keep_details(kind.name, [(one.id, one.stamp, done[one.id]) for one in some if one.id in done], reply.at)
        gone.extend(lost)
        tell(len(done))
        return [one for one in some if one.id not in done]

    hopeless = ask_all(todo, PageSize(kind.first_size), ask, take, client)
    spool.keep_details(kind.name, [(one.id, one.stamp, {}) for one in hopeless], client.now())
    tell(len(hopeless))
    return Learned(tuple(gone), tuple(one.full_name for one in hopeless))


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

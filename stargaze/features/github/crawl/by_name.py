"""Repositories asked for by name: by GraphQL many at once, without a token one by one; those that are gone are told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from stargaze.features.github.api import graphql
from stargaze.features.github.api.batching import PageSize, ask_all
from stargaze.features.github.api.cached_get import page_once
from stargaze.features.github.api.client import Client, Reply
from stargaze.features.github.api.response_cache import CachedResponse, CrawlRun, ResponseCache
from stargaze.features.github.search.search import RepoRef, is_row, repo
from stargaze.system.progress import Advance

FIRST_SIZE = 100


def ask_of(name: str) -> str:
    """Return what the page of a repository is filed under; GitHub does not mind the case of names."""
    return f"repo {name.lower()}"


def look_up(
    names: Iterable[str], client: Client, spool: ResponseCache, gather: CrawlRun, *, graph: bool, tell: Advance
) -> tuple[list[RepoRef], dict[str, str]]:
    """Ask for each name; return those that are there, and of the others why they are not."""
    wanted: dict[str, str] = {}
    for name in names:
        wanted.setdefault(name.lower(), name)
    todo = [name for name in wanted.values() if spool.page(gather, ask_of(name)) is None]
    tell(len(wanted) - len(todo))
    if graph:
        _by_graphql(todo, client, spool, gather, tell)
    else:
        for name in todo:
            _by_rest(name, client, spool, gather)
            tell(1)
    found: dict[int, RepoRef] = {}
    gone: dict[str, str] = {}
    for name in wanted.values():
        page = spool.page(gather, ask_of(name))
        data = page.data if page else {"gone": "GitHub gave no answer"}
        if "gone" in data:
            gone[name] = data["gone"]
        else:
            one = repo(data, ask_of(name))
            found[one.id] = one
    return list(found.values()), gone


def _by_rest(name: str, client: Client, spool: ResponseCache, gather: CrawlRun) -> None:
    page_once(ask_of(name), f"/repos/{name}", {}, _read, client, spool, gather)


def _read(reply: Reply) -> CachedResponse:
    if is_row(reply.data) and not reply.gone:
        return CachedResponse(reply.at, reply.etag, reply.raw)
    return CachedResponse(reply.at, "", json.dumps({"gone": reply.gone or "an answer that is no repository"}).encode())


def _by_graphql(names: list[str], client: Client, spool: ResponseCache, gather: CrawlRun, tell: Advance) -> None:
    def ask(some: list[str]) -> Reply:
        return client.query(graphql.names_query(len(some)), graphql.names_variables(some))

    def take(some: list[str], reply: Reply) -> list[str]:
        answered = answered_names(some, reply)
        pages = {
            ask_of(name): CachedResponse(reply.at, "", json.dumps(body).encode()) for name, body in answered.items()
        }
        spool.keep(gather, pages)
        tell(len(answered))
        return [name for name in some if name not in answered]

    def give_up(name: str) -> None:
        _by_rest(name, client, spool, gather)
        tell(1)

    ask_all(names, PageSize(FIRST_SIZE), ask, take, give_up, client)


def answered_names(names: list[str], reply: Reply) -> dict[str, dict[str, Any]]:
    """Return what GitHub said of each name, without those that it did not get to."""
    errors = graphql.errors_by_place(reply.data)
    found: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(names):
        node = reply.data["data"].get(f"r{place}")
        refusals = [error for error in errors.get(f"r{place}", ()) if error.type in graphql.REFUSED]
        if isinstance(node, dict):
            found[name] = node
        elif refusals:
            first = refusals[0]
            found[name] = {"gone": "Not Found" if first.is_gone else first.message}
    return found

"""Fetch repositories by name: in batches by GraphQL, one by one by REST without a token."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Reply
from stargaze.features.github.api.graphql import BatchSize, query_in_batches
from stargaze.features.github.api.response_cache import CachedResponse, CrawlSession
from stargaze.features.github.search.search import RepoRef, is_repository, parse_repository
from stargaze.system.progress import Advance

FIRST_SIZE = 100


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
        _by_graphql(missing, session, advance)
    else:
        for name in missing:
            _by_rest(name, session)
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


def _by_rest(name: str, session: CrawlSession) -> None:
    session.get(repository_key(name), f"/repos/{name}", {}, _to_cached)


def _to_cached(reply: Reply) -> CachedResponse:
    if is_repository(reply.data) and not reply.gone:
        return CachedResponse(reply.at, reply.etag, reply.raw)
    return CachedResponse(reply.at, "", json.dumps({"gone": reply.gone or "the response is not a repository"}).encode())


def _by_graphql(names: list[str], session: CrawlSession, advance: Advance) -> None:
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
        _by_rest(name, session)
        advance(1)

    query_in_batches(names, BatchSize(FIRST_SIZE), query, store, give_up, session.client)


def parse_names_reply(names: list[str], reply: Reply) -> dict[str, dict[str, Any]]:
    """Return the response for each name, without names missing in the reply."""
    errors = graphql.errors_by_index(reply.data)
    repositories: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(names):
        node = reply.data["data"].get(f"r{index}")
        refusals = [error for error in errors.get(f"r{index}", ()) if error.type in graphql.REFUSED]
        if isinstance(node, dict):
            repositories[name] = node
        elif refusals:
            first = refusals[0]
            repositories[name] = {"gone": "Not Found" if first.is_gone else first.message}
    return repositories

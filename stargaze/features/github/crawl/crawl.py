"""Gather what ``[github]`` asks for: found, looked at closer, and written, each answer kept as it comes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from stargaze.config import FetchSection, GithubSection
from stargaze.errors import BadDataError, ConfigError, ExternalError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.response_cache import CrawlRun, ResponseCache
from stargaze.features.github.crawl import details
from stargaze.features.github.crawl import write_repositories as table
from stargaze.features.github.crawl.by_name import ask_of, look_up
from stargaze.features.github.crawl.progress import Pace
from stargaze.features.github.crawl.star_history import Histories, gather_history
from stargaze.features.github.crawl.summary import GatherSummary
from stargaze.features.github.search.query import read_search
from stargaze.features.github.search.search import CachedSearch, Progress, RepoRef, find
from stargaze.features.ingest.validate import check_name
from stargaze.store import Store
from stargaze.system.progress import Report

ASIDE = ("graphql", "details", "star_history")
"""Keys that only add to what is found: changing them goes on with the same pages."""
SEARCHED = ("query", "stars", "created", "language", "topic", "organization")
OLD = timedelta(days=1)
"""Age of answers from which on it is told that they are used."""


def is_asked(section: GithubSection) -> bool:
    """Tell whether the section says anything but where: then GitHub is asked, and not the sample.

    Examples
    --------
    >>> is_asked(GithubSection()), is_asked(GithubSection(stars=">=1000"))
    (False, True)
    """
    return dataclasses.replace(section, api_url="") != dataclasses.replace(GithubSection(), api_url="")


def collect(
    section: GithubSection,
    fetching: FetchSection,
    store: Store,
    spool: ResponseCache,
    client: Client,
    now: datetime,
    *,
    token: bool,
    update: bool = False,
    report: Report,
) -> GatherSummary:
    """Gather repositories and write them; stopped at any moment, the same call goes on without asking twice.

    Parameters
    ----------
    section : GithubSection
        What to gather.
    fetching : FetchSection
        ``since`` leaves out older records.
    store : Store
        Where ``repositories.parquet`` is written.
    spool : Spool
        GitHub's answers.
    client : Client
        GitHub.
    now : datetime
        UTC; the time here, which GitHub's own takes the place of where it is later.
    token : bool
        Whether GraphQL can be asked.
    update : bool
        Ask anew what may have changed since all was gathered.
    report : callable
        Told what is done and the share that is done, 0 to 1.

    Raises
    ------
    ConfigError, BadDataError, CredentialsError, ExternalError
        As the client raises them, or where nothing was found; all that was answered is kept.
    """
    check(section, now)
    gather = spool.begin(digest(section), client.theirs, update=update)
    notes = _age(gather, now)
    pace = Pace(client, report)
    graph = token and section.graphql
    learner = details.DetailFetcher(client, spool, graphql.KINDS if graph else (), gather)
    repos, gone, progress = _found(section, client, spool, gather, pace, learner, graph=graph)
    if not repos:
        spool.forget(gather, [ask_of(name) for name in section.names])
        if any(piece.incomplete for piece in progress.short):
            raise ExternalError(
                "GitHub gave up on the search, and showed nothing", hint="try again, or narrow the ranges in [github]"
            )
        raise BadDataError(
            _nothing(gone), hint="check the names" if gone else "widen the query or the ranges in [github]"
        )
    if graph:
        with pace.step("details", len(repos) * len(graphql.KINDS), "answers") as tell:
            learner.learn(repos, tell)
    remarks = details.remarks(repos, spool)
    gone.update((name, why) for name, why in remarks.items() if why != details.TOO_LARGE)
    if section.details:
        with pace.step("closer look", len(repos)) as tell:
            details.look_closer(repos, client, spool, gather, tell)
    history = _history(section, repos, client, spool, gather, store, pace)
    today = max(now, spool.latest(gather))  # the clock here may be behind GitHub's
    summary = table.write({one.id: one for one in repos}, spool, gather, fetching, store, today, report)
    spool.finish(gather)
    tally = client.tally
    return GatherSummary(
        fetch=summary,
        requests=tally.requests,
        refused=tally.refused,
        failed=tally.failed,
        waited=tally.waited,
        slices=progress.slices,
        short=tuple(f"{piece.region.as_text()}: {len(piece.ids):,} of {piece.expected:,}" for piece in progress.short),
        gone=gone,
        too_large=tuple(name for name, why in remarks.items() if why == details.TOO_LARGE),
        history=history,
        notes=(*notes, *tally.notes),
    )


def check(section: GithubSection, now: datetime) -> None:
    """Refuse what cannot be asked for before anything is asked.

    Raises
    ------
    ConfigError, BadDataError
        If a range or a name is none, or names stand beside a search.
    """
    if section.names and any(getattr(section, name).strip() for name in SEARCHED):
        raise ConfigError("github.names and a search exclude each other", hint="keep one of them")
    for name in (*section.names, *(name for name in section.star_history if name != "*")):
        check_name(name)
    read_search(section, now)


def digest(section: GithubSection) -> str:
    """Return what names a gather: the same aim is the same gather, however often it is stopped."""
    aside = {*ASIDE, "seed"} if section.names or section.sampling == "top" else ASIDE
    aim = {name: value for name, value in dataclasses.asdict(section).items() if name not in aside}
    return hashlib.blake2b(json.dumps(aim, sort_keys=True).encode(), digest_size=8).hexdigest()


def _found(
    section: GithubSection,
    client: Client,
    spool: ResponseCache,
    gather: CrawlRun,
    pace: Pace,
    learner: details.DetailFetcher,
    *,
    graph: bool,
) -> tuple[list[RepoRef], dict[str, str], Progress]:
    if section.names:
        with pace.step("repositories", len(section.names)) as tell:
            repos, gone = look_up(section.names, client, spool, gather, graph=graph, tell=tell)
        return repos, gone, Progress()
    search = read_search(section, gather.began)
    finder = CachedSearch(client, spool, gather, search)
    with pace.search(finder, len(graphql.KINDS) if graph else 0) as (progress, learned):
        repos = find(finder, search, section, progress, lambda found: learner.learn(found, learned))
    return repos, {}, progress


def _history(
    section: GithubSection,
    repos: Sequence[RepoRef],
    client: Client,
    spool: ResponseCache,
    gather: CrawlRun,
    store: Store,
    pace: Pace,
) -> Histories | None:
    if not section.star_history:
        return None
    known = [one.full_name for one in repos]
    names = known if "*" in section.star_history else section.star_history
    with pace.step("star history", len(names)) as tell:
        return gather_history(names, set(known), client, spool, gather, store, tell)


def _age(gather: CrawlRun, now: datetime) -> list[str]:
    """Notify how old the answers are that are used again."""
    if now - gather.began < OLD:
        return []
    return [f"answers since {gather.began:%Y-%m-%d} are used again; stargaze fetch --update asks what may have changed"]


def _nothing(gone: Mapping[str, str]) -> str:
    first = next(iter(gone.items()), None)
    return "GitHub has no repository like this" + (f": {first[0]}: {first[1]}" if first else "")

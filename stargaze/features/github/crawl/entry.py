"""The way in to GitHub: connect, then gather, or say beforehand what it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

from stargaze.config import FetchSection, GithubSection
from stargaze.features.github.api import response_cache as spool
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import HttpTransport
from stargaze.features.github.api.transport import Clock, RealClock
from stargaze.features.github.crawl.crawl import check, collect, digest
from stargaze.features.github.crawl.estimate import Plan, plan
from stargaze.features.github.crawl.progress import Pace
from stargaze.features.github.crawl.summary import GatherSummary
from stargaze.store import Store
from stargaze.system.progress import Notify, Report


def gather(
    section: GithubSection,
    fetching: FetchSection,
    store: Store,
    now: datetime,
    *,
    token: str,
    update: bool = False,
    tell: Notify | None = None,
    report: Report,
    clock: Clock | None = None,
) -> GatherSummary:
    """Gather what the section asks for into the store; ``tell`` hears of each request."""
    token = token.strip()
    with _client(section, token, tell, clock) as client, spool.opened(store.spool, section.api_url) as kept:
        return collect(section, fetching, store, kept, client, now, token=bool(token), update=update, report=report)


def foresee(
    section: GithubSection,
    store: Store,
    *,
    token: str,
    update: bool = False,
    tell: Notify | None = None,
    report: Report,
    clock: Clock | None = None,
) -> Plan:
    """Notify what a gather would ask and how long it would take."""
    token = token.strip()
    with _client(section, token, tell, clock) as client:
        check(section, client.now())
        Pace(client, report)  # says every wait
        with spool.opened(store.spool, section.api_url) as kept:
            begun = kept.foresee(digest(section), client.theirs, update=update)
            return plan(section, client, kept, begun, token=bool(token))


@contextlib.contextmanager
def _client(section: GithubSection, token: str, tell: Notify | None, clock: Clock | None) -> Iterator[Client]:
    clock = clock or RealClock()
    with contextlib.closing(HttpTransport(section.api_url, token, clock)) as transport:
        yield Client(transport, clock, tell=tell)

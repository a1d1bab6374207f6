"""Each page asked for once: from the disk what was answered before, else from GitHub, and then onto the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stargaze.features.github.api.client import Client, Reply
from stargaze.features.github.api.response_cache import CachedResponse, CrawlRun, ResponseCache


def page_once(
    ask: str,
    path: str,
    params: Mapping[str, str | int],
    read: Callable[[Reply], CachedResponse],
    client: Client,
    spool: ResponseCache,
    gather: CrawlRun,
    *,
    forgiving: bool = True,
) -> CachedResponse:
    """Return the page that is filed under ``ask``; where it was answered long ago, ask whether that still holds.

    Parameters
    ----------
    ask : str
        What the page is filed under.
    path, params : str, mapping
        The REST question.
    read : callable
        Makes what is kept of a new answer, or refuses it.
    client, spool, gather : Client, ResponseCache, CrawlRun
        GitHub, the disk, and for whom.
    forgiving : bool
        As in :meth:`Client.get`, whose errors are raised.
    """
    page = spool.page(gather, ask)
    if page is None:
        before = spool.page_before(gather, ask)
        reply = client.get(path, params, etag=before.etag if before else "", forgiving=forgiving)
        page = CachedResponse(reply.at, before.etag, before.body) if reply.same and before else read(reply)
        spool.keep(gather, {ask: page})
    return page

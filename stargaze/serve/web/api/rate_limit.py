"""The rate limit of a visitor, by address: every request that submits a prediction job counts, whichever process accepts it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from stargaze.config import ServeSection
from stargaze.errors import StargazeError
from stargaze.serve.prediction_request import PredictionJob, PredictionQueue, PredictionRequest
from stargaze.serve.runtime.settings import session_key
from stargaze.serve.web.api.request_counts import (
    COUNT_ERRORS,
    WINDOW,
    Count,
    OwnCounts,
    RequestCounts,
    open_request_counts,
)
from stargaze.store import Store

POLICY = "predictions"
"""The name of the limit in the headers RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers)."""
PAUSE = 2.0
"""While the counts are unavailable one request tries again after this time; the others do not wait for it [s]."""
IPV6_NETWORK = 64
"""All addresses of such a network belong to one client [bit]."""
log = logging.getLogger(__name__)


class RateLimitedError(StargazeError):
    """A visitor has submitted more requests than ``serve.rate_limit``."""

    code = "rate_limited"
    for_visitors = True


class RateLimiter:
    """Counts the requests of each client; each process for itself while the counts of all are unavailable."""

    def __init__(
        self, limit: int, counts: RequestCounts, key: bytes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._counts, self._key, self._clock = limit, counts, key, clock
        self._own = OwnCounts(clock)
        self._resumes_at = 0.0
        """When the counts are tried again; 0 if they were available."""

    def count(self) -> None:
        """Count the present request, once; above the limit raise RateLimitedError."""
        if "counted" in g:
            return
        g.counted = self._ask(self._counts.count)
        g.own = Count() if g.counted else self._own.count(self._client())
        count = g.counted or g.own
        if count.used > self._limit:
            message = f"too many requests: try again in {_seconds_left(count)} s"
            raise RateLimitedError(message, hint="put several repositories into one request")

    def add_headers(self, response: Response) -> Response:
        """Add the state of the limit to counted requests and all of the API, and Retry-After to rejected ones."""
        if "counted" not in g and not request.path.startswith("/api/"):  # no route matches some refused requests
            return response
        count = g.counted if "counted" in g else self._ask(self._counts.read)
        response.headers["RateLimit-Policy"] = f'"{POLICY}";q={self._limit};w={WINDOW}'
        if count:
            left = max(0, self._limit - count.used)
            response.headers["RateLimit"] = f'"{POLICY}";r={left};t={_seconds_left(count)}'
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            response.headers["Retry-After"] = str(_seconds_left(count or g.get("own", Count())))
        return response

    def _ask(self, action: Callable[[str], Count]) -> Count | None:
        was_available, now = not self._resumes_at, self._clock()
        if now < self._resumes_at:
            return None
        if not was_available:
            self._resumes_at = now + PAUSE
        try:
            count = action(self._client())
        except COUNT_ERRORS as error:
            self._resumes_at = self._clock() + PAUSE
            if was_available:
                log.warning("the rate limit is that of each process until its storage is available: %s", error)
            return None
        self._resumes_at = 0.0
        if not was_available:
            log.warning("requests are counted again")
        return count

    def _client(self) -> str:
        """Return a keyed hash of the client's address: addresses are not stored."""
        return hmac.new(self._key, client_network(request.remote_addr or "").encode(), hashlib.sha256).hexdigest()[:32]


def _seconds_left(count: Count) -> int:
    return max(1, math.ceil(count.ends_in))


class RateLimitedQueue:
    """The prediction queue inside a web request: submitting counts, reading does not."""

    def __init__(self, queue: PredictionQueue, limiter: RateLimiter) -> None:
        self._queue, self._limiter = queue, limiter
        self.find, self.get, self.finished, self.check = queue.find, queue.get, queue.finished, queue.check

    def submit(self, prediction_request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        """Submit a request if the visitor's rate limit allows it."""
        self._limiter.count()
        return self._queue.submit(prediction_request, key=key, request_id=request_id)


def add_rate_limit(
    web: Flask, section: ServeSection, store: Store, queue: PredictionQueue, environ: Mapping[str, str] = os.environ
) -> PredictionQueue:
    """Return the queue whose ``submit`` rejects a visitor who exceeds ``serve.rate_limit``."""
    if count := section.trusted_proxies:
        web.wsgi_app = ProxyFix(web.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    if not section.rate_limit:
        return queue
    limiter = RateLimiter(section.rate_limit, open_request_counts(section, store, environ), session_key(store))
    web.after_request(limiter.add_headers)
    return RateLimitedQueue(queue, limiter)


def client_network(address: str) -> str:
    """Return what identifies a client: its IPv4 address, or the network of its IPv6 address.

    >>> client_network("2001:db8:1:2:3::4"), client_network("::ffff:192.0.2.1"), client_network("192.0.2.1")
    ('2001:db8:1:2::/64', '192.0.2.1', '192.0.2.1')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # what a proxy sent instead of an address
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, IPV6_NETWORK), strict=False))

"""Requests to GitHub while a visitor waits: within a deadline and a rate limit, from a cache where possible."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

from stargaze.errors import StargazeError
from stargaze.features.github.api.client import Client, TooHeavyError
from stargaze.features.github.api.http_transport import NO_RETRY, HttpTransport
from stargaze.features.github.api.limited_http import ResponseLimits
from stargaze.features.github.api.replies import Reply
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.lookup.github_cache import GithubCache, SharedRateLimit
from stargaze.serve.lookup.github_resource import (
    UNKNOWN_LIMITED,
    GithubReply,
    NoWaitClock,
    Resource,
    WaitRequiredError,
    limited_until,
)
from stargaze.serve.lookup.pauses import BACKOFF, BAD_TOKEN, PATIENCE, Pause, Pauses, UnavailableError
from stargaze.store import Store

CONNECT_TIMEOUT, READ_TIMEOUT = 1.5, 6.0
"""Timeouts of one request [s]; a response after the deadline is cached for the next visitor."""
LEAST_TIME = 0.5
"""No request is sent with less time left [s]: GitHub needs about half of it."""
FAIR_TIME = 1.5
"""A request with less time than this [s] may be late because of the deadline: no others are held back."""
GRACE_TIME = 0.2
"""Time after the deadline in which a response is still used [s]."""
MAX_REPLY = 4 * 1024 * 1024
"""Largest response: those about a few repositories have less than 100 kB [byte]."""
PARALLEL = 5
"""Requests at the same time: as many as a visitor may enter names."""
MAX_CONNECTIONS = 2 * PARALLEL
"""Requests that are late do not hold up the next ones."""
UNKNOWN = "unknown names"
"""The limit of replies without a value, beside those of GitHub."""
MAX_CACHED = 4_000
"""Replies in memory, some 2 kB each."""
UNREADABLE = "unreadable: "
"""The beginning of the reason for a reply that contains impossible values."""
MALFORMED = (StargazeError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
T = TypeVar("T")
NO_REPLY = GithubReply()
log = logging.getLogger(__name__)


@dataclass
class _Connection:
    transport: HttpTransport
    client: Client
    limits: ResponseLimits


class GithubRequests:
    """Sends requests, several at a time, and caches the replies; no method waits for a limit or longer than its deadline."""

    def __init__(
        self,
        url: str,
        token: str = "",
        clock: NoWaitClock | None = None,
        cache: GithubCache | None = None,
        limit: SharedRateLimit | None = None,
    ) -> None:
        self._url, self._token = url, token.strip()
        self._clock = clock or NoWaitClock()
        self._shared_cache, self._limit = cache, limit
        self._cache: OrderedDict[str, GithubReply] = OrderedDict()
        self.pauses = Pauses(self._clock.time)
        self._idle: deque[_Connection] = deque()
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._idle.append(self._connect())  # an invalid address or token is an error at once

    @property
    def has_token(self) -> bool:
        """Whether requests are sent with a token, so GraphQL and a high rate limit are available."""
        return bool(self._token)

    def now(self) -> float:
        """Return seconds since 1970."""
        return self._clock.time()

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().transport.close()

    def fetch(self, resources: Sequence[Resource], deadline: float) -> dict[str, GithubReply]:
        """Return a reply for each resource by its key, requested in their order; never raises. ``deadline`` is monotonic [s]."""
        by_key = {resource.key: resource for resource in resources}
        replies = self.cached({key: resource.max_age for key, resource in by_key.items()})
        missing = [resource for key, resource in by_key.items() if key not in replies]
        is_fair = deadline - time.monotonic() >= FAIR_TIME
        results = self.run(
            [partial(self._request, resource, deadline) for resource in missing],
            deadline,
            lambda index, reply: self.keep({missing[index].key: reply}),
        )
        for resource, result in zip(missing, results, strict=True):
            if result is None and is_fair:
                self.pauses.count_fault(resource)
        fetched = {
            resource.key: result or self.earlier(resource.key).paused(self.pauses.late(resource, resource.limit))
            for resource, result in zip(missing, results, strict=True)
        }
        self.keep(fetched)
        return replies | fetched

    def cached(self, max_ages: Mapping[str, float]) -> dict[str, GithubReply]:
        """Return the replies that are not older than allowed [s], by key; those of other processes count."""
        self._load_shared([key for key, max_age in max_ages.items() if not self._is_fresh(key, max_age)])
        return {key: self._cache[key] for key, max_age in max_ages.items() if self._is_fresh(key, max_age)}

    def earlier(self, key: str) -> GithubReply:
        """Return an earlier reply of any age."""
        return self._cache.get(key, NO_REPLY)

    def keep(self, replies: Mapping[str, GithubReply]) -> None:
        """Cache the replies that GitHub has just sent."""
        new = {key: reply for key, reply in replies.items() if not reply.unavailable}
        for key, reply in new.items():
            self._cache_reply(key, reply)
        if self._shared_cache and new:
            self._shared_cache.save({key: asdict(reply) for key, reply in new.items()}, self.now())

    def query(self, kind: str, text: str, variables: Mapping[str, Any], deadline: float) -> Reply:
        """Send a GraphQL query; raise UnavailableError, or TooHeavyError if GitHub gave up."""
        with self._connection(kind, "graphql", deadline) as client:
            reply = client.query(text, variables)
        self.pauses.end_faults(kind)
        return reply

    def run(
        self, tasks: Sequence[Callable[[], T]], deadline: float, late: Callable[[int, T], None] | None = None
    ) -> list[T | None]:
        """Call functions in parallel; the result of one that does not end in time is None, and its thread ends later.

        ``late`` is called with the index and the result of such a function. A name server that does not respond, for example, is
        not covered by any timeout of a request.
        """
        if not tasks:
            return []
        pool = ThreadPoolExecutor(min(len(tasks), PARALLEL), thread_name_prefix="github")
        futures = [pool.submit(task) for task in tasks]
        ended, _ = wait(futures, timeout=max(deadline - time.monotonic(), 0.0) + GRACE_TIME)
        pool.shutdown(wait=False, cancel_futures=True)
        for index, future in enumerate(futures):
            if late and future not in ended:
                future.add_done_callback(partial(_pass_on, late, index))
        return [_result(future) if future in ended else None for future in futures]

    def _request(self, resource: Resource, deadline: float) -> GithubReply:
        before = self._cache.get(resource.key, NO_REPLY)
        try:
            with self._connection(resource.kind, resource.limit, deadline, resource) as client:
                reply = client.get(resource.path, resource.params, etag=before.etag, allow_refusal=True)
            self.pauses.end_faults(resource.kind)
        except UnavailableError as error:
            return before.paused(error.pause)
        if reply.not_modified and before.etag:
            return replace(before, received_at=self.now())
        if resource.is_refused_by_others(reply):
            return before.paused(Pause(BAD_TOKEN, self.now() + BACKOFF))
        try:
            value, gone = (None, reply.gone) if reply.gone else resource.read(reply)
        except MALFORMED as error:
            log.warning("the reply to %s cannot be read: %r", resource.path, error)
            value, gone = None, f"{UNREADABLE}unexpected values"
        if value is None and resource.unknown_limit and self._limit:
            self._limit.take(UNKNOWN, 0, self.now(), resource.unknown_limit)
        return GithubReply(value, gone, received_at=self.now(), etag=reply.etag)

    @contextlib.contextmanager
    def _connection(self, kind: str, limit: str, deadline: float, resource: Resource | None = None) -> Iterator[Client]:
        """Give a client for one request; raise UnavailableError if it must not be sent now, or has failed."""
        if not self._slots.acquire(timeout=max(deadline - LEAST_TIME - time.monotonic(), 0.0)):
            raise UnavailableError(self.pauses.late())
        try:
            self._check_allowed(kind, limit, deadline, resource)
            connection = self._take_connection()
            seconds = deadline - time.monotonic()
            refused = connection.client.stats.refused
            try:
                yield connection.client
            except TooHeavyError:
                if seconds >= FAIR_TIME and time.monotonic() <= deadline + GRACE_TIME:
                    self.pauses.count_fault(kind, PATIENCE)
                raise
            except (StargazeError, WaitRequiredError) as error:
                is_refused = connection.client.stats.refused > refused
                is_late = time.monotonic() > deadline + GRACE_TIME  # then it is counted already
                if is_refused or (seconds >= FAIR_TIME and not is_late):
                    self.pauses.add(resource or kind, limit, connection.client, error, is_refused=is_refused)
                pause = self.pauses.find(resource or kind, limit) or self.pauses.late()
                raise UnavailableError(pause) from error
            finally:
                self._store_limit(connection.client)
                self._idle.append(connection)
        finally:
            self._slots.release()

    def _take_connection(self) -> _Connection:
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return self._connect()

    def _check_allowed(self, kind: str, limit: str, deadline: float, resource: Resource | None) -> None:
        if pause := self.pauses.find(resource or kind, limit):
            raise UnavailableError(pause)
        if time.monotonic() > deadline - LEAST_TIME:
            raise UnavailableError(self.pauses.late())
        if self._limit and resource:
            may_be_unknown = resource.unknown_limit and self.earlier(resource.key).value is None
            if may_be_unknown and (until := self._limit.take(UNKNOWN, 0, self.now(), cost=0)):
                raise UnavailableError(Pause(limited_until(until, UNKNOWN_LIMITED), until))
            until = self._limit.take(limit, resource.reserve, self.now(), resource.default_limit)
            if until:
                raise UnavailableError(Pause(limited_until(until), until))

    def _store_limit(self, client: Client) -> None:
        name, state = client.latest
        if self._limit and state:
            self._limit.update(name, state.remaining, state.until, self.now())

    def _connect(self) -> _Connection:
        limits = ResponseLimits(MAX_REPLY, READ_TIMEOUT)
        timeout = CONNECT_TIMEOUT, READ_TIMEOUT
        transport = HttpTransport(
            self._url, self._token, self._clock, timeout=timeout, reconnect=NO_RETRY, limits=limits
        )
        return _Connection(transport, Client(transport, self._clock), limits)

    def _is_fresh(self, key: str, max_age: float) -> bool:
        return key in self._cache and self.now() - self._cache[key].received_at < max_age

    def _load_shared(self, keys: Sequence[str]) -> None:
        """Copy newer replies of other processes."""
        for key, values in (self._shared_cache.load(keys) if self._shared_cache else {}).items():
            try:
                reply = GithubReply(**values)
            except TypeError:  # written by another version
                continue
            if self.earlier(key).received_at < reply.received_at <= self.now():
                self._cache_reply(key, reply)

    def _cache_reply(self, key: str, reply: GithubReply) -> None:
        with self._lock:
            self._cache[key] = reply
            self._cache.move_to_end(key)
            while len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)


def open_github(
    url: str, token: str, store: Store, clock: Callable[[], float] = time.time, exclusions: Exclusions = NO_EXCLUSIONS
) -> GithubRequests:
    """Return the requests to GitHub at this URL, with the cache and the rate limits that the processes of a store share."""
    server = f"{url} {'with' if token.strip() else 'without'} a token"
    cache = GithubCache(store.github_lookups, server)
    cache.delete(exclusions)
    # GitHub does not count a response without changes if it was requested with a token.
    limit = SharedRateLimit(store.github_lookups, server, counts_unchanged=not token.strip())
    return GithubRequests(url, token, NoWaitClock(clock), cache, limit)


def _result(future: Future[T]) -> T | None:
    """Return the result of a call, None if it failed because a reply is malformed."""
    try:
        return future.result()
    except MALFORMED as error:
        log.warning("a reply of GitHub cannot be read: %r", error)
        return None


def _pass_on(late: Callable[[int, T], None], index: int, future: Future[T]) -> None:
    """Pass on the result of a call that ended late."""
    if not future.cancelled() and (result := _result(future)) is not None:
        late(index, result)

"""Requests to GitHub while a visitor waits: within a deadline and a rate limit, from a cache where possible."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

from stargaze.errors import CredentialsError, StargazeError
from stargaze.features.github.api.client import Client, Reply, TooHeavyError
from stargaze.features.github.api.http_transport import NO_RETRY, HttpTransport
from stargaze.features.github.api.limited_http import ResponseLimits
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.lookup.github_cache import GithubCache, SharedRateLimit
from stargaze.serve.lookup.github_resource import GithubReply, NoWaitClock, Resource, WaitRequiredError, limited_until
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
BACKOFF = 60.0
"""No request of a kind is sent for this long after a fault, because every visitor would wait for the next one [s]."""
PARALLEL = 5
"""Requests at the same time: as many as a visitor may enter names."""
QUERY = "query"
"""The kind of the queries by name, without which there is no record."""
PATIENCE = 3
"""Faults in a row after which no contributors, histories or counts are requested: one may be due to a large repository."""
MAX_CONNECTIONS = 2 * PARALLEL
"""Requests that are late do not hold up the next ones."""
MAX_CACHED = 4_000
"""Replies in memory, some 2 kB each."""
LATE = "GitHub did not respond in time"
UNREACHABLE = "GitHub cannot be reached at the moment"
UNREADABLE = "unreadable: "
"""The beginning of the reason for a reply that contains impossible values."""
BAD_TOKEN = "GitHub refuses this server's requests"  # noqa: S105 # no password
MALFORMED = (StargazeError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
T = TypeVar("T")
log = logging.getLogger(__name__)


class UnavailableError(Exception):
    """GitHub did not answer; the message is the reason for the visitor."""


NO_REPLY = GithubReply()


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
        self._pauses: dict[str, tuple[float, str]] = {}
        self._faults: Counter[str] = Counter()
        """Faults of each kind since the last response."""
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
                self.count_fault(resource)
        fetched = {
            resource.key: result or self._unavailable(resource.key, LATE)
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
        self._faults[kind] = 0
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
            self._faults[resource.kind] = 0
        except UnavailableError as error:
            return replace(before, unavailable=str(error))
        if reply.not_modified and before.etag:
            return replace(before, received_at=self.now())
        if resource.is_refused_by_others(reply):
            return replace(before, unavailable=BAD_TOKEN)
        try:
            value, gone = (None, reply.gone) if reply.gone else resource.read(reply)
        except MALFORMED as error:
            log.warning("the reply to %s cannot be read: %r", resource.path, error)
            value, gone = None, f"{UNREADABLE}unexpected values"
        return GithubReply(value, gone, received_at=self.now(), etag=reply.etag)

    @contextlib.contextmanager
    def _connection(self, kind: str, limit: str, deadline: float, resource: Resource | None = None) -> Iterator[Client]:
        """Give a client for one request; raise UnavailableError if it must not be sent now, or has failed."""
        if not self._slots.acquire(timeout=max(deadline - LEAST_TIME - time.monotonic(), 0.0)):
            raise UnavailableError(LATE)
        try:
            self._check_allowed(kind, limit, deadline, resource)
            connection = self._take_connection()
            seconds = deadline - time.monotonic()
            refused = connection.client.stats.refused
            try:
                yield connection.client
            except TooHeavyError:
                if seconds >= FAIR_TIME and time.monotonic() <= deadline + GRACE_TIME:
                    self.count_fault(kind, PATIENCE)
                raise
            except (StargazeError, WaitRequiredError) as error:
                is_refused = connection.client.stats.refused > refused
                is_late = time.monotonic() > deadline + GRACE_TIME  # then it is counted already
                if is_refused or (seconds >= FAIR_TIME and not is_late):
                    self._pause(resource or kind, limit, connection.client, error, is_refused=is_refused)
                raise UnavailableError(self.pause_reason(resource or kind, limit) or LATE) from error
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
        if reason := self.pause_reason(resource or kind, limit):
            raise UnavailableError(reason)
        if time.monotonic() > deadline - LEAST_TIME:
            raise UnavailableError(LATE)
        if self._limit and resource:
            until = self._limit.take(limit, resource.reserve, self.now(), resource.default_limit)
            if until:
                raise UnavailableError(limited_until(until))

    def _pause(
        self, resource: Resource | str, limit: str, client: Client, error: Exception, *, is_refused: bool
    ) -> None:
        """Send no request of this kind for a while, or none that a rate limit counts, and store the reason.

        If the kind has patience, only this resource is not requested: it may be too much for GitHub alone.
        """
        now = self.now()
        kind, key, patience = _kind_of(resource)
        states = [state for name, state in client.limits.items() if name == limit]
        is_limited = is_refused or any(state.remaining <= 0 and state.until > now for state in states)
        seconds = error.seconds if isinstance(error, WaitRequiredError) else 0.0
        until = now + (max(seconds, BACKOFF) if is_limited else BACKOFF)
        with self._lock:  # requests fail at the same time
            self._pauses = {name: pause for name, pause in self._pauses.items() if pause[0] > now}
            if is_limited:
                self._pauses[limit] = until, limited_until(until)
            elif isinstance(error, CredentialsError):
                self._pauses[""] = until, BAD_TOKEN
            else:
                self._add_fault(kind, key, patience, until)
        log.warning("no requests to GitHub for a while (%s): %s", kind, error)

    def count_fault(self, resource: Resource | str, patience: int = 0) -> None:
        """Count a request to which GitHub did not respond in time; ``resource`` may be the kind of a query."""
        kind, key, usual = _kind_of(resource)
        with self._lock:
            self._add_fault(kind, key, patience or usual, self.now() + BACKOFF)

    def _add_fault(self, kind: str, key: str, patience: int, until: float) -> None:
        self._faults[kind] += 1
        self._pauses[kind if self._faults[kind] >= patience else key] = until, UNREACHABLE

    def pause_reason(self, resource: Resource | str, limit: str) -> str:
        """Return why no such request is sent at present; empty if it may be sent."""
        now = self.now()
        names = (resource,) if isinstance(resource, str) else (resource.kind, resource.key)
        pauses = [self._pauses.get(name, (0.0, "")) for name in (*names, limit, "")]
        return next((reason for until, reason in pauses if until > now), "")

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

    def _unavailable(self, key: str, reason: str) -> GithubReply:
        return replace(self.earlier(key), unavailable=reason)

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
    url: str,
    token: str,
    store: Store,
    clock: Callable[[], float] = time.time,
    exclusions: Exclusions = NO_EXCLUSIONS,
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


def _kind_of(resource: Resource | str) -> tuple[str, str, int]:
    """Return kind, key and patience of a resource, or of a kind of queries: one repository may be too large to be counted."""
    if isinstance(resource, Resource):
        return resource.kind, resource.key, resource.patience
    return resource, f"one {resource}", 1 if resource == QUERY else PATIENCE

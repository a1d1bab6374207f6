"""Adaptive batch size of GraphQL queries: half after a timeout, larger after quick responses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from stargaze.errors import ExternalError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import RESUME_HINT, Client, Reply, TooHeavyError
from stargaze.features.github.api.rate_limit import FIRST_RETRY, backoff

MAX_TRIES_ALONE = 3
"""Tries of a single item while GitHub works; some repositories have too many commits to count in ten seconds."""
MAX_TRIES_DOWN = 9
"""Consecutive failures while GitHub is down, over a quarter of an hour, before the command stops."""

T = TypeVar("T")


@dataclass
class BatchSize:
    """The adaptive number of items per query."""

    current: int
    maximum: int = 100
    quick: float = 4.5
    """Seconds; GitHub gives up after ten, and the same query may take twice as long."""
    slow: float = 7.0

    def halve(self, count: int) -> None:
        """Halve the size after a missing or incomplete response."""
        self.current = max(min(self.current, count) // 2, 1)

    def adjust(self, duration: float, count: int) -> None:
        """Grow after a quick response to a full batch, shrink a little after a slow one."""
        if duration > self.slow:
            self.current = max(int(self.current * 0.8), 1)
        elif duration < self.quick and count >= self.current:
            self.current = min(self.current + max(self.current // 4, 1), self.maximum)


def query_in_batches(
    items: Iterable[T],
    size: BatchSize,
    query: Callable[[list[T]], Reply],
    store: Callable[[list[T], Reply], list[T]],
    give_up: Callable[[T], None],
    client: Client,
) -> None:
    """Query all items; ``store`` saves a reply and returns the items missing in it, ``give_up`` gets each failing item.

    Raises
    ------
    ExternalError
        If GitHub does not respond for long.
    """
    queue, check = deque(items), _FailureCheck(client)
    while queue:
        batch = [queue.popleft() for _ in range(min(size.current, len(queue)))]
        reason = "the response is incomplete"
        try:
            reply = query(batch)
            remaining = store(batch, reply)
        except TooHeavyError as error:
            remaining, reason = batch, str(error)
        if len(remaining) < len(batch):
            check = _FailureCheck(client)
        if not remaining:
            size.adjust(reply.duration, len(batch))
            continue
        size.halve(len(batch))
        if len(batch) == 1 and check.is_hopeless(reason):
            check = _FailureCheck(client)
            give_up(batch[0])
        else:
            queue.extendleft(reversed(remaining))


@dataclass
class _FailureCheck:
    """Distinguishes an item that is too heavy from GitHub being down, by a small query after each failure."""

    client: Client
    tries: int = 0
    tries_down: int = 0

    def is_hopeless(self, reason: str) -> bool:
        """Return whether to give the item up; if not, wait before the retry."""
        if _is_github_up(self.client):
            self.tries += 1
            if self.tries < MAX_TRIES_ALONE:
                self.client.wait_before_retry(reason, FIRST_RETRY)
            return self.tries >= MAX_TRIES_ALONE
        self.tries, self.tries_down = 0, self.tries_down + 1
        if self.tries_down > MAX_TRIES_DOWN:
            raise ExternalError(f"GitHub's GraphQL does not respond: {reason}", hint=RESUME_HINT)
        self.client.wait_before_retry(reason, backoff(self.tries_down - 1))
        return False


def _is_github_up(client: Client) -> bool:
    """Return whether GitHub answers a small query."""
    try:
        reply = client.query(graphql.ALIVE_QUERY, {})
    except TooHeavyError:
        return False
    return graphql.is_alive(reply.data)

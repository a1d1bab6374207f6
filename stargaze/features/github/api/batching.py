"""Ask GraphQL about many repositories, as many at once as it can answer: half after a time-out, more when it is quick."""

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
"""Tries for one alone, each with GitHub well: some repositories have more commits than it counts in ten seconds."""
MAX_TRIES_DOWN = 9
"""Failures in a row with GitHub unwell, over a quarter of an hour, after which the same command may go on later."""

T = TypeVar("T")


@dataclass
class BatchSize:
    """How many are asked about at once."""

    current: int
    maximum: int = 100
    quick: float = 4.5
    """Seconds. GitHub gives up at ten, and what is slow by chance may take twice as long."""
    slow: float = 7.0

    def halve(self, count: int) -> None:
        """Ask for half of what was asked: the answer did not come, or not whole."""
        self.current = max(min(self.current, count) // 2, 1)

    def adjust(self, duration: float, count: int) -> None:
        """Grow after a quick answer to a full page, shrink a little after a slow one."""
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
    """Ask about all; ``take`` keeps an answer and returns those that it lacks, ``give_up`` hears of each hopeless one.

    Raises
    ------
    ExternalError
        If nothing is answered for long.
    """
    queue, check = deque(items), _FailureCheck(client)
    while queue:
        batch = [queue.popleft() for _ in range(min(size.current, len(queue)))]
        reason = "parts of the answer missing"
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
    """Whether one that fails alone is too heavy, or GitHub is down: it is asked to count a small one after each try."""

    client: Client
    tries: int = 0
    tries_down: int = 0

    def is_hopeless(self, reason: str) -> bool:
        """Tell whether the one is hopeless; if not, rest before it is tried again."""
        if _is_github_up(self.client):
            self.tries += 1
            if self.tries < MAX_TRIES_ALONE:
                self.client.wait_before_retry(reason, FIRST_RETRY)
            return self.tries >= MAX_TRIES_ALONE
        self.tries, self.tries_down = 0, self.tries_down + 1
        if self.tries_down > MAX_TRIES_DOWN:
            raise ExternalError(f"GitHub's GraphQL does not answer: {reason}", hint=RESUME_HINT)
        self.client.wait_before_retry(reason, backoff(self.tries_down - 1))
        return False


def _is_github_up(client: Client) -> bool:
    """Tell whether GitHub counts anything at the moment."""
    try:
        reply = client.query(graphql.ALIVE_QUERY, {})
    except TooHeavyError:
        return False
    return graphql.is_alive(reply.data)

"""Ask GraphQL about many repositories, as many at once as it can answer: half after a time-out, more when it is quick."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from stargaze.errors import ExternalError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import KEPT, Client, Reply, TooHeavyError
from stargaze.features.github.api.rate_limit import FIRST_RETRY, backoff

GIVE_UP = 3
"""Tries for one alone, each with GitHub well: some repositories have more commits than it counts in ten seconds."""
PATIENCE = 9
"""Failures in a row with GitHub unwell, over a quarter of an hour, after which the same command may go on later."""

T = TypeVar("T")


@dataclass
class PageSize:
    """How many are asked about at once."""

    now: int
    most: int = 100
    quick: float = 4.5
    """Seconds. GitHub gives up at ten, and what is slow by chance may take twice as long."""
    slow: float = 7.0

    def halve(self, asked: int) -> None:
        """Ask for half of what was asked: the answer did not come, or not whole."""
        self.now = max(min(self.now, asked) // 2, 1)

    def after(self, took: float, asked: int) -> None:
        """Grow after a quick answer to a full page, shrink a little after a slow one."""
        if took > self.slow:
            self.now = max(int(self.now * 0.8), 1)
        elif took < self.quick and asked >= self.now:
            self.now = min(self.now + max(self.now // 4, 1), self.most)


def ask_all(
    todo: Iterable[T],
    size: PageSize,
    ask: Callable[[list[T]], Reply],
    take: Callable[[list[T], Reply], list[T]],
    give_up: Callable[[T], None],
    client: Client,
) -> None:
    """Ask about all; ``take`` keeps an answer and returns those that it lacks, ``give_up`` hears of each hopeless one.

    Raises
    ------
    ExternalError
        If nothing is answered for long.
    """
    queue, doubt = deque(todo), _Doubt(client)
    while queue:
        some = [queue.popleft() for _ in range(min(size.now, len(queue)))]
        why = "parts of the answer missing"
        try:
            reply = ask(some)
            left = take(some, reply)
        except TooHeavyError as error:
            left, why = some, str(error)
        if len(left) < len(some):
            doubt = _Doubt(client)
        if not left:
            size.after(reply.took, len(some))
            continue
        size.halve(len(some))
        if len(some) == 1 and doubt.is_settled(why):
            doubt = _Doubt(client)
            give_up(some[0])
        else:
            queue.extendleft(reversed(left))


@dataclass
class _Doubt:
    """Whether one that fails alone is too heavy, or GitHub is down: it is asked to count a small one after each try."""

    client: Client
    tries: int = 0
    silence: int = 0

    def is_settled(self, why: str) -> bool:
        """Tell whether the one is hopeless; if not, rest before it is tried again."""
        if _counts(self.client):
            self.tries += 1
            if self.tries < GIVE_UP:
                self.client.rest(why, FIRST_RETRY)
            return self.tries >= GIVE_UP
        self.tries, self.silence = 0, self.silence + 1
        if self.silence > PATIENCE:
            raise ExternalError(f"GitHub's GraphQL does not answer: {why}", hint=KEPT)
        self.client.rest(why, backoff(self.silence - 1))
        return False


def _counts(client: Client) -> bool:
    """Tell whether GitHub counts anything at the moment."""
    try:
        reply = client.query(graphql.ALIVE, {})
    except TooHeavyError:
        return False
    return graphql.is_alive(reply.data)

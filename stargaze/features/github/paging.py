"""Ask GraphQL about many repositories, as many at once as it can answer: half after a time-out, more when it is quick."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from stargaze.errors import OutsideError
from stargaze.features.github.client import KEPT, Client, Reply, TooHeavyError
from stargaze.features.github.manners import backoff

GIVE_UP = 4
"""Tries for one alone: some repositories have more commits than GitHub counts in ten seconds."""
PATIENCE = 9
"""Failures of single ones in a row, over a quarter of an hour, after which it is GitHub that fails and not they."""

T = TypeVar("T", bound=Hashable)


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
    client: Client,
) -> list[T]:
    """Ask about all; ``take`` keeps an answer and returns those that it lacks. Return those that got none in the end.

    Raises
    ------
    OutsideError
        If nothing is answered for long.
    """
    queue, tries, silence, hopeless = deque(todo), Counter[T](), 0, list[T]()
    while queue:
        some = [queue.popleft() for _ in range(min(size.now, len(queue)))]
        why = "parts of the answer missing"
        try:
            reply = ask(some)
            left = take(some, reply)
        except TooHeavyError as error:
            left, why = some, str(error)
        if len(left) < len(some):
            silence = 0
        if not left:
            size.after(reply.took, len(some))
            continue
        size.halve(len(some))
        if len(some) > 1:
            queue.extendleft(reversed(left))
            continue
        tries[left[0]] += 1
        (hopeless if tries[left[0]] >= GIVE_UP else queue).append(left[0])
        silence += 1
        if silence > PATIENCE:
            raise OutsideError(f"GitHub's GraphQL does not answer: {why}", hint=KEPT)
        client.rest(why, backoff(silence - 1))
    return hopeless

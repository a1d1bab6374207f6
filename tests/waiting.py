"""Wait for conditions that other processes bring about."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

PAUSE = 0.02
NOT_BLOCKED = 60.0
"""Many times what a call takes on a busy machine if it does not wait for a peer without a limit [s]."""


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return the value of the condition as soon as it is true; fail after the timeout."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"not within {seconds:g} s"
        time.sleep(PAUSE)
    return value


@contextlib.contextmanager
def not_blocked(seconds: float = NOT_BLOCKED) -> Iterator[None]:
    """Fail if the block has waited for a peer that does not respond. Speed is measured in benchmarks, not here."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds

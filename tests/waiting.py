"""Wait for conditions that other processes bring about."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PAUSE = 0.02
"""Shortest time between two checks [s]."""
LONGEST_PAUSE = 1.0
"""Longest time between two checks [s]."""
NOT_BLOCKED = 60.0
"""Many times what a call takes on a busy machine if it does not wait for a peer without a limit [s]."""


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return the value of the condition as soon as it is true; fail after the timeout.

    At most half of the time is used by the condition, which may start programs, so that what it waits for has a core.
    """
    began = time.monotonic()
    limit = began + seconds
    while not (value := condition()):
        now = time.monotonic()
        assert now < limit, f"not within {seconds:g} s"
        time.sleep(max(PAUSE, min(now - began, LONGEST_PAUSE)))
        began = time.monotonic()
    return value


@contextlib.contextmanager
def not_blocked(seconds: float = NOT_BLOCKED) -> Iterator[None]:
    """Fail if the block has waited for a peer that does not respond. Speed is measured in benchmarks, not here."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@contextlib.contextmanager
def acting_when(condition: Callable[[], Any], action: Callable[[], Any]) -> Iterator[None]:
    """Call the action in another thread as soon as the condition is true; the end of the block waits for it."""

    def act() -> None:
        wait_for(condition)
        action()

    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()


def is_alive(pid: int) -> bool:
    """Return whether a process runs. One that nobody has waited for has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run_in_new_process(function: Callable[..., None], *arguments: Any) -> None:
    """Run a function of a module in a new process, which has no threads and so may fork.

    The process of the tests has threads. A process that is forked from it could wait for ever for a lock that one of them held.
    """
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0

"""Wait for conditions that other processes bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.02


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return the value of the condition as soon as it is true; fail after the timeout."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"not within {seconds:g} s"
        time.sleep(PAUSE)
    return value

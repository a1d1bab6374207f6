"""Waiting for what other processes bring about: as soon as it holds, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.02


def wait_for(claim: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return what is claimed as soon as it holds."""
    limit = time.monotonic() + seconds
    while not (found := claim()):
        assert time.monotonic() < limit
        time.sleep(PAUSE)
    return found

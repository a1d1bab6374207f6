"""Callback types: how a long step reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, float], None]
"""Called with the current activity and the completed fraction, 0 to 1."""
Advance = Callable[[int], None]
"""Called with the number of items that were finished since the last call."""
Notify = Callable[[str], None]
"""Called with one line for the user."""
SetRow = Callable[[str, str, str], None]
"""Called with the name of a row of a live table, its state (running, done, failed) and a text."""
WAITING = "waiting for a core"
"""The activity of a step that waits until a core of the cluster is free."""

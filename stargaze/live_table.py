"""A table that changes while it is looked at: one line a machine or a resource; off a terminal, a line for each change."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {"failed": "bold red", "done": "green", "begun": "yellow"}


class Board:
    """Rows by name; each has a state and words. Threads may write at the same time."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._rows: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self.quiet = False

    def say(self, name: str, state: str, words: str = "") -> None:
        """Set a row; off a terminal, print it once it has ended."""
        with self._lock:
            self._rows[name] = (state, words)
            if self.quiet and state != "begun":
                print(f"{self._title}: {name}: {state} {words}".rstrip(), file=sys.stderr, flush=True)

    def __rich__(self) -> Table:
        """Draw it as it is now; the newest rows where not all find room."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        with self._lock:
            rows = list(self._rows.items())
        for name, (state, words) in rows[-_height() :]:
            table.add_row(
                Text(name), Text(state, STYLES.get(state, "")), Text(words, overflow="ellipsis", no_wrap=True)
            )
        return table


@contextlib.contextmanager
def board(title: str) -> Iterator[Board]:
    """Show a board while a block runs."""
    shown = Board(title)
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        shown.quiet = True
        yield shown
        return
    from rich.console import Console
    from rich.live import Live

    with Live(shown, console=Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR"))), refresh_per_second=5):
        yield shown


def _height() -> int:
    return max(5, os.get_terminal_size(sys.stderr.fileno()).lines - 3)

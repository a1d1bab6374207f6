"""The output of the commands: answers to stdout, everything else to stderr; color and live tables only on a terminal."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargaze.errors import StargazeError
from stargaze.system.progress import Report
from stargaze.system.text import replace_unprintable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

EVENTS = "STARGAZE_EVENTS"
"""Environment variable: a file to which progress, answer and error are appended, one JSON object per line, for the program that
started this one. Not stdout or stderr: Ray and others write there too, and in the middle of a line."""
QUIET_INTERVAL = 5.0
"""Minimum time between two lines of progress without a terminal [s]."""
MAX_LINE = 500
"""Maximum length of a line of an error [characters]; a quoted text may have any length."""
STYLES = {"failed": "bold red", "done": "green", "running": "yellow"}
"""Styles of the states in a live table."""


@dataclass(frozen=True)
class CommandResult:
    """The result of a command, as JSON and as text."""

    value: Any
    text: str = ""


@dataclass(frozen=True)
class Output:
    """The output of a command; ``as_json`` makes the answer machine-readable."""

    as_json: bool = False

    def answer(self, value: Mapping[str, Any] | Sequence[Mapping[str, Any]], text: str = "") -> None:
        """Print the answer as JSON or as text."""
        _send_event({"result": _plain(value), "text": text})
        print(_json(value) if self.as_json else text, flush=True)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str = "") -> None:
        """Print rows as the answer."""
        if self.as_json:
            self.answer(rows)
            return
        _send_event({"result": _plain(rows), "text": ""})
        if not rows:
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
        for name in columns:
            table.add_column(name, justify="right" if _is_number(rows, name) else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(row.get(name))) for name in columns))
        _console(stderr=False).print(table)

    def text(self, line: str) -> None:
        """Print a line of the answer that is left out of JSON."""
        if not self.as_json:
            print(line, flush=True)

    def lines(self, text: str) -> None:
        """Print lines of an answer that is printed while it is computed; with ``as_json`` they are JSON lines."""
        print(text, end="" if text.endswith("\n") or not text else "\n", flush=True)

    def note(self, line: str) -> None:
        """Print a line on stderr."""
        print(line, file=sys.stderr, flush=True)

    def error(self, error: StargazeError) -> None:
        """Print the message and, below it, the hint."""
        if EVENTS in os.environ:
            _send_event({"error": error.message, "hint": error.hint, "code": error.exit_code})
            return
        from rich.text import Text

        console = _console(stderr=True)
        console.print(Text.assemble(("error:", "bold red"), f" {_printable(error.message)}"), soft_wrap=True)
        if error.hint:
            console.print(Text.assemble(("hint:", "bold"), f"  {_printable(error.hint)}"), soft_wrap=True)

    @contextlib.contextmanager
    def progress(self, name: str) -> Iterator[Report]:
        """Show the progress of a long step: a bar on a terminal, a line every few seconds elsewhere."""
        if EVENTS in os.environ:
            yield lambda activity, fraction: _send_event({"activity": activity, "fraction": fraction})
        elif _is_terminal():
            with _bar(name) as report:
                yield report
        else:
            yield _lines(name)


class LiveTable:
    """Rows by name, each with a state and a text; safe for threads."""

    def __init__(self, title: str, *, is_live: bool) -> None:
        self._title = title
        self._is_live = is_live
        self._rows: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def set_row(self, name: str, state: str, text: str = "") -> None:
        """Set a row; without a terminal, print it once it has ended."""
        with self._lock:
            self._rows[name] = (state, text)
            if not self._is_live and state != "running":
                print(f"{self._title}: {name}: {state} {text}".rstrip(), file=sys.stderr, flush=True)

    def __rich__(self) -> Table:
        """Return the current table, with the newest rows if not all fit on the screen."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        with self._lock:
            rows = list(self._rows.items())
        for name, (state, text) in rows[-_max_rows() :]:
            shortened = Text(text, overflow="ellipsis", no_wrap=True)
            table.add_row(Text(name), Text(state, STYLES.get(state, "")), shortened)
        return table


@contextlib.contextmanager
def live_table(title: str) -> Iterator[LiveTable]:
    """Show a live table while the block runs."""
    table = LiveTable(title, is_live=_is_terminal())
    if not _is_terminal():
        yield table
        return
    from rich.live import Live

    with Live(table, console=_console(stderr=True), refresh_per_second=5):
        yield table


def _max_rows() -> int:
    return max(5, os.get_terminal_size(sys.stderr.fileno()).lines - 3)


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _send_event(value: Mapping[str, Any]) -> None:
    """Append an event if the program that started this one reads events."""
    if EVENTS in os.environ:
        with Path(os.environ[EVENTS]).open("ab", buffering=0) as stream:
            stream.write(json.dumps(value, default=str).encode() + b"\n")  # in one call: the starter adds lines too


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Report]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class ProgressWithActivity(Progress):
        """A bar, and the activity below it, which may be longer than the rest of the line."""

        def get_renderables(self) -> Iterator[RenderableType]:
            for task in self.tasks:
                yield self.make_tasks_table([task])
                yield Text(task.description)

    columns = (TextColumn("[bold]{task.fields[name]}"), BarColumn(), TimeElapsedColumn())
    with ProgressWithActivity(*columns, console=_console(stderr=True)) as progress:
        task = progress.add_task("", total=1.0, name=name)
        yield lambda activity, fraction: progress.update(task, description=activity, completed=fraction)
        progress.update(task, completed=1.0)


def _lines(name: str) -> Report:
    last = -QUIET_INTERVAL

    def report(activity: str, fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last >= QUIET_INTERVAL or fraction >= 1.0:
            last = time.monotonic()
            print(f"{name}: {fraction:4.0%} {activity}", file=sys.stderr, flush=True)

    return report


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 160
    return Console(stderr=stderr, no_color=plain, highlight=False, width=width)


def _json(value: Any) -> str:
    """Return strict JSON: no NaN, and numbers of numpy as numbers."""
    return json.dumps(_plain(value), indent=1, default=str, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy, which is not imported here
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _printable(text: str) -> str:
    """Return the text without control characters and with shortened lines."""
    lines = [replace_unprintable(line) for line in text.strip().split("\n")]
    return "\n".join(line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 100]} … {line[-90:]}" for line in lines)


def _is_number(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(isinstance(row.get(name), (int, float)) for row in rows)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)

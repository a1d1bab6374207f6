"""What the commands print: answers to stdout, everything else to stderr; colour and motion only on a terminal."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
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

EVENTS = "STARGAZE_EVENTS"
"""In the environment: a file to which progress, answer and error are added, one JSON a line, for the program that started this
one. Not stdout or stderr: Ray and others write there too, and in the middle of a line."""
QUIET_INTERVAL = 5.0
"""Off a terminal, at most one line of progress in this many seconds."""
MAX_LINE = 500
"""Characters of one line of an error; what a message quotes may be of any length."""


@dataclass(frozen=True)
class Output:
    """Where a command's words go; ``as_json`` makes the answer machine-readable."""

    as_json: bool = False

    def answer(self, value: Mapping[str, Any] | Sequence[Mapping[str, Any]], text: str = "") -> None:
        """Print the answer: JSON if asked for, else the text."""
        if EVENTS in os.environ:
            _event({"result": _plain(value), "text": text})
        print(_json(value) if self.as_json else text, flush=True)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str = "") -> None:
        """Print rows as the answer."""
        if EVENTS in os.environ:
            _event({"result": _plain(list(rows)), "text": ""})
        if self.as_json:
            print(_json(list(rows)), flush=True)
            return
        if not rows:
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
        for name in columns:
            table.add_column(name, justify="right" if _is_number(rows, name) else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(_shown(row.get(name))) for name in columns))
        _console(stderr=False).print(table)

    def text(self, line: str) -> None:
        """Print a line of the answer that JSON readers do not need."""
        if not self.as_json:
            print(line, flush=True)

    def note(self, line: str) -> None:
        """Print a note on stderr, beside the answer."""
        print(line, file=sys.stderr, flush=True)

    def error(self, error: StargazeError) -> None:
        """Print what is wrong and, last, what to type."""
        if EVENTS in os.environ:
            _event({"error": error.message, "hint": error.hint, "code": error.exit_code})
            return
        from rich.text import Text

        console = _console(stderr=True)
        console.print(Text.assemble(("error:", "bold red"), f" {_printable(error.message)}"), soft_wrap=True)
        if error.hint:
            console.print(Text.assemble(("hint:", "bold"), f"  {_printable(error.hint)}"), soft_wrap=True)

    @contextlib.contextmanager
    def progress(self, name: str) -> Iterator[Report]:
        """Show how far a long step is: a bar on a terminal, a line now and then elsewhere."""
        if EVENTS in os.environ:
            yield lambda what, done: _event({"activity": what, "fraction": done})
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            with _bar(name) as report:
                yield report
        else:
            yield _lines(name)


def _event(value: Mapping[str, Any]) -> None:
    with Path(os.environ[EVENTS]).open("ab", buffering=0) as stream:
        stream.write(json.dumps(value, default=str).encode() + b"\n")  # in one call: the starter adds lines too


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Report]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Described(Progress):
        """A bar, and below it what is being done: that may be longer than what is left of the line."""

        def get_renderables(self) -> Iterator[RenderableType]:
            for task in self.tasks:
                yield self.make_tasks_table([task])
                yield Text(task.description)

    columns = (TextColumn("[bold]{task.fields[name]}"), BarColumn(), TimeElapsedColumn())
    with Described(*columns, console=_console(stderr=True)) as progress:
        task = progress.add_task("", total=1.0, name=name)
        yield lambda what, done: progress.update(task, description=what, completed=done)
        progress.update(task, completed=1.0)


def _lines(name: str) -> Report:
    last = -QUIET_INTERVAL

    def report(what: str, done: float) -> None:
        nonlocal last
        if time.monotonic() - last >= QUIET_INTERVAL or done >= 1.0:
            last = time.monotonic()
            print(f"{name}: {done:4.0%} {what}", file=sys.stderr, flush=True)

    return report


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 160
    return Console(stderr=stderr, no_color=plain, highlight=False, width=width)


def _json(value: Any) -> str:
    """Write JSON that every program reads: no NaN, and numbers of numpy as numbers."""
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


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)

"""Answers go to stdout and the rest to stderr; color and live tables only on a terminal; JSON is strict."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from stargaze.errors import ExternalError, StargazeError, UsageError
from stargaze.output import MAX_LINE, LiveTable, Output, live_table

ROWS = [{"name": "a/b", "stars": 1234.5, "rho": float("nan"), "note": None}, {"name": "c/d", "stars": 0.12345678}]


class Terminal(io.StringIO):
    """A stream that reports that it is a terminal."""

    def isatty(self) -> bool:
        return True


def strict(text: str) -> Any:
    """Parse JSON; fail on NaN and infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


# ---- answers ------------------------------------------------------------------------------------------------------


def test_answers_go_to_stdout_and_notes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Output().answer({"x": 1}, "one")
    Output().note("next: two")

    assert capsys.readouterr() == ("one\n", "next: two\n")


def test_json_output_leaves_out_text_lines(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=True)
    out.text("picture: x.svg")
    out.answer({"x": 1}, "one")

    assert strict(capsys.readouterr().out) == {"x": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float64("nan"), None),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([1.0, np.nan]), [1.0, None]),
        ((1, 2), [1, 2]),
        ({"a": {"b": [float("nan")]}}, {"a": {"b": [None]}}),
        (Path("a/b"), "a/b"),
        (datetime(2025, 6, 1, tzinfo=UTC), "2025-06-01 00:00:00+00:00"),
        ("☆ \udcff", "☆ \udcff"),
        (None, None),
        (True, True),
    ],
)
def test_json_is_strict_and_converts_numpy_values(
    capsys: pytest.CaptureFixture[str], value: object, expected: object
) -> None:
    """NaN is not JSON, and a NumPy number must not become text."""
    Output(as_json=True).answer({"x": value})
    Output(as_json=True).table([{"x": value}], ["x"])

    answer, table = capsys.readouterr().out.split("\n[\n")
    assert strict(answer) == {"x": expected}
    assert strict("[" + table) == [{"x": expected}]


def test_a_table_shows_its_columns_and_empty_cells_for_missing_values(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(ROWS, ["name", "stars", "rho", "note"], "Title")

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["Title"], ["name", "stars", "rho", "note"], ["a/b", "1,234"], ["c/d", "0.1235"]]


def test_an_empty_table_is_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).table([], ["a"])

    assert strict(capsys.readouterr().out) == []


def test_a_table_does_not_interpret_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table([{"note": "[bold]x[/] :star: [/"}], ["note"])

    assert "[bold]x[/] :star: [/" in capsys.readouterr().out


# ---- errors -------------------------------------------------------------------------------------------------------


def test_an_error_prints_message_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error(UsageError("tuning.trails is not a key", hint="Did you mean tuning.trials?"))

    assert capsys.readouterr() == ("", "error: tuning.trails is not a key\nhint:  Did you mean tuning.trials?\n")


def test_an_error_without_a_hint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error(StargazeError("gone"))

    assert capsys.readouterr().err == "error: gone\n"


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "[", "a\\", ":star: :x:", "fetch[1]: [a-z]*", "100 %s {x}"])
def test_an_error_does_not_interpret_markup(capsys: pytest.CaptureFixture[str], text: str) -> None:
    Output().error(UsageError(text, hint=text))

    assert capsys.readouterr().err == f"error: {text}\nhint:  {text}\n"


@pytest.mark.parametrize("char", ["\x1b", "\x07", "\r", "\x08", "\x9b", "\x7f", "\u202e", "\udcff", "\0"])
def test_control_characters_in_an_error_are_replaced(capsys: pytest.CaptureFixture[str], char: str) -> None:
    """A file name or a line of another program's log may contain any character."""
    Output().error(UsageError(f"a{char}[2Jb"))

    assert capsys.readouterr().err == "error: a\N{REPLACEMENT CHARACTER}[2Jb\n"


def test_long_lines_of_an_error_are_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error(UsageError("died\n" + "x" * 10_000 + "the end", hint="y" * 10_000))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(len(line) <= MAX_LINE + 10 for line in lines)
    assert lines[1].endswith("the end")


# ---- color and progress -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_color_can_be_disabled(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, value)

    Output().error(UsageError("x"))

    assert "\x1b[31m" not in terminal.getvalue()
    assert "\x1b[1;31m" not in terminal.getvalue()


def test_a_terminal_shows_color_and_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    Output().error(UsageError("x"))
    with Output().progress("fetch") as report:
        report("reading [x] :star:", 0.5)

    assert "\x1b[1;31m" in terminal.getvalue()
    assert "reading [x] :star:" in terminal.getvalue()
    assert "━" in terminal.getvalue()


def test_without_a_terminal_progress_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """The first and the last line are always printed; lines in between are limited to one per interval."""
    with Output().progress("fetch") as report:
        report("reading a", 0.0)
        report("reading b", 0.3)
        report("done", 1.0)

    assert capsys.readouterr() == ("", "fetch:   0% reading a\nfetch: 100% done\n")


def test_progress_answers_and_errors_are_written_as_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARGAZE_EVENTS", str(tmp_path / "events"))
    out = Output()

    with out.progress("tune") as report:
        report("trial 1 of 2", 0.5)
    out.answer({"trials": np.int64(2)}, "two\ntrials")
    out.table([{"a": float("nan")}], ["a"])
    out.error(ExternalError("the disk is full", hint="df -h"))

    assert [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()] == [
        {"activity": "trial 1 of 2", "fraction": 0.5},
        {"result": {"trials": 2}, "text": "two\ntrials"},
        {"result": [{"a": None}], "text": ""},
        {"error": "the disk is full", "hint": "df -h", "code": 5},
    ]


def test_a_live_table_without_a_terminal_prints_a_line_for_each_end(capsys: pytest.CaptureFixture[str]) -> None:
    with live_table("infra up") as table:
        table.set_row("create network n", "running")
        table.set_row("create network n", "done", "0.1 s")
        table.set_row("create port p", "failed", "no quota")

    assert capsys.readouterr().err.splitlines() == [
        "infra up: create network n: done 0.1 s",
        "infra up: create port p: failed no quota",
    ]


def test_a_live_table_keeps_the_newest_rows_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stargaze.output._max_rows", lambda: 5)
    table = LiveTable("infra up", is_live=True)
    for number in range(30):
        table.set_row(f"row {number}", "running" if number == 29 else "done", "x" * 300)

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)

    lines = console.export_text().splitlines()
    assert [re.findall(r"row (\d+)", line)[0] for line in lines] == ["25", "26", "27", "28", "29"]
    assert max(map(len, lines)) <= 80

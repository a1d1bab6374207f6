"""A board: off a terminal a line for each end, on one a table that stays within the screen."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from stargaze import live_table as boards
from stargaze.live_table import Board, board


def test_off_a_terminal_each_end_is_a_line_and_a_beginning_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with board("infra up") as shown:
        shown.say("create network n", "begun")
        shown.say("create network n", "done", "0.1 s")
        shown.say("create port p", "failed", "no quota")

    assert capsys.readouterr().err.splitlines() == [
        "infra up: create network n: done 0.1 s",
        "infra up: create port p: failed no quota",
    ]


def test_on_a_terminal_the_newest_rows_stay_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "_height", lambda: 5)
    shown = Board("infra up")
    for number in range(30):
        shown.say(f"row {number}", "begun" if number == 29 else "done", "x" * 300)

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(shown)

    lines = console.export_text().splitlines()
    assert [re.findall(r"row (\d+)", line)[0] for line in lines] == ["25", "26", "27", "28", "29"]
    assert max(map(len, lines)) <= 80

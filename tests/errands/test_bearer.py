"""The process that Ray runs: what the command tells becomes events, and how it ended the last of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from stargaze.errands.bearer import environment, event
from tests.waiting import wait_for


def test_the_command_sees_no_config_but_its_own() -> None:
    found = environment({"STARGAZE_TUNING_TRIALS": "9", "RAY_ADDRESS": "a:1"}, {"GITHUB_TOKEN": "t"})

    assert found == {
        "RAY_ADDRESS": "a:1",
        "GITHUB_TOKEN": "t",
        "XDG_CONFIG_HOME": str(Path.cwd()),
        "STARGAZE_EVENTS": "json",
    }


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"what": "a", "done": 0.5}\n', {"what": "a", "done": 0.5}),
        (b"next: stargaze deploy\n", {"said": "next: stargaze deploy"}),
        (b"12\n", {"said": "12"}),
        (b"\xff\n", {"said": "\ufffd"}),
    ],
)
def test_every_line_is_an_event(line: bytes, told: dict[str, Any]) -> None:
    assert json.loads(event(line)) == told
    assert event(line).isascii()


def bear(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start it as Ray does, and hand it its secrets as the desk does."""
    (folder / "job.json").write_text(json.dumps({"words": words}))
    (folder / "stargaze.toml").write_text('[store]\npath = "store"\n')
    os.mkfifo(folder / "secrets")
    process = subprocess.Popen([sys.executable, "-I", "-m", "stargaze.errands.bearer", str(folder)])
    threading.Thread(target=(folder / "secrets").write_text, args=("{}",), daemon=True).start()
    return process


@pytest.mark.real
def test_a_command_that_ends_well_leaves_answer_and_events(tmp_path: Path) -> None:
    code = bear(tmp_path, "fetch").wait(60)

    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (code, events[-1]) == (0, {"ended": 0})
    assert json.loads((tmp_path / "answer.json").read_text())["repositories"] == 13_777
    assert [one["text"] for one in events if "text" in one] == ["13,777 repositories from 13,777 records"]
    assert any("what" in one for one in events)


@pytest.mark.real
def test_an_error_is_an_event_with_its_hint_and_code(tmp_path: Path) -> None:
    assert bear(tmp_path, "tune").wait(60) == 3

    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert events[-2:] == [
        {"error": "store/features.json is not there yet", "hint": "stargaze select-features", "code": 3},
        {"ended": 3},
    ]


@pytest.mark.real
def test_a_command_that_is_told_to_end_says_that_it_did(tmp_path: Path) -> None:
    """Ray sends SIGTERM to both, and forgets them."""
    os.mkfifo(tmp_path / "endless.json")  # nobody writes: it is read for ever
    process = bear(tmp_path, "fetch", "endless.json")
    wait_for((tmp_path / "events.jsonl").exists)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    child = int(wait_for(lambda: children.read_text().split())[0])
    wait_for(lambda: "reading" in (tmp_path / "events.jsonl").read_text())
    for pid in (process.pid, child):
        os.kill(pid, signal.SIGTERM)

    assert process.wait(60) == 143
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1]) == {"ended": 143}

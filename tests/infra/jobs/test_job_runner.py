"""The process that Ray runs: the output of the command becomes events, the last one with its exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stargaze.infra.jobs.job_runner import KEPT_LINES, MAX_LINE, MAX_OUTPUT, job_environment, limit_output, output_event
from tests.waiting import wait_for


def test_the_environment_contains_no_config_of_the_head_node() -> None:
    environ = {"STARGAZE_TUNING_TRIALS": "9", "RAY_ADDRESS": "a:1", "OMP_NUM_THREADS": "1"}

    environment = job_environment(environ, {"GITHUB_TOKEN": "t"})

    here = Path.cwd()
    assert environment == {
        "RAY_ADDRESS": "a:1",
        "GITHUB_TOKEN": "t",
        "HOME": str(here),
        "XDG_CONFIG_HOME": str(here),
        "STARGAZE_EVENTS": str(here / "events.jsonl"),
    }


@pytest.mark.parametrize(
    ("line", "output"),
    [
        (b'{"exit_code": 0}\n', '{"exit_code": 0}'),
        (b"next: stargaze deploy\n", "next: stargaze deploy"),
        (b"\xff\n", "\ufffd"),
        (b"x" * 10_000, "x" * MAX_LINE),
    ],
)
def test_each_printed_line_is_an_output_event(line: bytes, output: str) -> None:
    assert json.loads(output_event(line)) == {"output": output}
    assert output_event(line).isascii()
    assert output_event(line).endswith(b"\n")


def test_of_endless_output_the_beginning_and_the_last_lines_are_recorded() -> None:
    """100 MB would have to be sent to the client, which shows one line of it."""
    many = b"".join(b"%06d\n" % number for number in range(100_000))

    lines = list(limit_output(io.BytesIO(many + b"x" * 1_000_000 + b"\nthe end\n")))

    assert (lines[0], lines[-2:]) == (b"000000\n", [b"x" * MAX_LINE, b"the end\n"])
    assert sum(map(len, lines)) < MAX_OUTPUT + KEPT_LINES * MAX_LINE


def start_runner(folder: Path, *argv: str) -> subprocess.Popen[bytes]:
    """Start it as Ray does, and write its secrets as the job server does."""
    (folder / "job.json").write_text(json.dumps({"argv": argv}))
    (folder / "stargaze.toml").write_text('[store]\npath = "store"\n')
    os.mkfifo(folder / "secrets")
    process = subprocess.Popen([sys.executable, "-I", "-m", "stargaze.infra.jobs.job_runner", str(folder)])
    threading.Thread(target=(folder / "secrets").write_text, args=("{}",), daemon=True).start()
    return process


@pytest.mark.real
def test_the_result_of_a_successful_command_is_an_event(tmp_path: Path) -> None:
    code = start_runner(tmp_path, "fetch", "--sample", "electron").wait(60)

    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (code, events[-1]) == (0, {"exit_code": 0, "stopped": False})
    answers = [event for event in events if "result" in event]
    assert [event["result"]["repositories"] for event in answers] == [13_777]
    assert [event["text"] for event in answers] == ["13,777 repositories from 13,777 records"]
    assert any("activity" in event for event in events)


@pytest.mark.real
def test_an_error_is_an_event_with_its_hint_and_code(tmp_path: Path) -> None:
    assert start_runner(tmp_path, "tune").wait(60) == 3

    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    error = {"error": "store/features.json does not exist yet", "hint": "stargaze select-features", "code": 3}
    assert error in events
    assert events[-1] == {"exit_code": 3, "stopped": False}


@pytest.mark.real
def test_a_terminated_command_records_its_exit_code(tmp_path: Path) -> None:
    """Ray sends SIGTERM to both processes and does not record the exit code."""
    os.mkfifo(tmp_path / "endless.json")  # nothing is written: reading never ends
    process = start_runner(tmp_path, "fetch", "endless.json")
    wait_for((tmp_path / "events.jsonl").exists)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    child = int(wait_for(lambda: children.read_text().split())[0])
    wait_for(lambda: "reading" in (tmp_path / "events.jsonl").read_text())
    for pid in (process.pid, child):
        os.kill(pid, signal.SIGTERM)

    assert process.wait(60) == 143
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1]) == {"exit_code": 143, "stopped": True}

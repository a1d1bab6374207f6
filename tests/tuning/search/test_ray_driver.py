"""The trials in a process of their own; the whole tuning is tested in tests/job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import ExternalError, MissingInputError
from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.search import ray_driver
from stargaze.tuning.search.ray_driver import LIMITS, search_with_ray
from stargaze.tuning.search.search_spec import SearchSpec

pytestmark = pytest.mark.thorough

SEARCH = SearchSpec(["ridge"], 0, 2, 0.0, 1)


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Run a script in place of the driver's module."""

    def replace(code: str) -> None:
        script = tmp_path / "driver.py"
        script.write_text(code)
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
        python.chmod(0o755)
        monkeypatch.setattr(ray_driver, "sys", type("Sys", (), {"executable": str(python)}))

    return replace


def test_each_event_is_handled_as_it_arrives(arrays: Arrays, drive: Callable[[str], None]) -> None:
    drive('print(\'{"lookahead": 8}\'); print(\'{"finished": {"number": 0}}\')')
    events = list[dict[str, Any]]()

    search_with_ray(arrays, SEARCH, events.append)

    assert events == [{"lookahead": 8}, {"finished": {"number": 0}}]


def test_an_error_of_the_driver_is_raised_with_its_class(arrays: Arrays, drive: Callable[[str], None]) -> None:
    drive('print(\'{"error": "no", "hint": "stargaze tune", "code": 3}\')')

    with pytest.raises(MissingInputError, match="no"):
        search_with_ray(arrays, SEARCH, lambda _event: None)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.kill(os.getpid(), 6)", r"Ray failed: killed by signal 6 \(SIGABRT\)"),
        ("import os; os.write(1, b'{'); os.kill(os.getpid(), 9)", r"Ray failed: killed by signal 9 \(SIGKILL\)"),
        ("import sys; sys.exit('no memory')", "Ray failed: exit code 1: no memory"),
    ],
)
def test_a_crash_of_the_driver_is_one_line(
    arrays: Arrays, drive: Callable[[str], None], code: str, message: str
) -> None:
    drive(code)

    with pytest.raises(ExternalError, match=message) as raised:
        search_with_ray(arrays, SEARCH, lambda _event: None)

    assert "--resume" in raised.value.hint


def test_an_exception_of_the_handler_ends_the_driver(arrays: Arrays, drive: Callable[[str], None]) -> None:
    """For example a full disk under the journal, or a signal."""
    drive("import os, time; print('{\"finished\": ' + str(os.getpid()) + '}', flush=True); time.sleep(300)")
    pids = list[int]()

    def fail(event: dict[str, Any]) -> None:
        pids.append(event["finished"])
        raise SystemExit(128 + signal.SIGTERM)

    with pytest.raises(SystemExit):
        search_with_ray(arrays, SEARCH, fail)

    assert not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.parametrize("number", LIMITS)
def test_a_limit_of_the_machine_is_named(arrays: Arrays, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(
        ray_driver, "subprocess", type("Fake", (subprocess.Popen,), {"DEVNULL": -3, "PIPE": -1, "Popen": fail})
    )

    with pytest.raises(ExternalError, match="Ray failed") as raised:
        search_with_ray(arrays, SEARCH, lambda _event: None)

    assert raised.value.hint == LIMITS[number]

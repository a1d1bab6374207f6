"""The order in which `make test` and `.ci/run` start their suites."""

from __future__ import annotations

import importlib.util
import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.waiting import is_alive, wait_for

ROOT = Path(__file__).parent.parent


def load_script() -> Any:
    """Import the script, which is not in a package."""
    spec = importlib.util.spec_from_file_location("run_suites", ROOT / "tools" / "run_suites.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its data classes look themselves up
    spec.loader.exec_module(module)
    return module


run_suites = load_script()


def next_suites(*names: str, running: tuple[str, ...] = (), codes: dict[str, int] | None = None) -> list[str]:
    """Return the suites that start now, while some are running and others have ended with an exit code."""
    runs = [run_suites.Run(name, log=io.BytesIO(), code=(codes or {}).get(name)) for name in names]
    for run in runs:
        if run.suite in running or run.code is not None:
            run.process = SimpleNamespace()
    return [run.suite for run in run_suites.startable(runs)]


def test_suites_start_beside_others_up_to_the_limit_and_none_before_an_earlier_one() -> None:
    names, done = ("install", "tests", "hosts-and-swarm", "openstack", "docker", "job"), {"install": 0}

    assert next_suites(*names, codes=done) == ["tests"]
    assert next_suites(*names, running=("tests",), codes=done) == []
    assert next_suites(*names, codes={**done, "tests": 0}) == ["hosts-and-swarm", "openstack"]
    ended = {**done, "tests": 0, "openstack": 1}
    assert next_suites(*names, running=("hosts-and-swarm",), codes=ended) == ["docker"]
    assert next_suites(*names, running=("hosts-and-swarm", "docker"), codes=ended) == []


def test_suites_wait_for_what_they_depend_on_and_do_not_start_if_it_failed() -> None:
    assert next_suites("install", "debian", "lint") == ["install", "debian"]
    assert next_suites("install", "lint", running=("install",)) == []
    assert next_suites("install", "lint", codes={"install": 2}) == []


@pytest.mark.real
def test_a_suite_that_hangs_is_stopped_with_its_processes_and_its_output_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also a child that ignores two of the signals and outlives the program that started it."""
    program, pid = tmp_path / "make", tmp_path / "pid"
    program.write_text(
        f"""#!/bin/sh
(trap '' INT ABRT; echo waiting; sh -c 'echo $PPID' >{pid}; while :; do sleep 0.1; done) &
wait
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("MAKE", str(program))
    monkeypatch.setattr(run_suites, "SIGNALS", [(number, 0.3) for number, _seconds in run_suites.SIGNALS])
    monkeypatch.setitem(run_suites.LIMITS, "install", 5.0)

    assert run_suites.main(["install", "lint"]) == 1

    output = capfd.readouterr().out
    assert "install: stopped, because it exceeds the time limit" in output
    assert "FAILED with exit code 124; its output:\nwaiting\n" in output
    assert "lint" in output.partition("result")[2]
    assert "lint: started" not in output
    wait_for(lambda: not is_alive(int(pid.read_text())))


def test_every_suite_is_a_target_of_the_makefile() -> None:
    makefile, script = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text().replace("\\\n", "")
    lists = re.findall(r"run_suites\.py (.+)", makefile) + re.findall(r"run_suites\.py (.+)", script)

    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    assert len(lists) == 3
    assert {name for line in lists for name in line.split()} | set(run_suites.NEEDS) <= targets

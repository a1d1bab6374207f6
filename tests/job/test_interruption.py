"""A tuning that is stopped by a signal, resumed, killed and resumed again."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from tests.job.project import LOOPBACK, TIMEOUT, Project, listen_addresses, wait

pytestmark = pytest.mark.job


@dataclass(frozen=True)
class Interrupted:
    """A tuning that was ended by a signal: its finished trials, exit code and output."""

    project: Project
    trials: list[dict[str, Any]]
    code: int
    stderr: str
    addresses: set[str]


def interrupt(project: Project, number: signal.Signals, trials: int, *argv: str) -> Interrupted:
    """Start a long tuning and send it a signal as soon as `trials` trials have finished."""
    with project.started("tune", "--trials", "500", "--max-concurrent", "1", *argv) as process:
        wait(lambda: len(project.trials()) >= trials, process)
        addresses = listen_addresses(project.processes())
        process.send_signal(number)
        _, stderr = process.communicate(timeout=TIMEOUT)
        wait(lambda: not (project.computing_processes() if number == signal.SIGKILL else project.processes()))
    return Interrupted(project, project.trials(), process.returncode, stderr, addresses)


@pytest.fixture(scope="module")
def stopped_tuning(quick_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Press Ctrl-C after two trials, and wait until every process of the run has ended, including Ray."""
    return interrupt(quick_project.copy(tmp_path_factory.mktemp("stopped")), signal.SIGINT, 2)


@pytest.fixture(scope="module")
def killed_tuning(stopped_tuning: Interrupted, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Resume the stopped tuning, kill it two trials later, and wait until no process computes."""
    project = stopped_tuning.project.copy(tmp_path_factory.mktemp("killed"))
    return interrupt(project, signal.SIGKILL, len(stopped_tuning.trials) + 2, "--resume")


def test_ray_listens_on_loopback_only(stopped_tuning: Interrupted) -> None:
    """Any program that reaches a port of Ray can run code on this machine (CVE-2023-48022)."""
    assert stopped_tuning.addresses
    assert stopped_tuning.addresses <= LOOPBACK


def test_ctrl_c_exits_with_130_and_keeps_finished_trials(stopped_tuning: Interrupted) -> None:
    assert stopped_tuning.code == 130
    assert len(stopped_tuning.trials) >= 2
    assert "interrupted" in stopped_tuning.stderr


def test_ctrl_c_prints_no_traceback_and_no_warning_of_ray(stopped_tuning: Interrupted) -> None:
    assert "Traceback" not in stopped_tuning.stderr
    assert "ERROR" not in stopped_tuning.stderr
    assert "Warning" not in stopped_tuning.stderr


def test_a_stopped_tuning_does_not_change_the_served_bundle(
    quick_project: Project, stopped_tuning: Interrupted
) -> None:
    assert stopped_tuning.project.released == quick_project.released


def test_a_resumed_tuning_continues_after_the_last_trial_of_the_journal(
    stopped_tuning: Interrupted, killed_tuning: Interrupted
) -> None:
    assert killed_tuning.code == -signal.SIGKILL
    assert killed_tuning.trials[: len(stopped_tuning.trials)] == stopped_tuning.trials
    assert len(killed_tuning.trials) >= len(stopped_tuning.trials) + 2


def test_no_finished_trial_is_repeated_after_a_kill(killed_tuning: Interrupted) -> None:
    """The journal holds four or more trials; one more is run, and each is in the table once."""
    project, number = killed_tuning.project, len(killed_tuning.trials) + 1

    tuned = project.run_json("tune", "--trials", str(number), "--resume")

    table = pd.read_parquet(project.store / "trials.parquet")
    configurations = list(zip(table["family"], table["parameters"], strict=True))
    before = [(trial["family"], json.dumps(trial["parameters"], sort_keys=True)) for trial in killed_tuning.trials]
    assert tuned["trials"] == len(configurations) == len(set(configurations)) == number
    assert set(before) <= set(configurations)
    assert not (project.store / "trials.jsonl").exists()

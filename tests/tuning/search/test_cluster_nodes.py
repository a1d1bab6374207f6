"""Nodes with other software are recognized, and a wait for a core is reported to the program that started the job."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from stargaze.output import EVENTS
from stargaze.system.progress import WAITING
from stargaze.tuning.search.cluster_nodes import OutdatedNodeError, check_software, describe_software, report_wait
from stargaze.tuning.search.ray_job import RAY_JOB_VARIABLE


@pytest.mark.parametrize("part", ["stargaze ", "Python ", "Ray "])
def test_a_node_with_another_version_is_refused(part: str) -> None:
    check_software(describe_software())

    with pytest.raises(
        OutdatedNodeError, match="another version of stargaze, Python or Ray is installed on "
    ) as raised:
        check_software(describe_software().replace(part, f"{part}9"))

    sent: OutdatedNodeError = pickle.loads(pickle.dumps(raised.value))  # as Ray sends it to the driver
    assert (sent.message, sent.hint) == (raised.value.message, raised.value.hint)
    assert sent.hint.startswith("stargaze infra configure --tags ray")


def test_only_a_job_of_a_cluster_reports_that_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS, str(events))
    report_wait()
    assert not events.exists()

    monkeypatch.setenv(RAY_JOB_VARIABLE, "{}")
    report_wait()

    assert json.loads(events.read_text()) == {"activity": WAITING, "fraction": 0.0}

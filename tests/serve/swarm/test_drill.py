"""The drill's sheet: which promise held, and why one did not; and where blows would fall, which they do on a real Swarm only."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.serve.swarm import drill
from stargaze.serve.swarm.docker import NodeInfo, Swarm, SwarmState
from stargaze.serve.swarm.drill import FAULTS, DrillContext, evaluate_fault, select_faults
from stargaze.serve.swarm.production import Survey
from stargaze.store import Store
from tests.serve.swarm.fake_swarm import FakeSwarm, machine
from tests.waiting import wait_for

WELL = {"sent": 500, "accepted": 500, "answered": 500, "job_failed": 0, "refused": 0, "failed": 0, "lost": 0}
WELL |= {"slowest": 1.0, "reasons": {}}


@pytest.mark.parametrize(
    ("fault", "counts", "why", "held"),
    [
        ("worker", {}, "", True),
        ("worker", {"lost": 1, "reasons": {"lost: nobody knows it": 1}}, "", False),
        ("web", {"failed": 2, "reasons": {"failed: 0": 2}}, "", False),
        ("web", {"refused": 2}, "", False),
        ("broker", {"refused": 40, "reasons": {"refused: 503": 40}}, "", True),
        ("broker", {"refused": 40, "lost": 1}, "", False),
        ("worker", {"answered": 1, "job_failed": 499, "reasons": {"job_failed: took too long": 499}}, "", False),
        ("broker", {"refused": 40, "job_failed": 1}, "", False),
        ("node", {}, "web: 1 of 2 run", False),
        ("node", {"answered": 0, "accepted": 0}, "", False),
    ],
)
def test_a_promise_held_if_all_was_answered_nobody_met_an_error_and_all_is_well(
    fault: str, counts: dict[str, Any], why: str, held: bool
) -> None:
    sheet = evaluate_fault(FAULTS[fault], {**WELL, **counts}, 9.0, why)

    assert sheet.passed is held
    assert why in sheet.reason
    assert bool(sheet.reason) == (not held and counts.get("answered") != 0)
    assert sheet.as_row()["state"] == ("passed" if held else "FAILED")


def test_faults_are_chosen_by_name_and_all_where_none_is_named() -> None:
    assert [one.name for one in select_faults("")] == list(FAULTS)
    assert [one.name for one in select_faults(" broker, worker")] == ["broker", "worker"]
    with pytest.raises(UsageError, match="brokre: no such fault") as caught:
        select_faults("brokre")
    assert caught.value.hint == "Did you mean broker?"


# ---- blows ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What machines are told by ssh; the second alone has containers."""
    lines: list[str] = []

    def ssh(program: str, *words: str, **_: Any) -> subprocess.CompletedProcess[bytes]:
        lines.append(
            f"{words[-2].rpartition('@')[2]}: {words[-1].removeprefix('sudo -n ').replace(drill._KILL_SCRIPT, '')}"
        )
        found = b"c1" if lines[-1].startswith("10.20.0.22") else b""
        return subprocess.CompletedProcess(program, 0, found, b"")

    monkeypatch.setattr("stargaze.system.ssh.run_program", ssh)
    monkeypatch.setattr(drill, "ENGINE_DOWNTIME", 0.0)
    return lines


def context(store: Store, *managers: bool) -> DrillContext:
    """Return machines, each a manager or not."""
    small = FakeSwarm(machines=tuple(machine(number) for number, _ in enumerate(managers, 1)))
    surveyed = [
        NodeInfo(one, one.name, one.name, manages, frozenset(), "", "", ())
        for one, manages in zip(small.machines, managers, strict=True)
    ]
    survey = Survey(surveyed, {}, Swarm(small.machines[0]), SwarmState([], [], []))
    return DrillContext(DeploySection(), store, small.target(), survey, [])


@pytest.mark.parametrize("name", ["worker", "web", "broker"])
def test_one_container_is_killed_wherever_there_is_one(told: list[str], store: Store, name: str) -> None:
    FAULTS[name].inject(context(store, True, False, False))

    assert told == [f"10.20.0.{number}: sh -c '' sh {name}" for number in (21, 22)]


def test_what_runs_nowhere_cannot_be_killed(told: list[str], store: Store) -> None:
    with pytest.raises(ExternalError, match="worker: no running container"):
        FAULTS["worker"].inject(context(store, True))


@pytest.mark.parametrize(
    ("managers", "address"),
    [
        ((True, False), "10.20.0.22"),
        ((True, False, False), "10.20.0.23"),
        ((True, True, True), "10.20.0.23"),
        ((True, True, True, False), "10.20.0.24"),
    ],
)
def test_only_a_machine_that_the_others_do_not_need_to_agree_is_stopped(
    told: list[str], store: Store, managers: tuple[bool, ...], address: str
) -> None:
    FAULTS["node"].inject(context(store, *managers))

    assert told == [f"{address}: systemctl {verb} docker.socket docker.service" for verb in ("stop", "start")]


@pytest.mark.parametrize("managers", [(True,), (True, True)])
def test_a_cluster_without_a_machine_to_spare_keeps_all(
    told: list[str], store: Store, managers: tuple[bool, ...]
) -> None:
    with pytest.raises(ExternalError, match="no machine that it can lose"):
        FAULTS["node"].inject(context(store, *managers))

    assert told == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo waiting for web; echo error: web is ill; echo hint: stargaze logs web; exit 5", "web is ill"),
        ("exit 7", "exit code 7"),
    ],
)
def test_a_deploy_that_fails_after_the_one_that_was_cut_says_why(
    store: Store, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    monkeypatch.setattr(drill, "KILL_DELAY", 0.0)
    monkeypatch.setattr(drill, "_released_digest", lambda _store: "a" * 64)
    command = ["sh", "-c", f"exec >&2; {script}"]

    with pytest.raises(ExternalError) as caught:
        FAULTS["deploy"].inject(dataclasses.replace(context(store, True), deploy_argv=command))

    assert caught.value.message == f"the deploy after the killed one failed: {why}"


def test_a_deploy_that_heals_the_one_that_was_cut_is_no_failure(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes other services of the same release, and would go on for a minute; the second is as the config says."""
    monkeypatch.setattr(drill, "_released_digest", lambda _store: "a" * 64)
    say = f'echo "$0" "$STARGAZE_DEPLOY_WEB_MEMORY" >>{tmp_path}/typed'
    command = ["sh", "-c", f'{say}; test "$(wc -l <{tmp_path}/typed)" = 2 || exec sleep 60']
    monkeypatch.setattr(drill, "time", SimpleNamespace(sleep=lambda _: wait_for((tmp_path / "typed").exists)))

    FAULTS["deploy"].inject(dataclasses.replace(context(store, True), deploy_argv=command))

    assert (tmp_path / "typed").read_text().splitlines() == ["aaaaaaaaaaaa 0.98", "aaaaaaaaaaaa "]


def test_an_engine_that_was_stopped_is_started_also_after_ctrl_c(
    told: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drill, "time", SimpleNamespace(sleep=pressed))

    with pytest.raises(KeyboardInterrupt):
        FAULTS["node"].inject(context(store, True, False))

    assert told[-1] == "10.20.0.22: systemctl start docker.socket docker.service"


def test_a_swarm_that_is_not_well_before_is_not_hurt(
    told: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ill(*_: Any) -> None:
        raise ExternalError("web: 1 of 2 run")

    monkeypatch.setattr(drill, "await_services", ill)

    with pytest.raises(ExternalError, match="web: 1 of 2 run"):
        drill.run_drill(context(store, True), ["10.20.0.21:80"], list(FAULTS.values()), 1.0, lambda _: None)

    assert told == []


def test_without_a_release_of_this_store_nobody_knows_what_to_ask(
    told: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "await_services", lambda *_: None)

    with pytest.raises(MissingInputError, match="this store has no release"):
        drill.run_drill(context(store, True), ["10.20.0.21:80"], list(FAULTS.values()), 1.0, lambda _: None)

    assert told == []


def test_visitors_that_never_end_are_ended_and_cost_no_other_sheet(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    program = tmp_path / "visitors"
    program.write_text(f"#!/bin/sh\necho $$ >>{here}\nexec sleep 600\n")
    program.chmod(0o755)
    for name, value in {
        "WARM_UP": 0.0,
        "RESPONSE_TIMEOUT": 0.1,
        "sys": SimpleNamespace(executable=str(program)),
    }.items():
        monkeypatch.setattr(drill, name, value)
    monkeypatch.setattr(drill, "await_services", lambda *_: None)
    monkeypatch.setattr(drill, "_repository_names", lambda _store: ["a/b"])

    def strike(times: int) -> Callable[[DrillContext], None]:
        def struck(_context: DrillContext) -> None:
            wait_for(lambda: here.exists() and here.read_text().count("\n") == times)
            raise ExternalError("worker: no running container")

        return struck

    blows = [dataclasses.replace(FAULTS["worker"], inject=strike(times)) for times in (1, 2)]
    sheets = drill.run_drill(context(store, True), ["10.20.0.21:80"], blows, 1.0, lambda _: None)

    why = "worker: no running container; responses are missing after 0.1 s"
    assert [(sheet.as_row()["state"], sheet.reason) for sheet in sheets] == [("FAILED", why)] * 2
    assert not any(Path(f"/proc/{number}").exists() for number in here.read_text().split())

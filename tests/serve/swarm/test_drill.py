"""The results of a drill and where faults are injected; real faults are injected in the integration tests."""

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
from stargaze.serve.release.record import Release
from stargaze.serve.swarm import drill
from stargaze.serve.swarm.docker import NodeInfo, Swarm, SwarmState
from stargaze.serve.swarm.drill import FAULTS, DrillContext, evaluate_fault, select_faults
from stargaze.serve.swarm.production import Survey
from stargaze.store import Store
from tests.serve.swarm.fake_swarm import FakeSwarm, machine
from tests.waiting import wait_for

OK_COUNTS = {"sent": 500, "accepted": 500, "answered": 500, "job_failed": 0, "refused": 0, "failed": 0, "lost": 0}
OK_COUNTS |= {"slowest": 1.0, "reasons": {}}

RELEASE = Release("", "a" * 64, "deploy", "a tester", "2026-03-01T12:00:00+00:00", None, {}, growth_digest="b" * 64)


@pytest.mark.parametrize(
    ("fault", "counts", "why", "expected"),
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
def test_an_expectation_holds_if_no_request_failed_and_all_services_recovered(
    fault: str, counts: dict[str, Any], why: str, expected: bool
) -> None:
    result = evaluate_fault(FAULTS[fault], {**OK_COUNTS, **counts}, 9.0, why)

    assert result.passed is expected
    assert why in result.reason
    assert bool(result.reason) == (not expected and counts.get("answered") != 0)
    assert result.as_row()["state"] == ("passed" if expected else "FAILED")


def test_faults_are_selected_by_name_and_all_by_default() -> None:
    assert [fault.name for fault in select_faults("")] == list(FAULTS)
    assert [fault.name for fault in select_faults(" broker, worker")] == ["broker", "worker"]
    with pytest.raises(UsageError, match="brokre: no such fault") as excinfo:
        select_faults("brokre")
    assert excinfo.value.hint == "Did you mean broker?"


# ---- faults ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that machines get; only the second one has containers."""
    lines: list[str] = []

    def ssh(program: str, *argv: str, **_: Any) -> subprocess.CompletedProcess[bytes]:
        lines.append(
            f"{argv[-2].rpartition('@')[2]}: {argv[-1].removeprefix('sudo -n ').replace(drill._KILL_SCRIPT, '')}"
        )
        result = b"c1" if lines[-1].startswith("10.20.0.22") else b""
        return subprocess.CompletedProcess(program, 0, result, b"")

    monkeypatch.setattr("stargaze.system.ssh.run_program", ssh)
    monkeypatch.setattr(drill, "ENGINE_DOWNTIME", 0.0)
    return lines


def context(store: Store, *managers: bool) -> DrillContext:
    """Return a drill of machines, each a manager or not."""
    fake = FakeSwarm(machines=tuple(machine(number) for number, _ in enumerate(managers, 1)))
    surveyed = [
        NodeInfo(item, item.name, item.name, manages, frozenset(), "", "", ())
        for item, manages in zip(fake.machines, managers, strict=True)
    ]
    survey = Survey(surveyed, {}, Swarm(fake.machines[0]), SwarmState([], [], []))
    return DrillContext(DeploySection(), store, fake.target(), survey, [])


@pytest.mark.parametrize("name", ["worker", "web", "broker"])
def test_one_container_is_killed_on_the_first_machine_that_has_one(
    commands: list[str], store: Store, name: str
) -> None:
    FAULTS[name].inject(context(store, True, False, False))

    assert commands == [f"10.20.0.{number}: sh -c '' sh {name}" for number in (21, 22)]


def test_a_service_without_containers_cannot_be_killed(commands: list[str], store: Store) -> None:
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
def test_no_engine_is_stopped_that_the_majority_needs(
    commands: list[str], store: Store, managers: tuple[bool, ...], address: str
) -> None:
    FAULTS["node"].inject(context(store, *managers))

    assert commands == [f"{address}: systemctl {verb} docker.socket docker.service" for verb in ("stop", "start")]


@pytest.mark.parametrize("managers", [(True,), (True, True)])
def test_a_cluster_that_can_lose_no_machine_loses_none(
    commands: list[str], store: Store, managers: tuple[bool, ...]
) -> None:
    with pytest.raises(ExternalError, match="no machine that it can lose"):
        FAULTS["node"].inject(context(store, *managers))

    assert commands == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo waiting for web; echo error: web failed; echo hint: stargaze logs web; exit 5", "web failed"),
        ("exit 7", "exit code 7"),
    ],
)
def test_a_failed_deploy_after_the_killed_one_reports_the_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    monkeypatch.setattr(drill, "KILL_DELAY", 0.0)
    monkeypatch.setattr(drill, "_newest_release", lambda _store: RELEASE)
    command = ["sh", "-c", f"exec >&2; {script}"]

    with pytest.raises(ExternalError) as excinfo:
        FAULTS["deploy"].inject(dataclasses.replace(context(store, True), deploy_argv=command))

    assert excinfo.value.message == f"the deploy after the killed one failed: {why}"


def test_a_deploy_that_repairs_the_killed_one_passes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killed one would run for a minute; the second one has the settings of the config."""
    monkeypatch.setattr(drill, "_newest_release", lambda _store: RELEASE)
    record = f'echo "$0" "$@" "$STARGAZE_DEPLOY_WEB_MEMORY" >>{tmp_path}/typed'
    command = ["sh", "-c", f'{record}; test "$(wc -l <{tmp_path}/typed)" = 2 || exec sleep 60']
    monkeypatch.setattr(drill, "time", SimpleNamespace(sleep=lambda _: wait_for((tmp_path / "typed").exists)))

    FAULTS["deploy"].inject(dataclasses.replace(context(store, True), deploy_argv=command))

    same = "aaaaaaaaaaaa --growth bbbbbbbbbbbb"
    assert (tmp_path / "typed").read_text().splitlines() == [f"{same} 0.98", f"{same} "]


def test_a_stopped_engine_is_started_also_after_ctrl_c(
    commands: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drill, "time", SimpleNamespace(sleep=interrupt))

    with pytest.raises(KeyboardInterrupt):
        FAULTS["node"].inject(context(store, True, False))

    assert commands[-1] == "10.20.0.22: systemctl start docker.socket docker.service"


def test_a_swarm_with_failed_services_is_not_drilled(
    commands: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ExternalError("web: 1 of 2 run")

    monkeypatch.setattr(drill, "await_services", fail)

    with pytest.raises(ExternalError, match="web: 1 of 2 run"):
        drill.run_drill(context(store, True), list(FAULTS.values()), 1.0, lambda _: None)

    assert commands == []


def test_a_drill_requires_a_release_of_this_store(
    commands: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "await_services", lambda *_: None)

    with pytest.raises(MissingInputError, match="this store has no release"):
        drill.run_drill(context(store, True), list(FAULTS.values()), 1.0, lambda _: None)

    assert commands == []


@pytest.mark.thorough
def test_a_load_generator_that_never_ends_is_killed_and_costs_no_other_result(
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

    def fault(times: int) -> Callable[[DrillContext], None]:
        def inject(_context: DrillContext) -> None:
            wait_for(lambda: here.exists() and here.read_text().count("\n") == times)
            raise ExternalError("worker: no running container")

        return inject

    faults = [dataclasses.replace(FAULTS["worker"], inject=fault(times)) for times in (1, 2)]
    results = drill.run_drill(context(store, True), faults, 1.0, lambda _: None)

    reason = "worker: no running container; responses are missing after 0.1 s"
    assert [(result.as_row()["state"], result.reason) for result in results] == [("FAILED", reason)] * 2
    assert not any(Path(f"/proc/{number}").exists() for number in here.read_text().split())

"""The machine that runs a stage, and the inputs and secrets that are sent to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stargaze.config import Config, InfraSection, TuningSection
from stargaze.errors import ConfigError, ExternalError, MissingInputError
from stargaze.infra.jobs import remote_stage
from stargaze.infra.jobs.job_note import JobNote
from stargaze.infra.jobs.ssh_client import SshJobService
from stargaze.output import CommandResult
from stargaze.pipeline.stages import _run_tuning
from stargaze.store import Store
from tests.infra.jobs.conftest import JOB

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MACHINES = InfraSection(
    provider="static",
    hosts={"development": "me@10.0.0.4", "parameter1": "me@10.0.0.5"},
    ansible_variables={"ray_folder": "/srv/ray"},
)


def note(job: str, stage: str = "tune") -> JobNote:
    return JobNote(job, stage, "development", "2026-03-01T12:00:00+00:00", "stars" if stage == "tune" else "", {})


def ignore_progress(_what: str, _done: float) -> None: ...


def test_the_job_server_is_on_the_development_machine(store: Store) -> None:
    result = remote_stage.connect_cluster(Config(infra=MACHINES), store)

    assert isinstance(result, SshJobService)
    assert (result.name, result.machine.address, result.layout.folder) == ("development", "10.0.0.4", "/srv/ray")


def test_without_machines_the_hint_is_infra_up(store: Store) -> None:
    with pytest.raises(MissingInputError) as raised:
        remote_stage.connect_cluster(Config(), store)
    assert raised.value.hint == "stargaze infra up"
    with pytest.raises(ConfigError):
        remote_stage.connect_cluster(Config(infra=InfraSection(provider="static")), store)


@pytest.mark.parametrize(("stage", "secrets"), [("fetch", {"GITHUB_TOKEN": "t"}), ("tune", {}), ("screen", {})])
def test_only_fetch_receives_the_token(
    store: Store, monkeypatch: pytest.MonkeyPatch, stage: str, secrets: dict[str, str]
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    sent = list[Any]()
    monkeypatch.setattr(remote_stage, "check_inputs", lambda *_: None)
    monkeypatch.setattr(
        remote_stage,
        "submit_job",
        lambda call, _head, _store, _now, job, environment, _report: sent.extend([call, environment]) or note(job),
    )

    remote_stage.start_stage(
        stage, Config(infra=MACHINES), store, NOW, ignore_progress, options=["--update"], resume=stage == "tune"
    )

    assert sent[1] == secrets
    assert sent[0].argv == (stage, "--update", *(["--resume"] if stage == "tune" else []))


def test_the_result_contains_the_local_path_of_the_bundle(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the path that the cluster returns."""
    note(JOB).write(store)
    store.bundles.mkdir()
    store.latest.write_text("abc\n")
    answer = {"bundle": "/etc/passwd", "trials": 3}
    monkeypatch.setattr(remote_stage, "follow_job", lambda *_: CommandResult(answer, "text"))

    result = remote_stage.attach_stage("tune", Config(infra=MACHINES), store, ignore_progress)

    assert result == CommandResult({"bundle": str(store.bundles / "abc"), "trials": 3}, "text")


@pytest.mark.parametrize(
    ("stage", "value"),
    [
        ("tune", None),
        ("tune", []),
        ("tune", {"bundle": "b"}),
        ("screen", None),
        ("screen", {}),
        ("screen", ["row"]),
        ("fetch", []),
    ],
)
def test_a_stage_without_its_result_is_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch, stage: str, value: Any
) -> None:
    note(JOB, stage).write(store)
    monkeypatch.setattr(remote_stage, "follow_job", lambda *_: CommandResult(value))

    with pytest.raises(ExternalError, match=f"{stage} returned no result"):
        remote_stage.attach_stage(stage, Config(infra=MACHINES), store, ignore_progress)


def test_inputs_are_checked_before_the_cluster_is_contacted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.root.mkdir()
    monkeypatch.setattr(remote_stage, "connect_cluster", lambda *_: pytest.fail("the head node was contacted"))
    monkeypatch.setattr(remote_stage, "submit_job", lambda *_: pytest.fail("a job was submitted"))

    with pytest.raises(MissingInputError) as raised:
        remote_stage.start_stage("screen", Config(infra=MACHINES), store, NOW, ignore_progress)

    assert raised.value.hint == "stargaze fetch"


def test_attach_without_a_job_does_not_contact_the_cluster(store: Store) -> None:
    with pytest.raises(MissingInputError, match="this store has no tune job on the cluster"):
        remote_stage.attach_stage("tune", Config(), store, ignore_progress)


@pytest.mark.parametrize("is_running", [False, True])
def test_a_run_tunes_on_the_cluster_and_attaches_to_a_running_job(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_running: bool
) -> None:
    store.root.mkdir()
    if is_running:
        note(JOB).write(store)
    monkeypatch.setattr(
        remote_stage, "connect_cluster", lambda *_: SimpleNamespace(describe=lambda _job: {"state": "running"})
    )
    done = list[str]()
    monkeypatch.setattr(remote_stage, "start_stage", lambda stage, *_, **__: done.append(f"start {stage}"))
    monkeypatch.setattr(
        remote_stage, "attach_stage", lambda stage, *_: done.append(f"attach {stage}") or CommandResult({"trials": 3})
    )

    result = _run_tuning(Config(tuning=TuningSection(on="cluster")), store, NOW, ignore_progress, resume=False)

    assert result == {"trials": 3}
    assert done == [*([] if is_running else ["start tune"]), "attach tune"]


# ---- command line ---------------------------------------------------------------------------------------------------

Run = Callable[..., Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A fake cluster that runs every job at once; the list of calls, in order."""
    calls = list[Any]()
    values = {
        "fetch": {"repositories": 2},
        "select-features": [{"feature": "age", "all": "selected, 0.1"}],
        "screen": [{"family": "ridge", "status": "ok"}],
        "tune": {"bundle": "b", "trials": 3, "anomalies": [], "scores": {}, "left_out": [], "repositories": 9},
    }

    def start(stage: str, *_: Any, **inputs: Any) -> dict[str, str]:
        calls.append(("start", stage, inputs))
        return {"machine": "development", "id": JOB}

    def attach(stage: str, *_: Any) -> CommandResult:
        calls.append(("attach", stage))
        return CommandResult(values[stage], "in words")

    monkeypatch.setattr(remote_stage, "start_stage", start)
    monkeypatch.setattr(remote_stage, "attach_stage", attach)
    return calls


@pytest.mark.parametrize("stage", ["fetch", "select-features", "screen", "tune"])
def test_a_stage_runs_on_the_cluster_and_its_result_is_printed(run: Run, calls: list[Any], stage: str) -> None:
    ended = run(stage, "--on", "cluster", "--json")

    assert ended.code == 0
    assert [call[:2] for call in calls] == [("start", stage), ("attach", stage)]
    assert json.loads(ended.out)
    assert "next: stargaze " in ended.err


def test_the_text_of_the_result_is_printed(run: Run, calls: list[Any]) -> None:
    assert run("tune", "--on", "cluster").out == "in words\n"
    assert run("fetch", "--on", "cluster").out == "in words\n"


def test_detach_prints_how_to_attach(run: Run, calls: list[Any]) -> None:
    ended = run("tune", "--detach", "--resume")

    assert (ended.code, ended.out) == (0, f"tune runs on development as job {JOB}\n")
    assert calls == [("start", "tune", {"resume": True})]
    assert "next: stargaze tune --attach" in ended.err


def test_attach_starts_no_job(run: Run, calls: list[Any]) -> None:
    assert run("screen", "--attach").code == 0
    assert calls == [("attach", "screen")]


def test_files_and_the_update_option_are_passed_on(run: Run, calls: list[Any]) -> None:
    run("fetch", "a.json", "--from", "b.csv", "--update", "--on", "cluster")

    assert calls[0][2] == {"options": ["--update"], "files": [Path("b.csv"), Path("a.json")]}


def test_the_option_overrides_the_place_in_the_config(
    run: Run, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZE_TUNING_ON", "cluster")

    assert run("tune").code == 0
    assert len(calls) == 2
    assert run("tune", "--on", "local").code == 3  # this store has no input of tune
    assert len(calls) == 2


def test_growth_is_tuned_on_the_cluster_too(run: Run, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARGAZE_TUNING_TARGET", "growth")

    assert "growth bundle b of 9 repositories" in run("tune", "--on", "cluster").out
    assert run("tune", "--detach").code == 0


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("tune", "--detach", "--attach"), 2, "--detach and --attach cannot be combined"),
        (("tune", "--on", "local", "--detach"), 2, "--detach needs --on cluster"),
        (("fetch", "--on", "local", "--attach"), 2, "--attach needs --on cluster"),
        (("fetch", "--dry-run", "--detach"), 2, "--dry-run cannot be combined with --detach or --attach"),
        (("fetch", "--dry-run", "--attach"), 2, "--dry-run cannot be combined with --detach or --attach"),
        (("tune", "--attach"), 3, "this store has no tune job on the cluster"),
        (("tune", "--on", "moon"), 2, "option: tuning.on should be one of local, cluster, not 'moon'"),
        (("screen", "--on", "moon"), 2, "option: tuning.on should be one of local, cluster, not 'moon'"),
        (("tune", "--resume", "--on", "cluster"), 3, "store/repositories.parquet does not exist yet"),
        (("fetch", "gone.json", "--on", "cluster"), 3, "gone.json: no such file"),
        (("select-features", "--on", "cluster"), 3, "store/repositories.parquet does not exist yet"),
        (("fetch", "--on", "cluster"), 3, "no machines have been created from this store"),
    ],
)
def test_invalid_combinations_are_one_line(run: Run, argv: tuple[str, ...], code: int, message: str) -> None:
    ended = run(*argv)

    assert (ended.code, ended.error) == (code, message)

"""The deployment commands with a fake Swarm: usage errors, output and exit codes."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stargaze.commands import swarm
from stargaze.config import DeploySection
from stargaze.errors import ExternalError
from stargaze.pipeline.production import lock_production
from stargaze.serve.release.record import Release
from stargaze.serve.swarm import deploy as swarm_deploy
from stargaze.serve.swarm import drill, operations, production
from stargaze.serve.swarm.delivery_state import save_verified_stack, send_stack
from stargaze.serve.swarm.deploy import DeployResult
from stargaze.serve.swarm.docker import NodeStatus
from stargaze.serve.swarm.drill import FAULTS
from stargaze.serve.swarm.plan import PlannedChange, plan_stack, prepare_stack
from stargaze.serve.swarm.production import survey_production
from stargaze.serve.swarm.public_page import PublicPage
from stargaze.store import Store
from tests.conftest import Ended
from tests.isolation import copy_module
from tests.serve.swarm.fake_swarm import FakeSwarm

Run = Callable[..., Ended]
CONFIG = """
[deploy]
to = "swarm"
registry = "registry.example"
timeout = 10
{more}
[infra]
provider = "static"
key_file = "key"
[infra.hosts]
production1 = "debian@10.20.0.21"
production2 = "debian@10.20.0.22"
"""
SECTION = DeploySection(to="swarm", registry="registry.example")
RELEASE = Release("c" * 40, "a" * 64, "deploy", "ann", "2026-03-01T12:00:00+00:00", None, {})


@pytest.fixture
def swarm_config(run: Run) -> None:
    """A config of a Swarm on two existing machines, and their ssh key."""
    Path("key").touch(0o600)
    Path("key").with_suffix(".pub").write_text("ssh-ed25519 AAAA\n")
    Path("stargaze.toml").write_text(CONFIG.format(more=""))


@pytest.fixture
def fake(swarm_config: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    """A fake Swarm with a deployed stack, at the addresses of the config."""
    monkeypatch.setattr(production, "POLL_INTERVAL", 0.0)
    fake_swarm = FakeSwarm(installed=dict.fromkeys(("production1", "production2"), "a" * 64))
    fake_swarm.install(monkeypatch)
    survey = survey_production(fake_swarm.target().hosts)
    plan = plan_stack(SECTION, fake_swarm.target(), survey, tmp_path / "none")
    ready = prepare_stack(plan, SECTION, fake_swarm.target(), survey, lambda _: None)
    send_stack(Store(Path("store")), survey.swarm, ready)
    save_verified_stack(Store(Path("store")), ready)
    fake_swarm.changes.clear()
    return fake_swarm


# ---- usage errors -------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("argv", "code", "message", "hint"),
    [
        (["scale", "wrker=2"], 2, "wrker: not a service to scale", "Did you mean worker?"),
        (["scale", "results=3"], 2, "results: not a service to scale", "web=4 worker=8"),
        (["scale", "worker=0"], 2, "worker=0: the number must be from 1 to 256", "stargaze scale web=4 worker=8"),
        (["scale", "worker=-1"], 2, "worker=-1: the number must be from 1 to 256", "stargaze scale web=4 worker=8"),
        (["scale", "web=2", "worker"], 2, "worker: the number must be from 1 to 256", "stargaze scale web=4 worker=8"),
        (["logs", "wep"], 2, "wep: no such service", "Did you mean web?"),
        (["logs", "web", "-n", "0"], 2, "Invalid value for '--lines'", "stargaze logs -h"),
        (["rollback", "0123"], 3, "there is no release to roll back to", "stargaze deploy"),
        (["deploy", "0123"], 3, "there is no bundle '0123'", "stargaze tune"),
        (
            ["deploy", "0123", "--rotate-secrets"],
            2,
            "--rotate-secrets cannot be combined with a bundle",
            "stargaze deploy --rotate",
        ),
        (
            ["deploy", "--dry-run", "--rotate-secrets"],
            2,
            "--rotate-secrets cannot be combined with --dry-run",
            "stargaze deploy --rotate",
        ),
        (["deploy", "--force", " "], 2, "--force needs a reason; it is recorded", 'deploy --force "the'),
        (["deploy", "--force", ""], 2, "--force needs a reason; it is recorded", 'deploy --force "the'),
        (
            ["deploy", "--force", "why", "--rotate-secrets"],
            2,
            "--rotate-secrets cannot be combined with a bundle",
            "stargaze deploy",
        ),
        (["drill", "another"], 2, "this cluster is named stargaze, not another: nothing was done", "drill stargaze"),
        (["drill", "stargaze", "--only", "wroker"], 2, "wroker: no such fault", "Did you mean worker?"),
        (["drill", "stargaze", "--rate", "0"], 2, "Invalid value for '--rate'", "stargaze drill -h"),
        (["drill", "stargaze", "--rate", "nan"], 2, "Invalid value for '--rate'", "stargaze drill -h"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_arguments_are_one_line_and_change_nothing(
    run: Run, fake: FakeSwarm, argv: list[str], code: int, message: str, hint: str
) -> None:
    ended = run(*argv)

    assert (ended.code, ended.out) == (code, "")
    assert message in ended.error
    assert hint in ended.hint
    assert fake.changes == []


def test_web_is_not_scaled_in_host_mode(run: Run, fake: FakeSwarm) -> None:
    Path("stargaze.toml").write_text(CONFIG.format(more='publish_mode = "host"'))

    ended = run("scale", "web=4")

    assert (ended.code, ended.error) == (
        2,
        'web cannot be scaled with deploy.publish_mode = "host": one replica per node',
    )
    assert "stargaze scale worker=8" in ended.hint


SWARM_COMMANDS = [
    ["scale", "worker=2"],
    ["logs", "web"],
    ["drill", "stargaze"],
    ["deploy", "--rotate-secrets"],
    ["deploy", "--dry-run"],
]


@pytest.mark.parametrize("argv", SWARM_COMMANDS, ids=" ".join)
def test_swarm_commands_require_the_swarm_as_target(
    run: Run, fake: FakeSwarm, argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if there is a Swarm."""
    monkeypatch.setenv("STARGAZE_DEPLOY_TO", "local")

    ended = run(*argv)

    assert (ended.code, ended.hint) == (2, 'deploy.to = "swarm"')
    assert fake.changes == []


@pytest.mark.parametrize("argv", [*SWARM_COMMANDS, ["deploy"], ["rollback"], ["status"]], ids=" ".join)
def test_without_machines_the_hint_names_the_command_that_creates_them(run: Run, argv: list[str]) -> None:
    Path("stargaze.toml").write_text('[deploy]\nto = "swarm"\n')

    ended = run(*argv, "--json") if argv[0] != "logs" else run(*argv)

    assert (ended.code, ended.out) == (3, "")
    assert (ended.error, ended.hint) == ("no machines have been created from this store", "stargaze infra up")


@pytest.mark.parametrize("argv", [*SWARM_COMMANDS, ["rollback"], ["status"]], ids=" ".join)
def test_a_cluster_without_production_machines_is_an_error(run: Run, argv: list[str]) -> None:
    Path("key").touch(0o600)
    Path("stargaze.toml").write_text(
        CONFIG.format(more="").partition("production1")[0] + 'development = "a@10.0.0.4"\n'
    )

    ended = run(*argv)

    assert (ended.code, ended.error) == (3, "the cluster has no production machine")


@pytest.mark.parametrize("argv", [["scale", "worker=2"], ["logs", "web"], ["status"]], ids=" ".join)
def test_unreachable_machines_are_an_external_error(run: Run, fake: FakeSwarm, argv: list[str]) -> None:
    fake.unreachable = {"production1", "production2"}

    ended = run(*argv)

    assert (ended.code, ended.hint) == (5, "stargaze infra status")
    assert "no Swarm manager is reachable: ssh login to production1 failed" in ended.error


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["scale", "worker=2"], 3, "nothing has been deployed to the Swarm"),
        (["rollback"], 3, "nothing has been deployed to the Swarm"),
        (["deploy", "--rotate-secrets"], 3, "nothing has been deployed to the Swarm"),
        (["logs", "web"], 2, "web: no such service"),
    ],
)
def test_before_the_first_deploy_the_hint_is_deploy(
    run: Run, fake: FakeSwarm, argv: list[str], code: int, message: str
) -> None:
    fake.services.clear()

    ended = run(*argv)

    assert (ended.code, ended.error) == (code, message)
    assert ended.hint.endswith("stargaze deploy")


# ---- output --------------------------------------------------------------------------------------------------------


def test_status_prints_three_tables_and_exits_with_0_if_all_is_ok(run: Run, fake: FakeSwarm) -> None:
    ended = run("status")

    assert (ended.code, ended.err) == (0, "")
    for word in ("missing: stargaze fetch", "Production", "production2", "Services", "results"):
        assert word in ended.out


def test_status_in_json_is_one_value_also_with_an_unreachable_machine(run: Run, fake: FakeSwarm) -> None:
    fake.unreachable.add("production2")

    ended = run("status", "--json")

    result = json.loads(ended.out)
    assert set(result) == {"artifacts", "pages", "machines", "services"}
    assert "ssh login to production2 failed" in result["machines"][1]["state"]
    assert (ended.code, ended.error) == (1, "not ok: production2")


@pytest.mark.parametrize(
    ("response", "state", "code"),
    [
        (f'200 {{"bundle": "{"a" * 64}"}}', "ready", 0),
        (
            '400 {"detail": "unknown host"}',
            "unknown host",
            1,
        ),
        ("", "no answer", 1),
    ],
)
def test_status_asks_at_the_address_of_the_proxy(
    run: Run, fake: FakeSwarm, monkeypatch: pytest.MonkeyPatch, response: str, state: str, code: int
) -> None:
    text = Path("stargaze.toml").read_text()
    Path("stargaze.toml").write_text(f'{text}orchestration = "debian@203.0.113.9,10.20.0.10"\n')
    monkeypatch.setattr(PublicPage, "ask", lambda _: (response, ""))

    ended = run("status", "--json")

    (row,) = json.loads(ended.out)["pages"]
    assert (row["page"], row["state"]) == ("http://203.0.113.9", state)
    assert ended.code == code
    assert not code or ended.error == "not ok: http://203.0.113.9"


def test_status_names_what_failed_and_exits_with_1(run: Run, fake: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.never_started.add("stargaze_worker")
    monkeypatch.setattr(operations, "inspect_node", lambda item, *_: NodeStatus(item.name, "a" * 64, (), "503 {}"))

    ended = run("status")

    assert ended.code == 1
    assert ended.error == "not ok: production1, production2, worker"
    assert ended.hint == "stargaze logs SERVICE; stargaze deploy"


def test_scale_prints_the_keys_that_keep_the_numbers(run: Run, fake: FakeSwarm) -> None:
    ended = run("scale", "worker=5", "web=3", "--json")

    assert ended.code == 0
    assert {row["service"]: row["running"] for row in json.loads(ended.out)} == {
        "web": 3, "worker": 5, "broker": 1, "results": 1,
    }  # fmt: skip
    assert "deploy.worker_replicas = 5, deploy.web_replicas = 3" in ended.err


def test_logs_runs_docker_on_a_manager(run: Run, fake: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[Any] = []
    monkeypatch.setattr(swarm, "os", copy_module(os, execvp=lambda *argv: executed.append(argv)))

    run("logs", "worker", "-n", "7")

    ((program, argv),) = executed
    assert (program, argv[-2]) == ("ssh", "debian@10.20.0.21")
    assert argv[-1] == "sudo -n timeout 60 docker service logs --timestamps --tail=7 stargaze_worker"


@pytest.mark.parametrize(
    "argv", [("deploy",), ("deploy", "--rotate-secrets"), ("rollback",), ("scale", "worker=3")], ids=" ".join
)
def test_one_command_at_a_time_changes_production(run: Run, fake: FakeSwarm, argv: list[str]) -> None:
    with lock_production(Store(Path("store"))):
        ended = run(*argv)

    assert (ended.code, ended.hint) == (5, "wait for it, or stargaze status")
    assert ended.error.startswith("store: another command is changing production (process ")
    assert fake.changes == []


def test_a_rotation_prints_the_version_and_no_secret(run: Run, fake: FakeSwarm) -> None:
    ended = run("deploy", "--rotate-secrets", "--json")

    assert (ended.code, json.loads(ended.out)) == (0, {"secrets": 2})
    assert not [secret for secret in fake.secrets.values() if secret.decode() in ended.out + ended.err]


def test_a_dry_run_prints_the_planned_changes(run: Run, fake: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [PlannedChange("update", "service web", "deploy.resources.limits.memory 1 -> 2")]
    monkeypatch.setattr(swarm, "plan_deploy_changes", lambda *_, **__: changes)

    ended = run("deploy", "--dry-run", "--json")

    assert (ended.code, json.loads(ended.out)) == (0, [dataclasses.asdict(changes[0])])
    assert "service web" in run("deploy", "--dry-run").out
    assert fake.changes == []


@pytest.mark.parametrize(("changed", "word"), [(True, "serves on"), (False, "already serves: nothing to do on")])
def test_a_deploy_prints_release_and_machines(
    run: Run, fake: FakeSwarm, monkeypatch: pytest.MonkeyPatch, changed: bool, word: str
) -> None:
    completed = DeployResult(RELEASE, "image:1", ("production1", "production2"), changed, 2.0, ("http://a",))
    requests: list[dict[str, Any]] = []
    monkeypatch.setattr(swarm_deploy, "deploy", lambda *_, **options: requests.append(options) or completed)

    ended = run("deploy", "aaaa", "--force", "a new policy")

    assert ended.out == f"release {'a' * 12} {word} production1, production2 (2.0 s): http://a\n"
    assert (requests[0]["digest"], requests[0]["force_reason"]) == ("aaaa", "a new policy")
    assert json.loads(run("deploy", "--json").out)["release"]["digest"] == "a" * 64


def test_a_failed_deploy_prints_what_serves_now(run: Run, fake: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: Any, **__: Any) -> DeployResult:
        raise ExternalError(
            "release b does not serve: web: 0 of 2 run; release a serves as before", hint="stargaze logs"
        )

    monkeypatch.setattr(swarm_deploy, "deploy", failed)
    monkeypatch.setattr(swarm_deploy, "rollback", failed)

    for command in ("deploy", "rollback"):
        ended = run(command, "--json")
        assert (ended.code, ended.out, ended.hint) == (5, "", "stargaze logs")
        assert ended.error.endswith("release a serves as before")


# ---- drill ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded_drill(fake: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A drill without faults: every expectation holds except that of the broker."""
    requests: list[Any] = []
    counts = {"sent": 9, "answered": 9, "job_failed": 0, "refused": 0, "failed": 0, "slowest": 0.5, "reasons": {}}

    def run(context: drill.DrillContext, faults: Any, rate: float, notify: Any) -> list[drill.DrillResult]:
        requests.extend([context, rate])
        return [
            drill.evaluate_fault(fault, {**counts, "lost": int(fault.name == "broker")}, 4.0, "") for fault in faults
        ]

    monkeypatch.setattr(drill, "run_drill", run)
    return requests


def test_a_drill_exits_with_0_if_every_expectation_held(run: Run, recorded_drill: list[Any]) -> None:
    ended = run("drill", "stargaze", "--only", "worker,web", "--rate", "1.5")

    assert ended.code == 0
    assert ended.out.count("passed") == 2
    context, rate = recorded_drill
    urls = [page.url for page in context.target.pages]
    assert (urls, rate) == (["http://10.20.0.21", "http://10.20.0.22"], 1.5)
    assert "questions a second" not in ended.err
    assert context.deploy_argv[-3:] == ["deploy", "--store", "store"]


@pytest.mark.parametrize(
    ("per_minute", "rate", "noted"),
    [
        (120, 1.6, "sending 1.6 requests/s, not 50: serve.rate_limit = 120\n"),
        (6000, 50.0, ""),
        (0, 50.0, ""),
    ],
)
def test_a_drill_stays_below_the_rate_limit(
    run: Run, recorded_drill: list[Any], per_minute: int, rate: float, noted: str
) -> None:
    """Requests over the limit would count as failures."""
    with Path("stargaze.toml").open("a") as config:
        config.write(f"[serve]\nrate_limit = {per_minute}\n")

    ended = run("drill", "stargaze", "--only", "worker,web")

    assert ended.code == 0
    assert recorded_drill[1] == rate
    assert noted in ended.err
    assert ("requests/s" in ended.err) == bool(noted)


def test_a_drill_names_the_failed_expectation_and_exits_with_1(run: Run, recorded_drill: list[Any]) -> None:
    Path("stargaze.toml").rename("other.toml")

    ended = run("drill", "stargaze", "--rate", "1", "--json", "-c", "other.toml")

    assert [result["fault"] for result in json.loads(ended.out)] == list(FAULTS)
    assert (ended.code, ended.error) == (1, "failed: broker")
    assert recorded_drill[0].deploy_argv[-2:] == ["--config", "other.toml"]

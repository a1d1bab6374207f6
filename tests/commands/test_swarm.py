"""What is typed about production in a Swarm: each slip one line before a machine is asked, and the answers of a small Swarm."""

from __future__ import annotations

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
from stargaze.serve.swarm import drill, operations, wait
from stargaze.serve.swarm.delivery_state import save_verified_stack, send_stack
from stargaze.serve.swarm.deploy import DeployResult
from stargaze.serve.swarm.docker import NodeStatus
from stargaze.serve.swarm.drill import FAULTS
from stargaze.serve.swarm.plan import plan_stack, prepare_stack
from stargaze.serve.swarm.production import survey_production
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
MADE = Release("c" * 40, "a" * 64, "deploy", "ann", "2026-03-01T12:00:00+00:00", None, {})


@pytest.fixture
def configured(run: Run) -> None:
    """A config of a Swarm on two machines that exist, and the key to them."""
    Path("key").touch(0o600)
    Path("key").with_suffix(".pub").write_text("ssh-ed25519 AAAA\n")
    Path("stargaze.toml").write_text(CONFIG.format(more=""))


@pytest.fixture
def small(configured: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    """The Swarm behind those addresses, to which a stack was delivered."""
    monkeypatch.setattr(wait, "POLL_INTERVAL", 0.0)
    made = FakeSwarm(installed=dict.fromkeys(("production1", "production2"), "a" * 64))
    made.enter(monkeypatch)
    survey = survey_production(made.target().hosts)
    plan = plan_stack(SECTION, made.target(), survey, tmp_path / "none")
    ready = prepare_stack(plan, SECTION, made.target(), survey, lambda _: None)
    send_stack(Store(Path("store")), survey.swarm, ready)
    save_verified_stack(Store(Path("store")), ready)
    made.done.clear()
    return made


# ---- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
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
def test_what_cannot_be_is_one_line_and_changes_nothing(
    run: Run, small: FakeSwarm, words: list[str], code: int, message: str, hint: str
) -> None:
    ended = run(*words)

    assert (ended.code, ended.out) == (code, "")
    assert message in ended.error
    assert hint in ended.hint
    assert small.done == []


def test_pages_that_have_a_port_of_each_machine_are_not_scaled(run: Run, small: FakeSwarm) -> None:
    Path("stargaze.toml").write_text(CONFIG.format(more='publish_mode = "host"'))

    ended = run("scale", "web=4")

    assert (ended.code, ended.error) == (
        2,
        'web cannot be scaled with deploy.publish_mode = "host": one replica per node',
    )
    assert "stargaze scale worker=8" in ended.hint


SWARMS_OWN = [["scale", "worker=2"], ["logs", "web"], ["drill", "stargaze"], ["deploy", "--rotate-secrets"]]


@pytest.mark.parametrize("words", SWARMS_OWN, ids=" ".join)
def test_where_production_is_this_machine_the_swarm_is_let_alone(
    run: Run, small: FakeSwarm, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though there is one: a drill would hurt it and then fail to deliver to it."""
    monkeypatch.setenv("STARGAZE_DEPLOY_TO", "local")

    ended = run(*words)

    assert (ended.code, ended.hint) == (2, 'deploy.to = "swarm"')
    assert small.done == []


@pytest.mark.parametrize("words", [*SWARMS_OWN, ["deploy"], ["rollback"], ["status"]], ids=" ".join)
def test_a_swarm_without_machines_says_what_brings_them_up(run: Run, words: list[str]) -> None:
    Path("stargaze.toml").write_text('[deploy]\nto = "swarm"\n')

    ended = run(*words, "--json") if words[0] != "logs" else run(*words)

    assert (ended.code, ended.out) == (3, "")
    assert (ended.error, ended.hint) == ("no machines have been created from this store", "stargaze infra up")


@pytest.mark.parametrize("words", [*SWARMS_OWN, ["rollback"], ["status"]], ids=" ".join)
def test_machines_none_of_which_is_for_production_are_no_place_to_deliver_to(run: Run, words: list[str]) -> None:
    Path("key").touch(0o600)
    Path("stargaze.toml").write_text(
        CONFIG.format(more="").partition("production1")[0] + 'development = "a@10.0.0.4"\n'
    )

    ended = run(*words)

    assert (ended.code, ended.error) == (3, "the cluster has no production machine")


@pytest.mark.parametrize("words", [["scale", "worker=2"], ["logs", "web"], ["status"]], ids=" ".join)
def test_machines_that_nobody_reaches_are_an_outside_failure(run: Run, small: FakeSwarm, words: list[str]) -> None:
    small.away = {"production1", "production2"}

    ended = run(*words)

    assert (ended.code, ended.hint) == (5, "stargaze infra status")
    assert "no Swarm manager is reachable: ssh login to production1 failed" in ended.error


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["scale", "worker=2"], 3, "nothing has been deployed to the Swarm"),
        (["rollback"], 3, "nothing has been deployed to the Swarm"),
        (["deploy", "--rotate-secrets"], 3, "nothing has been deployed to the Swarm"),
        (["logs", "web"], 2, "web: no such service"),
    ],
)
def test_before_the_first_delivery_deploy_is_what_to_type(
    run: Run, small: FakeSwarm, words: list[str], code: int, said: str
) -> None:
    small.services.clear()

    ended = run(*words)

    assert (ended.code, ended.error) == (code, said)
    assert ended.hint.endswith("stargaze deploy")


# ---- answers --------------------------------------------------------------------------------------------------------


def test_status_is_three_tables_and_ends_well_where_all_is_well(run: Run, small: FakeSwarm) -> None:
    ended = run("status")

    assert (ended.code, ended.err) == (0, "")
    for word in ("missing: stargaze fetch", "Production", "production2", "Services", "results"):
        assert word in ended.out


def test_status_in_json_is_one_value_also_where_something_is_ill(run: Run, small: FakeSwarm) -> None:
    small.away.add("production2")

    ended = run("status", "--json")

    found = json.loads(ended.out)
    assert set(found) == {"artifacts", "machines", "services"}
    assert "ssh login to production2 failed" in found["machines"][1]["state"]
    assert (ended.code, ended.error) == (1, "not ok: production2")


def test_what_is_not_well_is_named_and_ends_with_1(run: Run, small: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    small.dead.add("stargaze_worker")
    monkeypatch.setattr(operations, "inspect_node", lambda one, *_: NodeStatus(one.name, "a" * 64, (), "503 {}"))

    ended = run("status")

    assert ended.code == 1
    assert ended.error == "not ok: production1, production2, worker"
    assert ended.hint == "stargaze logs SERVICE; stargaze deploy"


def test_what_is_scaled_is_told_with_the_keys_that_keep_it(run: Run, small: FakeSwarm) -> None:
    ended = run("scale", "worker=5", "web=3", "--json")

    assert ended.code == 0
    assert {row["service"]: row["running"] for row in json.loads(ended.out)} == {
        "web": 3, "worker": 5, "broker": 1, "results": 1,
    }  # fmt: skip
    assert "deploy.worker_replicas = 5, deploy.web_replicas = 3" in ended.err


def test_a_log_is_what_docker_prints(run: Run, small: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    become: list[Any] = []
    monkeypatch.setattr(swarm, "os", copy_module(os, execvp=lambda *argv: become.append(argv)))

    run("logs", "worker", "-n", "7")

    ((program, argv),) = become
    assert (program, argv[-2]) == ("ssh", "debian@10.20.0.21")
    assert argv[-1] == "sudo -n timeout 60 docker service logs --timestamps --tail=7 stargaze_worker"


@pytest.mark.parametrize(
    "words", [("deploy",), ("deploy", "--rotate-secrets"), ("rollback",), ("scale", "worker=3")], ids=" ".join
)
def test_one_command_changes_production_at_a_time(run: Run, small: FakeSwarm, words: list[str]) -> None:
    with lock_production(Store(Path("store"))):
        ended = run(*words)

    assert (ended.code, ended.hint) == (5, "wait for it, or stargaze status")
    assert ended.error.startswith("store: another command is changing production (process ")
    assert small.done == []


def test_new_secrets_are_told_by_their_version_alone(run: Run, small: FakeSwarm) -> None:
    ended = run("deploy", "--rotate-secrets", "--json")

    assert (ended.code, json.loads(ended.out)) == (0, {"secrets": 2})
    assert not [secret for secret in small.secrets.values() if secret.decode() in ended.out + ended.err]


@pytest.mark.parametrize(("changed", "word"), [(True, "serves on"), (False, "already serves: nothing to do on")])
def test_a_delivery_says_what_serves_and_where(
    run: Run, small: FakeSwarm, monkeypatch: pytest.MonkeyPatch, changed: bool, word: str
) -> None:
    done = DeployResult(MADE, "image:1", ("production1", "production2"), changed, 2.0)
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(swarm_deploy, "deploy", lambda *_, **given: asked.append(given) or done)

    ended = run("deploy", "aaaa", "--force", "a new policy")

    assert ended.out == f"release {'a' * 12} {word} production1, production2 (2.0 s)\n"
    assert (asked[0]["digest"], asked[0]["force_reason"]) == ("aaaa", "a new policy")
    assert json.loads(run("deploy", "--json").out)["release"]["digest"] == "a" * 64


def test_a_delivery_that_failed_ends_with_what_serves_now(
    run: Run, small: FakeSwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def struck(small: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A drill whose blows are not struck: every promise holds but that of the queue."""
    asked: list[Any] = []
    counts = {"sent": 9, "answered": 9, "job_failed": 0, "refused": 0, "failed": 0, "slowest": 0.5, "reasons": {}}

    def undergo(
        context: drill.DrillContext, addresses: Any, faults: Any, rate: float, notify: Any
    ) -> list[drill.DrillResult]:
        asked.extend([context, addresses, rate])
        return [drill.evaluate_fault(one, {**counts, "lost": int(one.name == "broker")}, 4.0, "") for one in faults]

    monkeypatch.setattr(drill, "run_drill", undergo)
    return asked


def test_a_drill_whose_promises_held_ends_well(run: Run, struck: list[Any]) -> None:
    ended = run("drill", "stargaze", "--only", "worker,web", "--rate", "1.5")

    assert ended.code == 0
    assert ended.out.count("passed") == 2
    context, addresses, rate = struck
    assert (addresses, rate) == (["10.20.0.21:80", "10.20.0.22:80"], 1.5)
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
def test_a_drill_asks_no_more_than_the_page_lets_one_address_ask(
    run: Run, struck: list[Any], per_minute: int, rate: float, noted: str
) -> None:
    """What the page refuses to who asks too much would be called a broken promise."""
    with Path("stargaze.toml").open("a") as config:
        config.write(f"[serve]\nrate_limit = {per_minute}\n")

    ended = run("drill", "stargaze", "--only", "worker,web")

    assert ended.code == 0
    assert struck[2] == rate
    assert noted in ended.err
    assert ("requests/s" in ended.err) == bool(noted)


def test_a_promise_that_was_broken_is_named_and_ends_with_1(run: Run, struck: list[Any]) -> None:
    Path("stargaze.toml").rename("other.toml")

    ended = run("drill", "stargaze", "--rate", "1", "--json", "-c", "other.toml")

    assert [result["fault"] for result in json.loads(ended.out)] == list(FAULTS)
    assert (ended.code, ended.error) == (1, "failed: broker")
    assert struck[0].deploy_argv[-2:] == ["--config", "other.toml"]

"""The commands of ``stargaze infra`` and ``stargaze hook``: each with help and an example, each error in one line."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from stargaze.commands import hook, infra
from tests.infra.conftest import FakeCloud
from tests.test_cli import Run

EXAMPLES = {**infra.EXAMPLES, **hook.EXAMPLES}
NEEDS = {"infra ssh": ["production1"], "infra forget": ["production1"]}


@pytest.fixture(autouse=True)
def without_a_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the clouds.yaml of this user."""
    for name in ("OS_CLOUD", "OS_CLIENT_CONFIG_FILE", "OS_AUTH_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    ended = run(*command.split(), "--help")

    assert (ended.code, ended.err) == (0, "")
    assert f"Example: {EXAMPLES[command]}" in ended.out
    assert EXAMPLES[command].startswith(f"stargaze {command}")


@pytest.mark.parametrize("command", [command for command in EXAMPLES if command != "hook remove"])
def test_every_command_rejects_an_unknown_key(run: Run, command: str) -> None:
    Path("stargaze.toml").write_text("[infra]\nprodution = 9\n")

    ended = run(*command.split(), *NEEDS.get(command, []))

    assert (ended.code, ended.error) == (2, "stargaze.toml: infra.prodution is not a key")
    assert ended.hint == "Did you mean infra.production_servers?"


@pytest.mark.parametrize("command", ["infra up", "infra down"])
def test_without_a_cloud_the_hint_says_where_to_get_clouds_yaml(run: Run, command: str) -> None:
    ended = run(*command.split())

    assert (ended.code, ended.error) == (2, "there is no clouds.yaml with a cloud")
    assert "~/.config/openstack/" in ended.hint


@pytest.mark.parametrize("command", ["infra status", "infra configure", "infra ssh"])
def test_before_infra_up_the_hint_names_it(run: Run, command: str) -> None:
    ended = run(*command.split(), *NEEDS.get(command, []))

    assert (ended.code, ended.hint) == (3, "stargaze infra up")


def test_static_machines_are_not_deleted(run: Run) -> None:
    Path("stargaze.toml").write_text('[infra]\nprovider = "static"\n[infra.hosts]\nproduction1 = "me@192.0.2.1"\n')

    ended = run("infra", "down", "--yes")

    assert (ended.code, "does not delete them" in ended.error) == (2, True)


def test_an_unknown_machine_suggests_a_similar_name(run: Run) -> None:
    Path("stargaze.toml").write_text('[infra]\nprovider = "static"\n[infra.hosts]\nproduction1 = "me@192.0.2.1"\n')

    ended = run("infra", "ssh", "prodution1")

    assert (ended.code, ended.hint) == (3, "Did you mean production1?")


def test_the_options_of_a_remote_command_are_its_own() -> None:
    ssh: Any = typer.main.get_command(infra.app)

    context = ssh.commands["ssh"].make_context("ssh", ["production1", "--", "docker", "run", "--attach", "-it"])

    assert context.params["remote_command"] == ["docker", "run", "--attach", "-it"]


def test_an_unknown_tag_is_refused_with_a_suggestion(run: Run) -> None:
    Path("stargaze.toml").write_text('[infra]\nprovider = "static"\n[infra.hosts]\nproduction1 = "me@192.0.2.1"\n')

    ended = run("infra", "configure", "--tags", "swram")

    assert (ended.code, ended.hint) == (2, "Did you mean swarm?")


def test_the_doctor_prints_json_and_exits_with_1_if_a_check_failed(run: Run) -> None:
    ended = run("doctor", "--json")

    rows = json.loads(ended.out)
    assert ended.code == (1 if any(row["state"] == "error" for row in rows) else 0)
    assert {"python", "disk", "GITHUB_TOKEN"} <= {row["check"] for row in rows}


@pytest.fixture
def cloud(run: Run, monkeypatch: pytest.MonkeyPatch) -> FakeCloud:
    """A cloud in memory whose machines answer at once, and playbooks that change nothing."""
    fake = FakeCloud()
    Path("stargaze.toml").write_text('[infra]\nssh_from = ["192.0.2.0/24"]\ntimeout = 10\n')
    monkeypatch.setattr("stargaze.infra.openstack.client.connect", lambda _: fake)
    monkeypatch.setattr("stargaze.infra.provision.wait_for_ssh", lambda *_: None)
    monkeypatch.setattr("stargaze.infra.ansible.configure.run_playbook", lambda *_, **__: SimpleNamespace(changed={}))
    return fake


def test_up_prints_one_json_document(run: Run, cloud: FakeCloud) -> None:
    planned = json.loads(run("infra", "up", "--dry-run", "--json").out)
    document = json.loads(run("infra", "up", "--json").out)
    again = json.loads(run("infra", "up", "--json").out)

    assert planned == {"plan": document["plan"]}
    assert {"action": "create", "resource": "server", "name": "stargaze-production1", "detail": ""} in document["plan"]
    assert {"machine": "production1", "changed": 0} in document["machines"]
    assert again == {"plan": [], "machines": []}


def test_up_with_a_problem_prints_the_plan_as_one_json_document(run: Run, cloud: FakeCloud) -> None:
    cloud.offered = replace(cloud.offered, images=())

    ended = run("infra", "up", "--json")

    assert ended.code == 5
    assert list(json.loads(ended.out)) == ["plan"]


def test_up_without_json_prints_plan_and_machines(run: Run, cloud: FakeCloud) -> None:
    first, again = run("infra", "up"), run("infra", "up")

    assert "stargaze-production1" in first.out
    assert "all machines are up" in first.out
    assert "Configured" in first.out
    assert again.out.splitlines() == ["nothing to do", "nothing to configure"]


def test_static_machines_have_no_plan(run: Run) -> None:
    Path("stargaze.toml").write_text('[infra]\nprovider = "static"\n[infra.hosts]\nproduction1 = "me@192.0.2.1"\n')

    assert json.loads(run("infra", "up", "--dry-run", "--json").out) == {"plan": []}


def test_without_a_typed_name_nothing_is_deleted(run: Run, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    run("infra", "up")
    existing = list(cloud.existing)
    monkeypatch.setattr("sys.stdin", Terminal())

    ended = run("infra", "down")

    assert (ended.code, ended.error) == (2, "no name was typed; nothing was deleted")
    assert ended.hint == "stargaze infra down --yes"
    assert cloud.existing == existing

"""The commands of ``stargaze infra`` and ``stargaze hook``: each with help and an example, each error in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stargaze import cli_hook, cli_infra
from tests.test_cli import README, Run

EXAMPLES = {**cli_infra.EXAMPLES, **cli_hook.EXAMPLES}
NEEDS = {"infra ssh": ["production1"], "infra forget": ["production1"]}


@pytest.fixture(autouse=True)
def without_a_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's clouds.yaml is read."""
    for name in ("OS_CLOUD", "OS_CLIENT_CONFIG_FILE", "OS_AUTH_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_command_has_help_with_an_example_and_stands_in_the_readme(run: Run, command: str) -> None:
    ended = run(*command.split(), "--help")

    assert (ended.code, ended.err) == (0, "")
    assert f"Example: {EXAMPLES[command]}" in ended.out
    assert EXAMPLES[command].startswith(f"stargaze {command}")
    assert f"stargaze {command}" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [command for command in EXAMPLES if command != "hook remove"])
def test_every_command_refuses_a_config_with_a_slip(run: Run, command: str) -> None:
    Path("stargaze.toml").write_text("[infra]\nprodution = 9\n")

    ended = run(*command.split(), *NEEDS.get(command, []))

    assert (ended.code, ended.error) == (2, "stargaze.toml: infra.prodution is not a key")
    assert ended.hint == "Did you mean infra.production?"


@pytest.mark.parametrize("command", ["infra up", "infra down"])
def test_without_a_cloud_it_is_said_where_to_get_one(run: Run, command: str) -> None:
    ended = run(*command.split())

    assert (ended.code, ended.error) == (2, "there is no clouds.yaml with a cloud")
    assert "~/.config/openstack/" in ended.hint


@pytest.mark.parametrize("command", ["infra status", "infra configure", "infra ssh"])
def test_before_up_there_are_no_machines(run: Run, command: str) -> None:
    ended = run(*command.split(), *NEEDS.get(command, []))

    assert (ended.code, ended.hint) == (3, "stargaze infra up")


def test_machines_that_exist_are_not_deleted(run: Run) -> None:
    Path("stargaze.toml").write_text('[infra]\nprovider = "static"\n[infra.hosts]\nproduction1 = "me@192.0.2.1"\n')

    ended = run("infra", "down", "--yes")

    assert (ended.code, "does not delete them" in ended.error) == (2, True)


def test_a_machine_that_is_not_there_is_near_one_that_is(run: Run) -> None:
    Path("stargaze.toml").write_text('[infra]\nprovider = "static"\n[infra.hosts]\nproduction1 = "me@192.0.2.1"\n')

    ended = run("infra", "ssh", "prodution1")

    assert (ended.code, ended.hint) == (3, "Did you mean production1?")


def test_a_tag_that_is_none_is_refused(run: Run) -> None:
    Path("stargaze.toml").write_text('[infra]\nprovider = "static"\n[infra.hosts]\nproduction1 = "me@192.0.2.1"\n')

    ended = run("infra", "configure", "--tags", "swram")

    assert (ended.code, ended.hint) == (2, "Did you mean swarm?")


def test_the_doctor_answers_in_json_and_ends_with_what_is_ill(run: Run) -> None:
    ended = run("doctor", "--json")

    rows = json.loads(ended.out)
    assert ended.code == (1 if any(row["state"] == "ill" for row in rows) else 0)
    assert {"python", "disk", "GITHUB_TOKEN"} <= {row["check"] for row in rows}

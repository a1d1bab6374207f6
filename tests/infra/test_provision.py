"""Provisioning a cloud in memory with a replaced ssh: up, up again, repair, down."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stargaze.errors import ConfigError, CredentialsError, ExternalError, MissingInputError, StargazeError
from stargaze.infra.ansible.configure import ensure_ray_token
from stargaze.infra.hosts.host_keys import forget_host_key, learn_host_keys
from stargaze.infra.hosts.host_list import read_hosts
from stargaze.infra.hosts.state_dir import StateDir, ensure_private_key, open_state_dir, read_pins
from stargaze.infra.plan.offers import Limit, Offers
from stargaze.infra.plan.resources import ActualResource
from stargaze.infra.provision import bring_up, plan_down, plan_up, tear_down
from stargaze.store import Store
from tests.infra.conftest import OFFERS, SECTION, FakeCloud


def ignore(*_: str) -> None:
    """Report nothing."""


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return open_state_dir(SECTION, Store(tmp_path))


@pytest.fixture(autouse=True)
def ssh_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Replace ssh by a program that prints this file to stderr and fails, or succeeds if the file is empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    error = tmp_path / "error"
    error.write_text("")
    program = folder / "ssh"
    program.write_text(f"#!/bin/sh\ncat {error} >&2\ntest ! -s {error}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return error


def test_up_creates_five_machines_and_a_second_run_changes_nothing(cloud: FakeCloud, state_dir: StateDir) -> None:
    hosts = bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    cloud.calls.clear()

    again = plan_up(SECTION, cloud, state_dir)
    bring_up(SECTION, cloud, state_dir, again, ignore)

    assert [host.machine.name for host in hosts] == [
        "orchestration",
        "development",
        "parameter1",
        "production1",
        "production2",
    ]
    assert again.changes == ()
    assert cloud.calls == []
    assert read_hosts(SECTION, state_dir) == hosts


def test_the_host_keys_of_new_servers_are_pinned_and_never_read_again(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    before = state_dir.known_hosts.read_text()
    server = next(resource for resource in cloud.existing if resource.key == "server stargaze-production1")
    cloud.consoles[server.id] = cloud.console_output(server.id).replace("AAAA", "EVIL")

    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)

    assert f"production1 ssh-ed25519 AAAA{server.id}\n" in before
    assert state_dir.known_hosts.read_text() == before


def test_a_server_that_is_created_again_gets_a_new_pin(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    old = next(resource for resource in cloud.existing if resource.key == "server stargaze-production1")
    cloud.existing.remove(old)

    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)

    assert old.id not in state_dir.known_hosts.read_text()
    assert read_pins(state_dir)["production1"]["id"] != old.id
    assert len(state_dir.known_hosts.read_text().splitlines()) == 5


def test_a_console_without_keys_is_an_error_after_the_timeout(cloud: FakeCloud, state_dir: StateDir) -> None:
    cloud.console_output = lambda _: "FAKE CONSOLE OUTPUT"  # type: ignore[method-assign]
    section = replace(SECTION, timeout=0)

    with pytest.raises(ExternalError, match="orchestration: no ssh host keys in its console output") as caught:
        bring_up(section, cloud, state_dir, plan_up(section, cloud, state_dir), ignore)

    assert "first-use" in caught.value.hint


def test_with_first_use_a_known_key_stays_until_its_server_is_replaced(cloud: FakeCloud, state_dir: StateDir) -> None:
    section = replace(SECTION, host_keys="first-use")
    learn_host_keys(section, {"development": "a", "production1": "b"}, cloud, state_dir)
    state_dir.known_hosts.write_text("development ssh-ed25519 AAAA\nproduction1 ssh-ed25519 BBBB\n")

    learn_host_keys(section, {"development": "a", "production1": "c"}, cloud, state_dir)

    assert state_dir.known_hosts.read_text() == "development ssh-ed25519 AAAA\n"


@pytest.mark.parametrize(
    ("stderr", "kind", "message", "ending"),
    [
        (
            "Permission denied (publickey).",
            ExternalError,
            "ssh login to orchestration (10.20.0.",
            "failed: Permission denied (publickey).",
        ),
        (
            "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@",
            CredentialsError,
            "the host key of orchestration (10.20.0.",
            "it may be a different machine",
        ),
    ],
)
def test_a_failed_ssh_login_names_the_machine(
    cloud: FakeCloud,
    state_dir: StateDir,
    ssh_stderr: Path,
    stderr: str,
    kind: type[StargazeError],
    message: str,
    ending: str,
) -> None:
    ssh_stderr.write_text(stderr)
    section = replace(SECTION, timeout=0)

    with pytest.raises(kind) as caught:
        bring_up(section, cloud, state_dir, plan_up(section, cloud, state_dir), ignore)

    assert caught.value.message.startswith(message)
    assert caught.value.message.endswith(ending)


def test_problems_are_raised_before_anything_is_created(state_dir: StateDir) -> None:
    cloud = FakeCloud(replace(OFFERS, images=(), limits={"servers": Limit(2, 0)}))
    plan = plan_up(SECTION, cloud, state_dir)

    with pytest.raises(ExternalError) as caught:
        bring_up(SECTION, cloud, state_dir, plan, ignore)

    assert "infra.image: debian-12 was not found" in caught.value.message
    assert "5 more servers needed, 2 of 2 available" in caught.value.message
    assert cloud.calls == []


def test_without_ssh_from_only_this_machine_may_connect(cloud: FakeCloud, state_dir: StateDir) -> None:
    section = replace(SECTION, ssh_from=[])

    plan = plan_up(section, cloud, state_dir)

    (rules,) = [step.desired.spec["rules"] for step in plan.steps if step.key == "rules stargaze-jump" and step.desired]
    assert rules == ["tcp 22 from 127.0.0.1/32"]


def test_down_deletes_everything_and_the_list_of_machines(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)

    tear_down(cloud, state_dir, plan_down(cloud), ignore)

    assert cloud.existing == []
    with pytest.raises(MissingInputError, match="no machines have been created"):
        read_hosts(SECTION, state_dir)


def test_down_names_what_could_not_be_deleted(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    cloud.delete = lambda resource: None  # type: ignore[method-assign]

    with pytest.raises(ExternalError, match=r"could not be deleted: .*server stargaze-production2"):
        tear_down(cloud, state_dir, plan_down(cloud), ignore)


def test_down_deletes_a_resource_that_appears_during_the_run(cloud: FakeCloud, state_dir: StateDir) -> None:
    """For example a port of a killed run, which keeps its security group in use."""
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    late = next(resource for resource in cloud.existing if resource.kind == "port")
    cloud.existing.remove(late)
    plan = plan_down(cloud)
    cloud.existing.append(late)
    delete = cloud.delete

    def refuse(resource: ActualResource) -> None:
        if resource.kind == "security group" and late in cloud.existing:
            raise ExternalError(f"{resource.key} could not be deleted: in use", hint="")
        delete(resource)

    cloud.delete = refuse  # type: ignore[method-assign]

    tear_down(cloud, state_dir, plan, ignore)

    assert cloud.existing == []


def test_down_stops_when_a_resource_cannot_be_deleted(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    calls = []

    def refuse(resource: ActualResource) -> None:
        calls.append(resource.key)
        raise ExternalError(f"{resource.key} could not be deleted: locked", hint="")

    cloud.delete = refuse  # type: ignore[method-assign]

    with pytest.raises(ExternalError, match="locked"):
        tear_down(cloud, state_dir, plan_down(cloud), ignore)

    assert len(calls) == len(set(calls))


def test_a_forgotten_host_key_is_read_again(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)

    forget_host_key(state_dir, "production1")

    assert "production1 " not in state_dir.known_hosts.read_text()
    with pytest.raises(MissingInputError, match="no host key of production1 is known"):
        forget_host_key(state_dir, "production1")
    with pytest.raises(ConfigError):
        forget_host_key(state_dir, "nothing")
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    assert "production1 " in state_dir.known_hosts.read_text()


def test_with_first_use_only_the_named_machine_is_forgotten(cloud: FakeCloud, state_dir: StateDir) -> None:
    section = replace(SECTION, host_keys="first-use")
    learn_host_keys(section, {"development": "a", "production1": "b"}, cloud, state_dir)
    state_dir.known_hosts.write_text("development ssh-ed25519 AAAA\nproduction1 ssh-ed25519 BBBB\n")

    forget_host_key(state_dir, "production1")

    assert state_dir.known_hosts.read_text() == "development ssh-ed25519 AAAA\n"


def test_an_unpinned_host_key_can_be_forgotten(state_dir: StateDir) -> None:
    """For example of a static machine: ssh added it to known_hosts at the first connection."""
    state_dir.known_hosts.write_text("development ssh-ed25519 AAAA\nproduction1 ssh-ed25519 BBBB\n")

    forget_host_key(state_dir, "production1")

    assert state_dir.known_hosts.read_text() == "development ssh-ed25519 AAAA\n"


def test_a_foreign_keypair_is_used_and_never_deleted(cloud: FakeCloud, state_dir: StateDir) -> None:
    named = replace(SECTION, keypair="stargaze", key_file=str(ensure_private_key(SECTION, state_dir)))
    foreign = ActualResource("keypair", "stargaze", "stargaze", {"public_key": "ssh-ed25519 BBBB"}, is_foreign=True)
    cloud.offered = replace(OFFERS, keypairs=("stargaze",))
    cloud.existing.append(foreign)

    plan = plan_up(named, cloud, state_dir)
    bring_up(named, cloud, state_dir, plan, ignore)
    tear_down(cloud, state_dir, plan_down(cloud), ignore)

    assert plan.problems == ()
    assert cloud.existing == [foreign]


def test_a_production_machine_leaves_the_swarm_before_it_is_deleted(
    cloud: FakeCloud, state_dir: StateDir, tmp_path: Path, ssh_stderr: Path
) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    log = tmp_path / "log"
    (tmp_path / "bin" / "ssh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\n')
    smaller, messages = replace(SECTION, production_servers=1), list[str]()
    left_swarm: list[bool] = []
    delete = cloud.delete

    def record_and_delete(resource: ActualResource) -> None:
        left_swarm.append(log.is_file())
        delete(resource)

    cloud.delete = record_and_delete  # type: ignore[method-assign]
    bring_up(
        smaller,
        cloud,
        state_dir,
        plan_up(smaller, cloud, state_dir),
        lambda row, *_: messages.append(row),
    )

    assert "production2 has left the Swarm" in messages
    commands = log.read_text()
    assert "docker node rm --force" in commands
    assert "HostKeyAlias=production1" in commands
    assert all(left_swarm)
    assert left_swarm


def test_a_machine_that_cannot_leave_the_swarm_is_deleted_anyway(
    cloud: FakeCloud, state_dir: StateDir, tmp_path: Path
) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)
    program = tmp_path / "bin" / "ssh"
    program.write_text('#!/bin/sh\ncase "$*" in *"docker node"*) echo "no majority" >&2; exit 1;; esac\n')
    smaller, messages = replace(SECTION, production_servers=1), list[str]()

    bring_up(
        smaller,
        cloud,
        state_dir,
        plan_up(smaller, cloud, state_dir),
        lambda row, *_: messages.append(row),
    )

    assert "production2 could not leave the Swarm: production1: no majority" in messages
    assert "server stargaze-production2" not in [resource.key for resource in cloud.existing]


def test_a_network_with_attached_machines_is_not_deleted(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), ignore)

    plan = plan_up(replace(SECTION, network="shared"), cloud, state_dir)

    assert ["interface stargaze" in problem.message for problem in plan.problems] == [True]
    assert "infra down first" in plan.problems[0].hint


def test_the_state_directory_is_accessible_only_by_its_owner(state_dir: StateDir) -> None:
    key = ensure_private_key(SECTION, state_dir)

    assert stat.S_IMODE(state_dir.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert ensure_private_key(SECTION, state_dir) == key
    assert stat.S_IMODE(ensure_ray_token(state_dir).stat().st_mode) == 0o600
    assert len(ensure_ray_token(state_dir).read_text()) == 64


@pytest.mark.parametrize(("mode", "message"), [(None, "does not exist"), (0o644, "others can read")])
def test_a_configured_key_is_checked(state_dir: StateDir, tmp_path: Path, mode: int | None, message: str) -> None:
    key = tmp_path / "key"
    if mode:
        key.write_text("x")
        key.chmod(mode)

    with pytest.raises(CredentialsError, match=message):
        ensure_private_key(replace(SECTION, key_file=str(key)), state_dir)


@pytest.mark.parametrize(
    "content", ['{"development": {"address": "10.20.0.9", "inside": "10.20.0.9", "user": "debian"}}', "{"]
)
def test_a_host_list_of_an_older_version_names_the_file_and_the_command(state_dir: StateDir, content: str) -> None:
    state_dir.hosts.write_text(content)

    with pytest.raises(MissingInputError, match=r"hosts\.json is damaged or was written by an older version") as caught:
        read_hosts(SECTION, state_dir)

    assert caught.value.hint == f"rm {state_dir.hosts}; stargaze infra up"


def test_damaged_pins_name_the_file(state_dir: StateDir) -> None:
    state_dir.pins.write_text("{")

    with pytest.raises(ExternalError, match=r"pins\.json: not valid JSON"):
        read_pins(state_dir)


def test_a_cloud_without_offers_has_problems(state_dir: StateDir) -> None:
    plan = plan_up(SECTION, FakeCloud(Offers()), state_dir)

    assert len(plan.problems) == 3

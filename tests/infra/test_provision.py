"""The whole way, over a cloud without a network and an ssh of our own: up, again, healed, down."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stargaze.errors import ConfigError, CredentialsError, ExternalError, MissingInputError
from stargaze.infra import provision as cluster
from stargaze.infra.hosts import state_dir as workroom
from stargaze.infra.hosts.host_keys import forget_host_key, learn_host_keys
from stargaze.infra.hosts.state_dir import StateDir, ensure_private_key, open_state_dir, read_pins
from stargaze.infra.plan.offers import Limit, Offers
from stargaze.infra.plan.resources import ActualResource
from stargaze.infra.provision import ProgressCallbacks, bring_up, plan_down, plan_up, read_hosts, tear_down
from stargaze.store import Store
from tests.infra.conftest import OFFERS, SECTION, FakeCloud

QUIET = ProgressCallbacks(lambda *_: None, lambda _: None)


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return open_state_dir(SECTION, Store(tmp_path))


@pytest.fixture(autouse=True)
def reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ssh that says what a file says; nothing in it means that we are let in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    said = tmp_path / "said"
    said.write_text("")
    program = folder / "ssh"
    program.write_text(f"#!/bin/sh\ncat {said} >&2\ntest ! -s {said}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return said


def test_up_brings_five_machines_that_answer_and_again_changes_nothing(cloud: FakeCloud, state_dir: StateDir) -> None:
    hosts = bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    cloud.calls.clear()

    again = plan_up(SECTION, cloud, state_dir)
    bring_up(SECTION, cloud, state_dir, again, QUIET)

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


def test_the_keys_of_new_machines_are_pinned_by_name_and_those_of_old_ones_never_learnt_again(
    cloud: FakeCloud, state_dir: StateDir
) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    before = state_dir.known_hosts.read_text()
    server = next(one for one in cloud.things if one.key == "server stargaze-production1")
    cloud.consoles[server.id] = cloud.console(server.id).replace("AAAA", "EVIL")

    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)

    assert f"production1 ssh-ed25519 AAAA{server.id}\n" in before
    assert state_dir.known_hosts.read_text() == before


def test_a_machine_that_is_made_anew_gets_a_new_pin(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    old = next(one for one in cloud.things if one.key == "server stargaze-production1")
    cloud.things.remove(old)

    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)

    assert old.id not in state_dir.known_hosts.read_text()
    assert read_pins(state_dir)["production1"]["id"] != old.id
    assert len(state_dir.known_hosts.read_text().splitlines()) == 5


def test_a_console_that_tells_no_key_is_waited_for_only_so_long(cloud: FakeCloud, state_dir: StateDir) -> None:
    cloud.console = lambda _: "FAKE CONSOLE OUTPUT"  # type: ignore[method-assign]
    section = replace(SECTION, patience=0)

    with pytest.raises(ExternalError, match="orchestration: its console tells no ssh host keys") as caught:
        bring_up(section, cloud, state_dir, plan_up(section, cloud, state_dir), QUIET)

    assert "first-use" in caught.value.hint


def test_at_first_use_what_was_met_stays_met(cloud: FakeCloud, state_dir: StateDir) -> None:
    section = replace(SECTION, host_keys="first-use")
    learn_host_keys(section, {"development": "a", "production1": "b"}, cloud, state_dir)
    state_dir.known_hosts.write_text("development ssh-ed25519 AAAA\nproduction1 ssh-ed25519 BBBB\n")

    learn_host_keys(section, {"development": "a", "production1": "c"}, cloud, state_dir)

    assert state_dir.known_hosts.read_text() == "development ssh-ed25519 AAAA\n"


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("Permission denied (publickey).", ExternalError, "does not let us in by ssh: Permission denied"),
        ("@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@", CredentialsError, "shows another host key"),
    ],
)
def test_a_machine_that_does_not_let_us_in_is_named(
    cloud: FakeCloud, state_dir: StateDir, reachable: Path, said: str, kind: type[Exception], message: str
) -> None:
    reachable.write_text(said)
    section = replace(SECTION, patience=0)

    with pytest.raises(kind) as caught:
        bring_up(section, cloud, state_dir, plan_up(section, cloud, state_dir), QUIET)

    assert str(caught.value).startswith("orchestration (10.20.0.")
    assert message in str(caught.value)


def test_what_is_missing_stops_before_anything_is_made(state_dir: StateDir) -> None:
    cloud = FakeCloud(replace(OFFERS, images=(), limits={"servers": Limit(2, 0)}))
    todo = plan_up(SECTION, cloud, state_dir)

    with pytest.raises(ExternalError) as caught:
        bring_up(SECTION, cloud, state_dir, todo, QUIET)

    assert "infra.image: debian-12 is not there" in caught.value.message
    assert "5 more servers are needed, 2 are left of 2" in caught.value.message
    assert cloud.calls == []


def test_ssh_is_open_to_this_machine_alone_where_the_config_names_nobody(cloud: FakeCloud, state_dir: StateDir) -> None:
    section = replace(SECTION, ssh_from=[])

    todo = plan_up(section, cloud, state_dir)

    (rules,) = [
        step.resource.spec["rules"] for step in todo.steps if step.key == "rules stargaze-jump" and step.resource
    ]
    assert rules == ["tcp 22 from 127.0.0.1/32"]


def test_down_leaves_nothing_and_forgets_the_machines(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)

    tear_down(cloud, state_dir, plan_down(cloud), QUIET)

    assert cloud.things == []
    with pytest.raises(MissingInputError, match="no machines were brought up"):
        read_hosts(SECTION, state_dir)


def test_down_says_what_is_left(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    cloud.remove = lambda found: None  # type: ignore[method-assign]

    with pytest.raises(ExternalError, match=r"still there: .*server stargaze-production2"):
        tear_down(cloud, state_dir, plan_down(cloud), QUIET)


def test_down_takes_what_appears_while_it_goes(cloud: FakeCloud, state_dir: StateDir) -> None:
    """As a port that a killed run had asked for: it keeps its security group in use."""
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    late = next(one for one in cloud.things if one.kind == "port")
    cloud.things.remove(late)
    todo = plan_down(cloud)
    cloud.things.append(late)
    remove = cloud.remove

    def refuse(found: ActualResource) -> None:
        if found.kind == "security group" and late in cloud.things:
            raise ExternalError(f"{found.key} could not be deleted: in use", hint="")
        remove(found)

    cloud.remove = refuse  # type: ignore[method-assign]

    tear_down(cloud, state_dir, todo, QUIET)

    assert cloud.things == []


def test_down_does_not_try_for_ever_what_cannot_go(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    calls = []

    def refuse(found: ActualResource) -> None:
        calls.append(found.key)
        raise ExternalError(f"{found.key} could not be deleted: locked", hint="")

    cloud.remove = refuse  # type: ignore[method-assign]

    with pytest.raises(ExternalError, match="locked"):
        tear_down(cloud, state_dir, plan_down(cloud), QUIET)

    assert len(calls) == len(set(calls))


def test_a_key_that_was_forgotten_is_learnt_again(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)

    forget_host_key(state_dir, "production1")

    assert "production1 " not in state_dir.known_hosts.read_text()
    with pytest.raises(MissingInputError, match="no host key of production1 is known"):
        forget_host_key(state_dir, "production1")
    with pytest.raises(ConfigError):
        forget_host_key(state_dir, "nothing")
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    assert "production1 " in state_dir.known_hosts.read_text()


def test_who_is_forgotten_at_first_use_is_the_only_one(cloud: FakeCloud, state_dir: StateDir) -> None:
    section = replace(SECTION, host_keys="first-use")
    learn_host_keys(section, {"development": "a", "production1": "b"}, cloud, state_dir)
    state_dir.known_hosts.write_text("development ssh-ed25519 AAAA\nproduction1 ssh-ed25519 BBBB\n")

    forget_host_key(state_dir, "production1")

    assert state_dir.known_hosts.read_text() == "development ssh-ed25519 AAAA\n"


def test_a_key_of_a_machine_that_was_only_met_is_forgotten_too(state_dir: StateDir) -> None:
    """One of a static provider: nothing was pinned, ssh wrote down whom it met."""
    state_dir.known_hosts.write_text("development ssh-ed25519 AAAA\nproduction1 ssh-ed25519 BBBB\n")

    forget_host_key(state_dir, "production1")

    assert state_dir.known_hosts.read_text() == "development ssh-ed25519 AAAA\n"


def test_a_keypair_without_our_mark_is_used_and_never_deleted(cloud: FakeCloud, state_dir: StateDir) -> None:
    named = replace(SECTION, keypair="stargaze", key_file=str(ensure_private_key(SECTION, state_dir)))
    theirs = ActualResource("keypair", "stargaze", "stargaze", {"public_key": "ssh-ed25519 BBBB"}, foreign=True)
    cloud.given = replace(OFFERS, keypairs=("stargaze",))
    cloud.things.append(theirs)

    todo = plan_up(named, cloud, state_dir)
    bring_up(named, cloud, state_dir, todo, QUIET)
    tear_down(cloud, state_dir, plan_down(cloud), QUIET)

    assert todo.missing == ()
    assert cloud.things == [theirs]


def test_a_production_machine_that_goes_leaves_the_swarm_before(
    cloud: FakeCloud, state_dir: StateDir, tmp_path: Path, reachable: Path
) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    asked = tmp_path / "asked"
    (tmp_path / "bin" / "ssh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{asked}\n')
    smaller, said = replace(SECTION, production=1), list[str]()
    gone_before: list[bool] = []
    remove = cloud.remove

    def removed(found: ActualResource) -> None:
        gone_before.append(asked.is_file())
        remove(found)

    cloud.remove = removed  # type: ignore[method-assign]
    bring_up(
        smaller, cloud, state_dir, plan_up(smaller, cloud, state_dir), ProgressCallbacks(lambda *_: None, said.append)
    )

    assert "production2 has left the Swarm" in said
    words = asked.read_text()
    assert "docker node rm --force" in words
    assert "HostKeyAlias=production1" in words
    assert all(gone_before)
    assert gone_before


def test_a_machine_that_cannot_leave_the_swarm_goes_all_the_same(
    cloud: FakeCloud, state_dir: StateDir, tmp_path: Path
) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)
    program = tmp_path / "bin" / "ssh"
    program.write_text('#!/bin/sh\ncase "$*" in *"docker node"*) echo "no majority" >&2; exit 1;; esac\n')
    smaller, said = replace(SECTION, production=1), list[str]()

    bring_up(
        smaller, cloud, state_dir, plan_up(smaller, cloud, state_dir), ProgressCallbacks(lambda *_: None, said.append)
    )

    assert "production2 could not leave the Swarm: production1: no majority" in said
    assert "server stargaze-production2" not in [one.key for one in cloud.things]


def test_a_network_is_not_taken_from_under_machines(cloud: FakeCloud, state_dir: StateDir) -> None:
    bring_up(SECTION, cloud, state_dir, plan_up(SECTION, cloud, state_dir), QUIET)

    todo = plan_up(replace(SECTION, network="shared"), cloud, state_dir)

    assert ["interface stargaze" in one.what for one in todo.missing] == [True]
    assert "infra down first" in todo.missing[0].hint


def test_the_room_and_its_key_are_for_their_owner_alone(state_dir: StateDir) -> None:
    key = ensure_private_key(SECTION, state_dir)

    assert stat.S_IMODE(state_dir.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert ensure_private_key(SECTION, state_dir) == key
    assert stat.S_IMODE(cluster.ensure_ray_token(state_dir).stat().st_mode) == 0o600
    assert len(cluster.ensure_ray_token(state_dir).read_text()) == 64


@pytest.mark.parametrize(("mode", "said"), [(None, "is not there"), (0o644, "others may read")])
def test_a_key_of_ones_own_is_checked(state_dir: StateDir, tmp_path: Path, mode: int | None, said: str) -> None:
    key = tmp_path / "key"
    if mode:
        key.write_text("x")
        key.chmod(mode)

    with pytest.raises(CredentialsError, match=said):
        ensure_private_key(replace(SECTION, key_file=str(key)), state_dir)


def test_pins_that_are_not_json_name_the_file(state_dir: StateDir) -> None:
    state_dir.pins.write_text("{")

    with pytest.raises(ExternalError, match=r"pins\.json: is not JSON"):
        workroom.read_pins(state_dir)


def test_without_any_offer_there_is_no_plan_but_words(state_dir: StateDir) -> None:
    todo = plan_up(SECTION, FakeCloud(Offers()), state_dir)

    assert len(todo.missing) == 3

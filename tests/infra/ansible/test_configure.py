"""When machines count as configured: these machines, with the same, to the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stargaze.config.sections import InfraSection
from stargaze.errors import ExternalError, UsageError
from stargaze.infra.ansible import configure as configuration
from stargaze.infra.ansible.configure import configured, is_configured
from stargaze.infra.hosts.host_keys import check_known
from stargaze.infra.hosts.state_dir import StateDir, pin, workroom_of
from stargaze.infra.machines import Host, machines
from stargaze.infra.provision import keep_hosts
from stargaze.store import Store
from tests.infra.conftest import SECTION


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def room(store: Store, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """Five machines that were configured."""
    room = workroom_of(SECTION, store)
    keep_hosts(room, [Host(one, "10.20.0.9", "10.20.0.9", "debian") for one in machines(SECTION)])
    pin(room, {one.name: (f"id of {one.name}", ["ssh-ed25519 AAAA"]) for one in machines(SECTION)})
    store.keys.mkdir()
    (store.keys / "allowed_signers").write_text("somebody\n")
    monkeypatch.setattr(configuration, "configure", lambda *_, **__: SimpleNamespace(changed={}))
    configured(SECTION, room, store)
    return room


def test_what_was_configured_with_the_same_is_configured(room: StateDir, store: Store) -> None:
    assert is_configured(SECTION, room, store)


@pytest.mark.parametrize(
    "change",
    [
        lambda room, _: pin(room, {one.name: ("another id", ["ssh-ed25519 AAAA"]) for one in machines(SECTION)}),
        lambda _, store: (store.keys / "allowed_signers").write_text("somebody else\n"),
        lambda room, _: room.ray_token.write_text("another"),
    ],
    ids=["a server that was made anew", "who may sign", "Ray's token"],
)
def test_what_changed_since_is_not(room: StateDir, store: Store, change: Callable[[StateDir, Store], object]) -> None:
    change(room, store)

    assert not is_configured(SECTION, room, store)


def test_what_a_run_left_half_done_is_not(room: StateDir, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: object, **__: object) -> None:
        raise ExternalError("it failed in its middle")

    monkeypatch.setattr(configuration, "configure", failed)
    with pytest.raises(ExternalError):
        configured(replace(SECTION, page_port=8080), room, store)

    assert not is_configured(SECTION, room, store)


def test_a_check_changes_nothing_of_that(room: StateDir, store: Store) -> None:
    configured(replace(SECTION, page_port=8080), room, store, check=True)

    assert is_configured(SECTION, room, store)


def test_machines_that_exist_and_whose_keys_nobody_knows_are_said_so(tmp_path: Path) -> None:
    section = InfraSection(provider="static", hosts={"development": "me@10.0.0.4", "production1": "me@10.0.0.5"})
    room = workroom_of(section, Store(tmp_path))
    room.known_hosts.write_text("development ssh-ed25519 AAAA\n")

    with pytest.raises(UsageError, match="no ssh host key of production1 is known") as caught:
        configured(section, room, Store(tmp_path))

    assert 'infra.host_keys = "first-use"' in caught.value.hint
    check_known(replace(section, host_keys="first-use"), room)
    room.known_hosts.write_text("development ssh-ed25519 AAAA\nproduction1 ssh-ed25519 BBBB\n")
    check_known(section, room)

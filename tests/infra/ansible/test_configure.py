"""Machines are up to date after a complete run on the same servers with the same files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stargaze.config import POLICIES, FeaturesSection, InfraSection
from stargaze.errors import ExternalError, UsageError
from stargaze.features.dataset import FeatureSet, write_feature_set
from stargaze.features.encoding.word_vectors import DEPENDENCIES
from stargaze.infra.ansible import configure
from stargaze.infra.ansible.configure import configure_hosts, is_up_to_date, prepare_inventory
from stargaze.infra.hosts.host_keys import check_host_keys
from stargaze.infra.hosts.host_list import write_hosts
from stargaze.infra.hosts.state_dir import StateDir, open_state_dir, pin_host_keys
from stargaze.infra.machines import Host, list_machines
from stargaze.store import Store
from tests.infra.conftest import SECTION


def ignore(*_: object) -> None:
    """Ignore the progress."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def state_dir(store: Store, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """The state directory after five machines were configured."""
    state_dir = open_state_dir(SECTION, store)
    write_hosts(state_dir, [Host(machine, "10.20.0.9", "10.20.0.9", "debian") for machine in list_machines(SECTION)])
    pin_host_keys(
        state_dir, {machine.name: (f"id of {machine.name}", ["ssh-ed25519 AAAA"]) for machine in list_machines(SECTION)}
    )
    store.keys.mkdir()
    (store.keys / "allowed_signers").write_text("somebody\n")
    monkeypatch.setattr(configure, "run_playbook", lambda *_, **__: SimpleNamespace(changed={}))
    configure_hosts(SECTION, state_dir, store, ignore)
    return state_dir


def select(store: Store, *names: str) -> None:
    """Write a feature set with these features."""
    write_feature_set(store, FeatureSet({policy: list(names) for policy in POLICIES}, {}, FeaturesSection(), "", {}))


def test_after_a_run_the_machines_are_up_to_date(state_dir: StateDir, store: Store) -> None:
    assert is_up_to_date(SECTION, state_dir, store)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [
        lambda state_dir, _: pin_host_keys(
            state_dir, {machine.name: ("another id", ["ssh-ed25519 AAAA"]) for machine in list_machines(SECTION)}
        ),
        lambda _, store: (store.keys / "allowed_signers").write_text("somebody else\n"),
        lambda state_dir, _: state_dir.ray_token.write_text("another"),
    ],
    ids=["a server that was created again", "who may sign", "Ray's token"],
)
def test_a_change_since_the_run_is_detected(
    state_dir: StateDir, store: Store, change: Callable[[StateDir, Store], object]
) -> None:
    change(state_dir, store)

    assert not is_up_to_date(SECTION, state_dir, store)


def test_the_machines_have_the_extras_if_the_selected_features_need_embeddings(
    state_dir: StateDir, store: Store
) -> None:
    """Features are selected after the first configuration; the machines are then configured again."""
    select(store, "age")
    without = prepare_inventory(SECTION, state_dir, store)[1].lock
    assert is_up_to_date(SECTION, state_dir, store)

    select(store, "age", "embedding_score")

    lock = Path(prepare_inventory(SECTION, state_dir, store)[1].lock)
    assert not is_up_to_date(SECTION, state_dir, store)
    locked = [set(re.findall(r"^([\w.-]+)==", path.read_text(), re.MULTILINE)) for path in (Path(without), lock)]
    assert {"wordllama", *DEPENDENCIES} <= locked[1] - locked[0]
    store.features.write_text("{}")
    assert prepare_inventory(SECTION, state_dir, store)[1].lock == without


def test_after_a_failed_run_the_machines_are_not_up_to_date(
    state_dir: StateDir, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_: object, **__: object) -> None:
        raise ExternalError("a task failed")

    monkeypatch.setattr(configure, "run_playbook", failed)
    with pytest.raises(ExternalError):
        configure_hosts(replace(SECTION, page_port=8080), state_dir, store, ignore)

    assert not is_up_to_date(SECTION, state_dir, store)


def test_a_check_leaves_the_machines_up_to_date(state_dir: StateDir, store: Store) -> None:
    configure_hosts(replace(SECTION, page_port=8080), state_dir, store, ignore, check=True)

    assert is_up_to_date(SECTION, state_dir, store)


def test_static_machines_with_unknown_host_keys_are_an_error(tmp_path: Path) -> None:
    section = InfraSection(provider="static", hosts={"development": "me@10.0.0.4", "production1": "me@10.0.0.5"})
    state_dir = open_state_dir(section, Store(tmp_path))
    state_dir.known_hosts.write_text("development ssh-ed25519 AAAA\n")

    with pytest.raises(UsageError, match="no ssh host key of production1 is known") as caught:
        configure_hosts(section, state_dir, Store(tmp_path), ignore)

    assert 'infra.host_keys = "first-use"' in caught.value.hint
    check_host_keys(replace(section, host_keys="first-use"), state_dir)
    state_dir.known_hosts.write_text("development ssh-ed25519 AAAA\nproduction1 ssh-ed25519 BBBB\n")
    check_host_keys(section, state_dir)

"""What the processes are told, and whom they trust."""

from __future__ import annotations

import stat

import pytest

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import read_environment, session_key, to_environment, trusted_hosts
from stargaze.store import Store


def test_the_environment_brings_the_section_back(store: Store) -> None:
    section = ServeSection(port=8123, worker_processes=3, time_limit=12.5)

    assert read_environment(to_environment(section, store)) == (section, Store(store.root.resolve()))


def test_every_process_signs_with_the_same_key(store: Store) -> None:
    assert session_key(store) == session_key(store)


def test_the_key_is_for_its_owner_alone(store: Store) -> None:
    session_key(store)

    assert stat.S_IMODE((store.keys / "session.key").stat().st_mode) == 0o600


def test_two_stores_have_two_keys(store: Store) -> None:
    assert session_key(store) != session_key(Store(store.root / "other"))


@pytest.mark.parametrize(
    ("host", "name"),
    [("127.0.0.1", "localhost"), ("192.0.2.7", "192.0.2.7"), ("0.0.0.0", "127.0.0.1")],
)
def test_the_server_goes_by_its_own_names(host: str, name: str) -> None:
    assert name in trusted_hosts(ServeSection(host=host))


def test_no_other_name_is_trusted() -> None:
    assert "example.com" not in trusted_hosts(ServeSection(host="0.0.0.0"))

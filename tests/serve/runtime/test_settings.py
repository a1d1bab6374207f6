"""Settings in the environment, the session key, and trusted host names."""

from __future__ import annotations

import stat

import pytest

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import read_environment, session_key, to_environment, trusted_hosts
from stargaze.store import Store


def test_the_environment_preserves_the_section(store: Store) -> None:
    section = ServeSection(port=8123, worker_processes=3, time_limit=12.5)

    assert read_environment(to_environment(section, store)) == (section, Store(store.root.resolve()))


def test_every_process_gets_the_same_session_key(store: Store) -> None:
    assert session_key(store) == session_key(store)


def test_the_session_key_is_readable_by_its_owner_only(store: Store) -> None:
    session_key(store)

    assert stat.S_IMODE((store.keys / "session.key").stat().st_mode) == 0o600


def test_each_store_has_its_own_session_key(store: Store) -> None:
    assert session_key(store) != session_key(Store(store.root / "other"))


@pytest.mark.parametrize(
    ("host", "name"),
    [("127.0.0.1", "localhost"), ("192.0.2.7", "192.0.2.7"), ("0.0.0.0", "127.0.0.1")],
)
def test_the_servers_own_names_are_trusted(host: str, name: str) -> None:
    assert name in trusted_hosts(ServeSection(host=host))


def test_no_other_name_is_trusted() -> None:
    assert "example.com" not in trusted_hosts(ServeSection(host="0.0.0.0"))

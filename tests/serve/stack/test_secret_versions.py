"""Versions of production's secrets."""

from __future__ import annotations

import hashlib

import pytest

from stargaze.serve.stack import secret_versions


def secret_names(*versions: int) -> list[str]:
    return [f"stargaze_{name}_{version}" for name in secret_versions.SECRET_NAMES for version in versions]


def test_a_version_is_complete_and_differs_from_others() -> None:
    first, second = secret_versions.generate_secrets(1), secret_versions.generate_secrets(2)

    assert sorted(first) == sorted(secret_names(1))
    assert not set(first.values()) & set(second.values())


def test_broker_and_results_have_the_passwords_of_web() -> None:
    result = secret_versions.generate_secrets(3)
    password = result["stargaze_results_3"]

    assert f"default_pass = {result['stargaze_broker_3'].decode()}\n".encode() in result["stargaze_broker_conf_3"]
    assert b"default_user = stargaze_3\n" in result["stargaze_broker_conf_3"]
    assert (
        f"user stargaze_3 on #{hashlib.sha256(password).hexdigest()} ~* &* +@all\n".encode()
        in result["stargaze_results_conf_3"]
    )
    assert password not in result["stargaze_results_conf_3"]


def test_an_incomplete_version_is_never_used() -> None:
    names = [*secret_names(1), "stargaze_broker_2", "stargaze_cookie", "another"]

    assert secret_versions.complete_versions(names) == [1]
    assert secret_versions.next_version(names) == 3
    assert secret_versions.older_secrets(names, 3) == sorted([*secret_names(1), "stargaze_broker_2"])
    assert secret_versions.next_version([]) == 1


def service(*names: str) -> dict[str, object]:
    secrets = [{"SecretName": name} for name in names]
    return {"Spec": {"TaskTemplate": {"ContainerSpec": {"Secrets": secrets}}}}


def test_versions_in_use_are_read_from_the_services() -> None:
    services = [service("stargaze_broker_2", "stargaze_session_2"), service("stargaze_broker_conf_1"), service()]

    assert secret_versions.versions_in_use(services) == (2, 1)
    assert secret_versions.versions_in_use([]) is None


@pytest.mark.parametrize("turned", [False, True], ids=["in this order", "in the other"])
def test_mixed_versions_are_the_older_for_web_and_the_newer_for_backing_services(turned: bool) -> None:
    """As after a partial rollback by Swarm."""
    pages = [service("stargaze_broker_1"), service("stargaze_broker_2"), service("stargaze_broker_conf_1")]
    services = [service("stargaze_broker_2"), service("stargaze_broker_conf_1"), service("stargaze_results_conf_2")]

    assert secret_versions.versions_in_use(pages[::-1] if turned else pages) == (1, 1)
    assert secret_versions.versions_in_use(services[::-1] if turned else services) == (2, 2)

"""Secrets of production by their versions."""

from __future__ import annotations

import hashlib

import pytest

from stargaze.serve.stack import secret_versions


def held(*versions: int) -> list[str]:
    return [f"stargaze_{name}_{version}" for name in secret_versions.SECRET_NAMES for version in versions]


def test_one_version_is_made_whole_and_no_two_are_alike() -> None:
    one, two = secret_versions.generate_secrets(1), secret_versions.generate_secrets(2)

    assert sorted(one) == sorted(held(1))
    assert not set(one.values()) & set(two.values())


def test_queue_and_results_know_what_the_page_shows() -> None:
    made = secret_versions.generate_secrets(3)
    password = made["stargaze_results_3"]

    assert f"default_pass = {made['stargaze_broker_3'].decode()}\n".encode() in made["stargaze_broker_conf_3"]
    assert b"default_user = stargaze_3\n" in made["stargaze_broker_conf_3"]
    assert (
        f"user stargaze_3 on #{hashlib.sha256(password).hexdigest()} ~* &* +@all\n".encode()
        in made["stargaze_results_conf_3"]
    )
    assert password not in made["stargaze_results_conf_3"]


def test_half_a_version_that_a_stopped_deploy_left_is_never_used() -> None:
    names = [*held(1), "stargaze_broker_2", "stargaze_cookie", "another"]

    assert secret_versions.complete_versions(names) == [1]
    assert secret_versions.next_version(names) == 3
    assert secret_versions.older_secrets(names, 3) == sorted([*held(1), "stargaze_broker_2"])
    assert secret_versions.next_version([]) == 1


def service(*names: str) -> dict[str, object]:
    secrets = [{"SecretName": name} for name in names]
    return {"Spec": {"TaskTemplate": {"ContainerSpec": {"Secrets": secrets}}}}


def test_what_is_in_use_says_the_services() -> None:
    services = [service("stargaze_broker_2", "stargaze_session_2"), service("stargaze_broker_conf_1"), service()]

    assert secret_versions.versions_in_use(services) == (2, 1)
    assert secret_versions.versions_in_use([]) is None


@pytest.mark.parametrize("turned", [False, True], ids=["in this order", "in the other"])
def test_of_services_that_disagree_the_page_is_held_to_the_older_and_what_is_behind_to_the_newer(turned: bool) -> None:
    """As Swarm takes one service back and not the other: what is behind knows the newer only from its start."""
    pages = [service("stargaze_broker_1"), service("stargaze_broker_2"), service("stargaze_broker_conf_1")]
    behind = [service("stargaze_broker_2"), service("stargaze_broker_conf_1"), service("stargaze_results_conf_2")]

    assert secret_versions.versions_in_use(pages[::-1] if turned else pages) == (1, 1)
    assert secret_versions.versions_in_use(behind[::-1] if turned else behind) == (2, 2)

"""Secrets of production by their versions."""

from __future__ import annotations

import hashlib

from stargaze.serve import vault


def held(*versions: int) -> list[str]:
    return [f"stargaze_{name}_{version}" for name in vault.NAMES for version in versions]


def test_one_version_is_made_whole_and_no_two_are_alike() -> None:
    one, two = vault.made(1), vault.made(2)

    assert sorted(one) == sorted(held(1))
    assert not set(one.values()) & set(two.values())


def test_queue_and_results_know_what_the_page_shows() -> None:
    made = vault.made(3)
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

    assert vault.versions(names) == [1]
    assert vault.next_version(names) == 3
    assert vault.older(names, 3) == sorted([*held(1), "stargaze_broker_2"])
    assert vault.next_version([]) == 1


def test_what_is_in_use_says_the_services() -> None:
    def service(*names: str) -> dict[str, object]:
        secrets = [{"SecretName": name} for name in names]
        return {"Spec": {"TaskTemplate": {"ContainerSpec": {"Secrets": secrets}}}}

    services = [service("stargaze_broker_2", "stargaze_session_2"), service("stargaze_broker_conf_1"), service()]

    assert vault.in_use(services) == (2, 1)
    assert vault.in_use([]) is None

"""Versions of production's secrets."""

from __future__ import annotations

import base64
import hashlib
import json

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
    password, broker = result["stargaze_results_3"], result["stargaze_broker_3"]
    definitions = json.loads(result["stargaze_broker_conf_3"])
    (user,) = definitions["users"]
    hashed = base64.b64decode(user["password_hash"])

    assert (user["name"], user["tags"]) == ("stargaze_3", [])
    assert hashlib.sha256(hashed[:4] + broker).digest() == hashed[4:]
    assert definitions["permissions"][0] | {"user": "stargaze_3", "vhost": "stargaze"} == definitions["permissions"][0]
    assert (
        f"user stargaze_3 on #{hashlib.sha256(password).hexdigest()} resetkeys ".encode()
        in result["stargaze_results_conf_3"]
    )
    assert not [
        name
        for name in ("results", "results_admin")
        if result[f"stargaze_{name}_3"] in result["stargaze_results_conf_3"]
    ]
    assert broker not in result["stargaze_broker_conf_3"]


def test_no_redis_user_has_all_rights() -> None:
    text = secret_versions.generate_secrets(3)["stargaze_results_conf_3"].decode()
    users = {line.split()[1]: line for line in text.splitlines() if line.startswith("user ")}

    assert users["default"] == "user default off"
    assert users.keys() == {"default", "health", "admin", "stargaze_3"}
    assert not [
        rule
        for line in users.values()
        for rule in line.split()
        if rule in ("+@all", "allcommands", "~*", "allkeys", "&*")
    ]
    assert "port 0" in text.splitlines()


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

"""Logins in the format of ``clouds.yaml``, and connections with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import openstack

from tests.labs.openstack.configuration import REGION, SERVICES
from tests.labs.openstack.faults import Faults

Login = dict[str, Any]


def by_password(auth_url: str, user: str, password: str, project: str) -> Login:
    """Return the login of a user."""
    auth = {
        "username": user,
        "password": password,
        "project_name": project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    return _login("password", auth_url, auth)


def by_application(auth_url: str, identity: str, secret: str) -> Login:
    """Return the login with an application credential."""
    auth = {"application_credential_id": identity, "application_credential_secret": secret}
    return _login("v3applicationcredential", auth_url, auth)


def through_proxies(login: Login, faults: Faults) -> Login:
    """Return the login with the addresses of the proxies in place of the services."""
    overrides = {f"{SERVICES[name][0]}_endpoint_override": url + SERVICES[name][1] for name, url in faults.urls.items()}
    auth = {**login["auth"], "auth_url": faults.urls["keystone"] + SERVICES["keystone"][1]}
    return {**login, "auth": auth, **overrides}


@contextlib.contextmanager
def connect(login: Mapping[str, Any], **options: Any) -> Iterator[Any]:
    """Connect with a login only, independent of the files and variables of the machine."""
    config = openstack.config.OpenStackConfig(
        config_files=[], vendor_files=[], secure_files=[], load_envvars=False, load_yaml_config=False
    )
    connection = openstack.connection.Connection(config=config.get_one(**login, **options))
    try:
        yield connection
    finally:
        connection.close()


def _login(kind: str, auth_url: str, auth: Mapping[str, str]) -> Login:
    return {
        "auth_type": kind,
        "auth": {"auth_url": auth_url, **auth},
        "region_name": REGION,
        "identity_api_version": "3",
    }

"""Errors before a cloud answers: one line with a hint each, and no retry if it cannot help."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import requests
from keystoneauth1.adapter import Adapter
from openstack.exceptions import BadRequestException
from openstack.network.v2.network import Network

from stargaze.config import InfraSection
from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError
from stargaze.infra.openstack.client import connect
from stargaze.infra.openstack.errors import IN_USE, CloudError, convert_errors, retry

Rejected = Callable[[str], StargazeError]
pytestmark = pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK60Warning")
AUTH = {
    "username": "x",
    "password": "y",
    "project_name": "p",
    "user_domain_name": "d",
    "project_domain_name": "d",
    "auth_url": "http://127.0.0.1:9/v3",
}


@pytest.fixture
def connect_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rejected:
    """Connect with a clouds.yaml; return the error, which must come without a retry."""
    for name in ("OS_CLOUD", "OS_AUTH_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    def connect_with(text: str) -> StargazeError:
        path.write_text(text, encoding="utf-8")
        slept: list[float] = []
        with pytest.raises(StargazeError) as caught:
            connect(InfraSection(), sleep=slept.append)
        assert caught.value.hint
        assert slept == []
        return caught.value

    return connect_with


def with_cloud(**values: object) -> str:
    return json.dumps({"clouds": {"a": {"auth": AUTH, **values}}})


def test_invalid_yaml_is_reported_with_its_line(connect_error: Rejected) -> None:
    error = connect_error("clouds:\n  a: [b\n  c: d\n")

    assert isinstance(error, ConfigError)
    assert "clouds.yaml cannot be read, line 3: expected ',' or ']'" in error.message


@pytest.mark.parametrize(
    "text", ["clouds:\n  a: text\n", "clouds:\n  a: {auth: text}\n", "clouds:\n  a: {auth: }\n", "clouds:\n  a:\n"]
)
def test_a_cloud_that_is_not_a_table_is_named(connect_error: Rejected, text: str) -> None:
    error = connect_error(text)

    assert isinstance(error, ConfigError)
    assert "clouds.a and its auth should be tables" in error.message


@pytest.mark.parametrize("text", ["clouds:\n  a: &a\n    auth: *a\n", '{"clouds": {"a": {"auth": ' + '{"b":' * 3000])
def test_an_alias_of_itself_or_deep_nesting_is_an_error(connect_error: Rejected, text: str) -> None:
    error = connect_error(text)

    assert isinstance(error, ConfigError)
    assert "clouds.yaml" in error.message


@pytest.mark.parametrize("text", ["clouds: text\n", "clouds: [a]\n"])
def test_clouds_that_are_not_a_table_are_refused(connect_error: Rejected, text: str) -> None:
    assert isinstance(connect_error(text), ConfigError)


def test_an_unknown_auth_type_is_not_retried(connect_error: Rejected) -> None:
    error = connect_error(with_cloud(auth_type="v3nonsense"))

    assert isinstance(error, ConfigError)
    assert "auth_type: The plugin v3nonsense could not be found" in error.message


def test_an_unknown_host_name_is_not_retried(connect_error: Rejected) -> None:
    error = connect_error(with_cloud(auth={**AUTH, "auth_url": "https://no-such-host.invalid/v3"}))

    assert isinstance(error, ExternalError)
    assert "the host name of https://no-such-host.invalid/v3 cannot be resolved" in error.message


def test_a_missing_certificate_file_is_named(connect_error: Rejected) -> None:
    error = connect_error(with_cloud(cacert="/nope.pem", auth={**AUTH, "auth_url": "https://127.0.0.1:9/v3"}))

    assert isinstance(error, ConfigError)
    assert "/nope.pem" in error.message
    assert "cacert" in error.hint


def test_a_login_page_instead_of_json_is_reported() -> None:
    page = requests.Response()
    page.status_code, page._content, page.url = 200, b"<html>log in</html>", "http://cloud"
    session = MagicMock(spec=Adapter, default_microversion=None, retriable_status_codes=None)
    session.get.return_value = page

    with pytest.raises(ExternalError, match="the cloud's response is not JSON") as caught:
        retry(lambda: list(Network.list(session)), lambda _: None)

    assert "proxy" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "Requested subnet with cidr: 10.20.0.0/24 for network: 1 overlaps with another subnet.",
        "Bad router request: Router already has a port on subnet 1.",
    ],
)
def test_a_conflict_with_status_400_is_a_conflict(text: str) -> None:
    response = requests.Response()
    response.status_code = 400

    with pytest.raises(CloudError, match="HTTP 400") as caught, convert_errors():
        raise BadRequestException(text, response=response)

    assert caught.value.status == IN_USE


@pytest.mark.parametrize("auth_type", ["password", "v3password"])
def test_a_missing_password_is_a_missing_credential(connect_error: Rejected, auth_type: str) -> None:
    auth = {name: value for name, value in AUTH.items() if name != "password"}
    error = connect_error(with_cloud(auth=auth, auth_type=auth_type))

    assert isinstance(error, CredentialsError)
    assert error.message == "clouds.yaml holds no password"
    assert error.hint == "add it to clouds.a.auth: password: …, or export OS_PASSWORD=…"


def test_the_environment_completes_the_password(connect_error: Rejected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_PASSWORD", "y")
    auth = {**AUTH, "password": "", "auth_url": "https://no-such-host.invalid/v3"}

    assert "no-such-host.invalid" in connect_error(with_cloud(auth=auth)).message


def test_a_secret_of_an_application_credential_is_named(connect_error: Rejected) -> None:
    auth = {"auth_url": AUTH["auth_url"], "application_credential_id": "7"}

    error = connect_error(with_cloud(auth_type="v3applicationcredential", auth=auth))
    without_type = connect_error(with_cloud(auth={**auth, "application_credential_secret": "s"}))

    assert error.message == "clouds.yaml holds no application_credential_secret"
    assert without_type.hint == "add it to clouds.a: auth_type: v3applicationcredential"


@pytest.mark.parametrize("url", ["cloud.example:5000", 17])
def test_an_auth_url_that_is_no_url_is_named(connect_error: Rejected, url: object) -> None:
    error = connect_error(with_cloud(auth={**AUTH, "auth_url": url}))

    assert isinstance(error, ConfigError)
    assert "clouds.yaml" in error.message


def test_an_unknown_cloud_of_the_environment_is_named(connect_error: Rejected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLOUD", "lab2")

    assert "OS_CLOUD is lab2" in connect_error(with_cloud()).message


def test_certificates_of_the_environment_are_not_blamed_on_clouds_yaml(
    connect_error: Rejected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")

    error = connect_error(with_cloud(auth={**AUTH, "auth_url": "https://127.0.0.1:9/v3"}))

    assert error.message.startswith("environment: REQUESTS_CA_BUNDLE is /no/such.pem")

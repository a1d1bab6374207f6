"""What goes wrong before a cloud answers: each is a line with a hint, and what cannot pass is not waited for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import requests
from keystoneauth1.adapter import Adapter
from openstack.network.v2.network import Network

from stargaze.config import InfraSection
from stargaze.errors import ConfigError, ExternalError, StargazeError
from stargaze.infra.openstack import client as cloud

Refused = Callable[[str], StargazeError]
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
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Connect with such a clouds.yaml; return what is said at once, without another try."""
    for name in ("OS_CLOUD", "OS_AUTH_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    def connect(text: str) -> StargazeError:
        path.write_text(text, encoding="utf-8")
        slept: list[float] = []
        with pytest.raises(StargazeError) as caught:
            cloud.connect(InfraSection(), sleep=slept.append)
        assert caught.value.hint
        assert slept == []
        return caught.value

    return connect


def with_cloud(**values: object) -> str:
    return json.dumps({"clouds": {"a": {"auth": AUTH, **values}}})


def test_a_file_that_is_no_yaml_is_named_with_its_line(refused: Refused) -> None:
    error = refused("clouds:\n  a: [b\n  c: d\n")

    assert isinstance(error, ConfigError)
    assert "clouds.yaml cannot be read, line 3: expected ',' or ']'" in error.message


@pytest.mark.parametrize("text", ["clouds:\n  a: text\n", "clouds:\n  a: {auth: text}\n", "clouds:\n  a:\n"])
def test_a_cloud_that_is_no_table_is_named(refused: Refused, text: str) -> None:
    error = refused(text)

    assert isinstance(error, ConfigError)
    assert "clouds.a and its auth should be tables" in error.message


@pytest.mark.parametrize("text", ["clouds: text\n", "clouds: [a]\n"])
def test_clouds_that_are_no_table_are_refused(refused: Refused, text: str) -> None:
    assert isinstance(refused(text), ConfigError)


def test_a_kind_of_credential_that_is_none_is_not_tried_again(refused: Refused) -> None:
    error = refused(with_cloud(auth_type="v3nonsense"))

    assert isinstance(error, ConfigError)
    assert "auth_type: The plugin v3nonsense could not be found" in error.message


def test_a_host_that_nobody_knows_is_not_tried_again(refused: Refused) -> None:
    error = refused(with_cloud(auth={**AUTH, "auth_url": "https://no-such-host.invalid/v3"}))

    assert isinstance(error, ExternalError)
    assert "the host of https://no-such-host.invalid/v3 cannot be looked up" in error.message


def test_a_certificate_file_that_is_not_there_is_named(refused: Refused) -> None:
    error = refused(with_cloud(cacert="/nope.pem", auth={**AUTH, "auth_url": "https://127.0.0.1:9/v3"}))

    assert isinstance(error, ConfigError)
    assert "/nope.pem" in error.message
    assert "cacert" in error.hint


def test_a_login_page_in_place_of_an_answer_is_said() -> None:
    page = requests.Response()
    page.status_code, page._content, page.url = 200, b"<html>log in</html>", "http://cloud"
    session = MagicMock(spec=Adapter, default_microversion=None, retriable_status_codes=None)
    session.get.return_value = page

    with pytest.raises(ExternalError, match="the cloud's answer is no JSON") as caught:
        cloud._patiently(lambda: list(Network.list(session)), lambda _: None)

    assert "proxy" in caught.value.hint

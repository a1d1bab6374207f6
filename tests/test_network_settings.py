"""Proxies and certificates of the environment: an unusable one is named before a request is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from requests.certs import where

from stargaze.errors import ConfigError
from stargaze.network_settings import check_request_settings, find_problems

API = "https://api.example.org/v3"


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """Paths that name no certificates."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.pem").write_text("hello", encoding="utf-8")
    return {"missing": tmp_path / "missing.pem", "folder": tmp_path / "folder", "text": tmp_path / "text.pem"}


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("missing", "cannot be read: No such file"),
        ("folder", "a folder without hashed certificates"),
        ("text", "contains no PEM certificate"),
    ],
)
def test_certificates_that_cannot_be_used_are_named(
    paths: dict[str, Path], variable: str, kind: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{variable} is .*{problem}") as caught:
        check_request_settings(API, {variable: str(paths[kind])})

    assert caught.value.hint.startswith(f"unset {variable}")


def test_only_the_first_variable_with_certificates_counts(paths: dict[str, Path]) -> None:
    check_request_settings(API, {"REQUESTS_CA_BUNDLE": where(), "CURL_CA_BUNDLE": str(paths["missing"])})


def test_http_needs_no_certificates(paths: dict[str, Path]) -> None:
    check_request_settings("http://127.0.0.1:8/", {"REQUESTS_CA_BUNDLE": str(paths["missing"])})


def test_a_folder_of_hashed_certificates_is_usable(paths: dict[str, Path]) -> None:
    (paths["folder"] / "0a1b2c3d.0").write_text("", encoding="utf-8")

    check_request_settings(API, {"REQUESTS_CA_BUNDLE": str(paths["folder"])})


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_only_python_reads_prevent_no_request(paths: dict[str, Path], variable: str) -> None:
    environ = {variable: str(paths["missing"])}

    check_request_settings(API, environ)
    assert set(find_problems(environ)) == {variable}


@pytest.mark.parametrize(
    "proxy", ["http://", "::", "http://10.0.0.1:port", "ftp://10.0.0.1", "http://[::1", "http://me:word@[x:3"]
)
def test_a_proxy_without_an_address_is_named_without_its_password(proxy: str) -> None:
    with pytest.raises(ConfigError, match=r"HTTPS_PROXY is .*not the address of a proxy") as caught:
        check_request_settings(API, {"HTTPS_PROXY": proxy})

    assert "word" not in caught.value.message


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_a_socks_proxy_needs_a_package(variable: str) -> None:
    with pytest.raises(ConfigError, match=f"{variable} is a SOCKS proxy") as caught:
        check_request_settings(API, {variable: "socks5h://10.0.0.1:1080"})

    assert "PySocks" in caught.value.hint


@pytest.mark.parametrize("exceptions", ["api.example.org", "*", "10.1.1.1, .example.org", "EXAMPLE.org"])
def test_a_proxy_that_is_not_used_is_not_checked(exceptions: str) -> None:
    check_request_settings(API, {"HTTPS_PROXY": "socks5://10.0.0.1", "NO_PROXY": exceptions})


def test_a_network_is_an_exception_of_the_proxy() -> None:
    check_request_settings("http://10.2.3.4/", {"http_proxy": "socks5://10.0.0.1", "no_proxy": "10.2.0.0/16"})


@pytest.mark.parametrize("proxy", ["http://10.0.0.1:3128", "10.0.0.1:3128", "https://me:secret@proxy.example:8443"])
def test_a_usual_proxy_is_accepted(proxy: str) -> None:
    check_request_settings(API, {"https_proxy": proxy})


def test_all_unusable_variables_are_found(paths: dict[str, Path]) -> None:
    environ = {"SSL_CERT_FILE": str(paths["text"]), "http_proxy": "socks4://x", "HTTPS_PROXY": "http://10.0.0.1:1"}

    assert set(find_problems(environ)) == {"SSL_CERT_FILE", "http_proxy"}

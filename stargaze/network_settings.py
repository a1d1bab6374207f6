"""Check the variables of proxies and certificates before a request is sent: the errors of libraries do not name them."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from stargaze.errors import ConfigError

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name certificates of authorities for requests; the first that is set counts."""
PYTHON_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The same for Python's own connections."""
PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
"""Name of a certificate in a folder in which OpenSSL finds it."""


def check_request_settings(url: str, environ: Mapping[str, str]) -> None:
    """Raise ConfigError if requests to a URL would use certificates or a proxy that cannot be used."""
    scheme = urlsplit(url).scheme
    if scheme == "https":
        _check_first(CA_VARIABLES, environ)
    if not _needs_no_proxy(urlsplit(url).hostname or "", environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
        _check_proxy(next((name for name in names if environ.get(name)), ""), environ)


def find_problems(environ: Mapping[str, str]) -> dict[str, ConfigError]:
    """Return the error of each variable about proxies and certificates that cannot be used."""
    problems = {}
    for name in (*CA_VARIABLES, *PYTHON_CA_VARIABLES, *PROXY_VARIABLES):
        try:
            if name in PROXY_VARIABLES:
                _check_proxy(name, environ)
            else:
                _check_first([name], environ)
        except ConfigError as error:
            problems[name] = error
    return problems


def _needs_no_proxy(host: str, exceptions: str) -> bool:
    """Return whether a host is one of the names, domains and networks of NO_PROXY."""
    names = [name.strip().lstrip(".").lower() for name in exceptions.split(",") if name.strip()]
    if any(name in ("*", host) or host.endswith(f".{name}") for name in names):
        return True
    try:
        address = ipaddress.ip_address(host)
        return any(address in ipaddress.ip_network(name, strict=False) for name in names if "/" in name)
    except ValueError:
        return False


def _check_first(names: Iterable[str], environ: Mapping[str, str]) -> None:
    name = next((name for name in names if environ.get(name)), "")
    if not name:
        return
    if problem := _certificate_problem(Path(environ[name]), needs_folder=name == "SSL_CERT_DIR"):
        message = f"environment: {name} is {environ[name]}: {problem}"
        raise ConfigError(message, hint=f"unset {name}, or export {name}=FILE with PEM certificates")


def _certificate_problem(path: Path, *, needs_folder: bool) -> str:
    if needs_folder:
        return "" if all(map(os.path.isdir, str(path).split(os.pathsep))) else "no such folder"
    if path.is_dir():
        names = [file.name for file in path.iterdir()] if os.access(path, os.R_OK) else []
        return "" if any(map(HASHED_NAME.fullmatch, names)) else "a folder without hashed certificates (openssl rehash)"
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        return "contains no PEM certificate"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _check_proxy(name: str, environ: Mapping[str, str]) -> None:
    text = environ.get(name, "")
    if not text:
        return
    address = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(address)
        scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        scheme, host = "", ""
    if scheme.startswith("socks") and host:
        if importlib.util.find_spec("socks") is None:
            message = f"environment: {name} is a SOCKS proxy, which needs the package PySocks"
            raise ConfigError(message, hint=f"pip install PySocks, or export {name}=http://HOST:PORT")
    elif scheme not in ("http", "https") or not host:
        shown = re.sub(r"[^/@]*@", "", text)[:80]  # without a password
        message = f"environment: {name} is {shown!r}: not the address of a proxy"
        raise ConfigError(message, hint=f"unset {name}, or export {name}=http://HOST:PORT")

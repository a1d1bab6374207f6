"""HTTP transport of the GitHub API, and the interfaces that tests replace; with limits for every response."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from stargaze import __version__
from stargaze.errors import ConfigError, CredentialsError, ExternalError
from stargaze.features.github.api.limited_http import (
    LimitedSession,
    ResponseLimitError,
    ResponseLimits,
    ResponseTooLargeError,
)
from stargaze.network_settings import check_request_settings

USER_AGENT = f"stargaze/{__version__}"
ACCEPT = "application/vnd.github+json"
VERSION = "2022-11-28"
"""REST API version, sent with each request so that a new default changes nothing."""
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
"""Seconds; GitHub cuts a request after ten."""
DEFAULT_PORTS = {"https": 443, "http": 80}
RECONNECT = Retry(total=None, connect=3, read=False, other=0, status=0, redirect=0, backoff_factor=0.5)
"""Retries only connecting, before a request is sent; the client does all other retries."""
UNTRUSTED = "the server's certificate is not trusted here"
NO_PROXY = "the proxy does not respond"
UNREACHABLE = "the server cannot be reached, or closed the connection"
FAULT_HINTS = {
    UNTRUSTED: "export REQUESTS_CA_BUNDLE=FILE with the certificates of its authority",
    NO_PROXY: "check HTTPS_PROXY, or unset it",
    UNREACHABLE: "check github.api_url, the network, and HTTPS_PROXY where a proxy is needed",
}
"""What to do about faults that another try does not mend."""
NO_RETRY = Retry(total=0, read=False)
"""Retry policy of callers that cannot wait."""


@dataclass(frozen=True)
class Request:
    """A path below the base URL (or a URL of the same server), and for GraphQL a body."""

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    etag: str = ""
    """ETag of an earlier response; GitHub returns 304 if it is still valid."""


@dataclass(frozen=True)
class Response:
    """The raw response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration: float = 0.0
    """Seconds until the response was complete."""
    url: str = ""
    """URL of the response, the base of a relative redirect."""


class NoResponseError(Exception):
    """No usable response: no connection, a timeout, or a truncated body."""


class OtherServerError(Exception):
    """The URL belongs to another server, which is sent nothing; the message names the server."""


class Transport(Protocol):
    """Sends one request to one server; follows no redirect and repeats no sent request."""

    def send(self, request: Request) -> Response:
        """Return the response of any status; raise NoResponseError without one, OtherServerError if not sent."""


class Clock(Protocol):
    """Time [s]; only differences are used, so a wrong clock does no harm."""

    def time(self) -> float:
        """Return seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class RealClock:
    """The system clock."""

    def time(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class HttpTransport:
    """Sends requests over one keep-alive connection, with the token only in a header.

    ``timeout`` are the connect and read timeouts [s]. Raise ConfigError for an invalid URL, CredentialsError if a token would
    be sent unencrypted to another machine or is not valid in a header.
    """

    def __init__(
        self,
        url: str,
        token: str,
        clock: Clock,
        *,
        timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT),
        reconnect: Retry = RECONNECT,
        limits: ResponseLimits | None = None,
    ) -> None:
        self._base = _check_url(url, token)
        self._clock = clock
        self._session = LimitedSession(limits or ResponseLimits(), max_retries=reconnect)
        self._timeout = timeout
        self._has_checked_settings = False
        self._session.auth = _TokenAuth(token)
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept": ACCEPT, "X-GitHub-Api-Version": VERSION})

    def send(self, request: Request) -> Response:
        """Send a request to the server of the base URL, and to no other.

        ExternalError if the response is too large: another try would cost the same again. ConfigError if the environment names
        a proxy or certificates that cannot be used.
        """
        if not self._has_checked_settings:
            check_request_settings(self._base, os.environ)
            self._has_checked_settings = True
        prepared = self._prepare(request)
        settings = self._session.merge_environment_settings(prepared.url, {}, None, None, None)
        start = self._clock.time()
        try:
            response = self._session.send(prepared, timeout=self._timeout, allow_redirects=False, **settings)
        except ResponseTooLargeError as error:
            raise ExternalError(f"{self._base} sends {error}", hint="check github.api_url, and the proxy") from error
        except ResponseLimitError as error:
            raise NoResponseError(str(error)) from error
        except OSError as error:  # also of requests: its own class is one
            raise NoResponseError(_describe_failure(error, self._timeout[1])) from error
        duration = self._clock.time() - start
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, lower, response.content, duration, response.url)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def address(self, request: Request) -> str:
        """Return the URL of a request; the GraphQL endpoint of GitHub Enterprise is beside /api/v3, not below."""
        if request.path == "/graphql" and self._base.endswith("/api/v3"):
            return self._base.removesuffix("/v3") + "/graphql"
        return f"{self._base}/{request.path.lstrip('/')}" if request.path.startswith("/") else request.path

    def _prepare(self, request: Request) -> requests.PreparedRequest:
        """Prepare a request; servers are compared afterwards, since only prepared URLs are normalized."""
        headers = {"If-None-Match": request.etag} if request.etag else {}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        method = "GET" if request.body is None else "POST"
        url = self.address(request)
        try:
            prepared = self._session.prepare_request(
                requests.Request(method, url, headers=headers, params=dict(request.params), data=request.body)
            )
            origin = _origin(str(prepared.url))
        except ValueError as error:
            raise OtherServerError("whose address is invalid") from error
        if origin != _origin(self._base):
            raise OtherServerError(_server_name(origin, self._base))
        return prepared


class _TokenAuth(requests.auth.AuthBase):
    """Sets the token header; a class of its own, so that ``~/.netrc`` does not replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            prepared.headers["Authorization"] = f"Bearer {self._token}"
        return prepared


def _check_url(url: str, token: str) -> str:
    """Return the base URL as requests normalizes it, after checking it."""
    try:
        base = str(requests.Request("GET", url).prepare().url)
        (scheme, host, _), parts = _origin(base), urlsplit(base)
    except ValueError:
        scheme, host, parts = "", "", urlsplit("")
    if scheme not in ("https", "http") or not host or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(
            f"github.api_url is {url!r}: not the address of an API",
            hint="https://api.github.com, or https://HOST/api/v3 for GitHub Enterprise",
        )
    if token and scheme == "http" and not _is_loopback(host):
        raise CredentialsError(f"github.api_url is {url}: the token would be sent unencrypted", hint="write https://")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise CredentialsError("GITHUB_TOKEN contains invalid characters", hint="export GITHUB_TOKEN=...")
    return base.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port, which identify a server.

    Examples
    --------
    >>> _origin("https://API.github.com/x") == _origin("https://api.github.com:443/")
    True
    """
    parts = urlsplit(url)
    port = DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname or "", port


def _server_name(origin: tuple[str, str, int | None], base: str) -> str:
    """Name another server by its host, with the scheme if only that differs."""
    scheme, host, port = origin
    base_origin = _origin(base)
    prefix = f"{scheme}://" if host in ("", base_origin[1]) and scheme != base_origin[0] else ""
    return prefix + host + ("" if port == DEFAULT_PORTS.get(scheme) else f":{port}")


def _describe_failure(error: OSError, timeout: float) -> str:
    """Describe in a few words what failed; requests nests its reasons."""
    if isinstance(error, requests.Timeout) or any(isinstance(part, ReadTimeoutError) for part in error.args):
        return f"no response within {timeout:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return UNTRUSTED
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return "the response was truncated"
    if isinstance(error, requests.exceptions.ProxyError):
        return NO_PROXY
    if isinstance(error, requests.ConnectionError):
        return UNREACHABLE
    return type(error).__name__ if isinstance(error, requests.RequestException) else str(error.strerror or error)

"""The token is sent to one server, in one header, encrypted; failures are described in a few words."""

from __future__ import annotations

import itertools
import re
import socket
import threading
from typing import BinaryIO, Self

import pytest

from stargaze.errors import ConfigError, CredentialsError, ExternalError
from stargaze.features.github.api.client import MAX_FIRST_TRIES, Client
from stargaze.features.github.api.http_transport import HttpTransport, NoResponseError, OtherServerError, Request
from tests.features.github.conftest import FakeClock


@pytest.mark.parametrize(
    "url",
    [
        *["", "github.com", "ftp://x", "https://", "https://user:pw@host", "https://:pw@host", "https://host/?q=1"],
        *["https://host/#x", "https://host:99999", "https://[host", "nonsense"],
    ],
)
def test_an_invalid_api_url_is_rejected(url: str) -> None:
    with pytest.raises(ConfigError, match=r"github\.api_url"):
        HttpTransport(url, "", FakeClock())


def test_a_token_is_not_sent_unencrypted() -> None:
    with pytest.raises(CredentialsError, match="unencrypted"):
        HttpTransport("http://github.example.com/api/v3", "secret", FakeClock())
    HttpTransport("http://github.example.com/api/v3", "", FakeClock())
    HttpTransport("http://127.0.0.1:99", "secret", FakeClock())


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "schlüssel"])
def test_an_invalid_token_is_rejected_and_not_printed(token: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        HttpTransport("https://api.github.com", token, FakeClock())
    assert token not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("base", "path", "address"),
    [
        ("https://api.github.com", "/search/repositories", "https://api.github.com/search/repositories"),
        ("https://api.github.com/", "/graphql", "https://api.github.com/graphql"),
        ("https://ghe.example.com/api/v3", "/repos/a/b", "https://ghe.example.com/api/v3/repos/a/b"),
        ("https://ghe.example.com/api/v3/", "/graphql", "https://ghe.example.com/api/graphql"),
        ("https://api.github.com", "https://api.github.com/repositories/1", "https://api.github.com/repositories/1"),
        ("https://api.github.com", "///evil.example/x", "https://api.github.com/evil.example/x"),
        ("https://api.github.com", "/?to=https://evil.example", "https://api.github.com/?to=https://evil.example"),
    ],
)
def test_the_url_of_a_request_is_below_the_base_url_except_for_graphql_of_an_enterprise_server(
    base: str, path: str, address: str
) -> None:
    assert HttpTransport(base, "", FakeClock()).address(Request(path)) == address


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://evil.example/x", "evil.example"),
        ("HTTPS://EVIL.example:443/x", "evil.example"),
        ("http://api.github.com/x", "http://api.github.com"),
        ("https://api.github.com:444/x", "api.github.com:444"),
        ("https://api.github.com@evil.example/x", "evil.example"),
        ("https://api.github.com.evil.example/x", "api.github.com.evil.example"),
        ("https://evil.example\\@api.github.com/x", "evil.example"),
        ("file:///etc/passwd", "file://"),
        ("https:///evil.example/x", "whose address is invalid"),
        ("https://[evil/x", "whose address is invalid"),
        ("https://api.github.com:99999/x", "whose address is invalid"),
        ("evil.example/x", "whose address is invalid"),
    ],
)
def test_nothing_is_sent_to_another_server(url: str, name: str) -> None:
    with pytest.raises(OtherServerError) as caught:
        HttpTransport("https://api.github.com", "secret", FakeClock()).send(Request(url))
    assert str(caught.value) == name


@pytest.mark.parametrize(
    "base", ["https://api.github.com", "https://API.GitHub.com:443/", "https://api.github.com/api/v3"]
)
@pytest.mark.parametrize(
    "url", ["https://api.github.com/x", "https://api.github.com:443/x", "HTTPS://API.github.COM/x"]
)
def test_spellings_of_the_same_server_are_equal(base: str, url: str) -> None:
    request = HttpTransport(base, "secret", FakeClock())._prepare(Request(url))
    assert request.headers["Authorization"] == "Bearer secret"


class RawServer:
    """A server that sends these bytes to each request and closes, or waits for the client to close."""

    def __init__(self, data: bytes, *, closes: bool = True) -> None:
        self._data, self._closes = data, closes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.requests: list[bytes] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                self.requests.append(_request(stream))
                connection.sendall(self._data)
                if not self._closes:
                    stream.read()


def _request(stream: BinaryIO) -> bytes:
    """Read a whole request: closing earlier would reset the connection and lose the response."""
    head = b"".join(itertools.takewhile(lambda line: line.strip(), iter(stream.readline, b"")))
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return head + stream.read(int(length[1]) if length else 0)


TRUNCATED = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"


@pytest.mark.parametrize("body", [None, b"{}"])
@pytest.mark.parametrize(
    ("data", "closes", "why"),
    [
        (TRUNCATED, True, "truncated"),
        (b"", True, "closed"),
        (b"", False, "no response within"),
        (TRUNCATED, False, "no response within"),
    ],
)
def test_an_incomplete_response_is_an_error_and_the_transport_does_not_retry(
    data: bytes, closes: bool, why: str, body: bytes | None
) -> None:
    """Retries are the task of the client, which counts them, logs them and waits."""
    with RawServer(data, closes=closes) as server:
        with pytest.raises(NoResponseError, match=why):
            HttpTransport(server.url, "", FakeClock(), timeout=(10, 0.1)).send(Request("/graphql", body=body))
        assert len(server.requests) == 1


def test_each_failed_request_is_counted_and_logged(clock: FakeClock) -> None:
    lines: list[str] = []
    with RawServer(b"") as server:
        client = Client(HttpTransport(server.url, "", clock), clock, notify=lines.append)
        with pytest.raises(ExternalError, match="closed the connection"):
            client.query("query", {})
        logged = [line for line in lines if line.startswith("POST /graphql")]
        assert len(server.requests) == len(logged) == client.stats.requests == client.stats.failed == MAX_FIRST_TRIES


@pytest.mark.real  # it waits between retries
def test_a_refused_connection_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NoResponseError, match="cannot be reached"):
        HttpTransport(f"http://127.0.0.1:{port}", "", FakeClock()).send(Request("/repos/a/b"))

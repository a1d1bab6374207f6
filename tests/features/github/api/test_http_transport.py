"""The token goes to one server, in one header, encrypted; what fails on the way is told in a few words."""

from __future__ import annotations

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
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"github\.api_url"):
        HttpTransport(url, "", FakeClock())


def test_a_token_does_not_travel_unencrypted() -> None:
    with pytest.raises(CredentialsError, match="unencrypted"):
        HttpTransport("http://github.example.com/api/v3", "secret", FakeClock())
    HttpTransport("http://github.example.com/api/v3", "", FakeClock())
    HttpTransport("http://127.0.0.1:99", "secret", FakeClock())


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "schlüssel"])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(token: str) -> None:
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
def test_requests_go_below_the_base_url_and_graphql_of_an_enterprise_beside_it(
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
def test_another_server_gets_nothing(url: str, name: str) -> None:
    with pytest.raises(OtherServerError) as caught:
        HttpTransport("https://api.github.com", "secret", FakeClock()).send(Request(url))
    assert str(caught.value) == name


@pytest.mark.parametrize(
    "base", ["https://api.github.com", "https://API.GitHub.com:443/", "https://api.github.com/api/v3"]
)
@pytest.mark.parametrize(
    "url", ["https://api.github.com/x", "https://api.github.com:443/x", "HTTPS://API.github.COM/x"]
)
def test_the_same_server_may_be_written_in_many_ways(base: str, url: str) -> None:
    request = HttpTransport(base, "secret", FakeClock())._prepare(Request(url))
    assert request.headers["Authorization"] == "Bearer secret"


class Rude:
    """A server that says these bytes to each request and closes, or waits for the other to close; ``heard`` is what came."""

    def __init__(self, says: bytes, *, closes: bool = True) -> None:
        self._says, self._closes = says, closes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.heard: list[bytes] = []

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
                self.heard.append(_request(stream))
                connection.sendall(self._says)
                if not self._closes:
                    stream.read()


def _request(stream: BinaryIO) -> bytes:
    """Read a whole request: who closes before that resets the connection, and the answer with it."""
    top_slice = b"".join(iter(stream.readline, b"\r\n"))
    length = re.search(rb"content-length: (\d+)", top_slice, re.IGNORECASE)
    return top_slice + stream.read(int(length[1]) if length else 0)


CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"


@pytest.mark.parametrize("body", [None, b"{}"])
@pytest.mark.parametrize(
    ("says", "closes", "why"),
    [
        (CUT, True, "truncated"),
        (b"", True, "closed"),
        (b"", False, "no response within"),
        (CUT, False, "no response within"),
    ],
)
def test_an_answer_that_does_not_come_whole_is_none_and_is_asked_for_once(
    says: bytes, closes: bool, why: str, body: bytes | None
) -> None:
    """To ask again is for the client, which counts, tells and waits."""
    with Rude(says, closes=closes) as server:
        with pytest.raises(NoResponseError, match=why):
            HttpTransport(server.url, "", FakeClock(), timeout=(10, 0.1)).send(Request("/graphql", body=body))
        assert len(server.heard) == 1


def test_each_request_to_a_server_that_does_not_answer_is_counted_and_told(clock: FakeClock) -> None:
    said: list[str] = []
    with Rude(b"") as server:
        client = Client(HttpTransport(server.url, "", clock), clock, notify=said.append)
        with pytest.raises(ExternalError, match="closed the connection"):
            client.query("query", {})
        told = [line for line in said if line.startswith("POST /graphql")]
        assert len(server.heard) == len(told) == client.stats.requests == client.stats.failed == MAX_FIRST_TRIES


@pytest.mark.real  # it waits between its tries
def test_a_server_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NoResponseError, match="cannot be reached"):
        HttpTransport(f"http://127.0.0.1:{port}", "", FakeClock()).send(Request("/repos/a/b"))

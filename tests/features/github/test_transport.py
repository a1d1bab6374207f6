"""The token goes to one server, in one header, encrypted; what fails on the way is told in a few words."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from stargaze.errors import ConfigError, CredentialsError
from stargaze.features.github.port import Ask, ElsewhereError, NoAnswerError
from stargaze.features.github.transport import HttpTransport
from tests.features.github.conftest import FakeClock


@pytest.mark.parametrize(
    "url",
    [
        *["", "github.com", "ftp://x", "https://", "https://user:pw@host", "https://:pw@host", "https://host/?q=1"],
        *["https://host/#x", "https://host:99999", "https://[host", "nonsense"],
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"github\.url"):
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
    assert HttpTransport(base, "", FakeClock()).address(Ask(path)) == address


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
        ("https:///evil.example/x", "whose address is none"),
        ("https://[evil/x", "whose address is none"),
        ("https://api.github.com:99999/x", "whose address is none"),
        ("evil.example/x", "whose address is none"),
    ],
)
def test_another_server_gets_nothing(url: str, name: str) -> None:
    with pytest.raises(ElsewhereError) as caught:
        HttpTransport("https://api.github.com", "secret", FakeClock()).send(Ask(url))
    assert str(caught.value) == name


@pytest.mark.parametrize(
    "base", ["https://api.github.com", "https://API.GitHub.com:443/", "https://api.github.com/api/v3"]
)
@pytest.mark.parametrize(
    "url", ["https://api.github.com/x", "https://api.github.com:443/x", "HTTPS://API.github.COM/x"]
)
def test_the_same_server_may_be_written_in_many_ways(base: str, url: str) -> None:
    request = HttpTransport(base, "secret", FakeClock())._prepared(Ask(url))
    assert request.headers["Authorization"] == "Bearer secret"


@pytest.fixture
def rude() -> Iterator[str]:
    """A server that closes each connection in the middle of its answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_an_answer_that_is_cut_short_is_none(rude: str) -> None:
    with pytest.raises(NoAnswerError, match="cut short"):
        HttpTransport(rude, "", FakeClock()).send(Ask("/repos/a/b"))


@pytest.mark.real  # it waits between its tries
def test_a_server_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NoAnswerError, match="cannot be reached"):
        HttpTransport(f"http://127.0.0.1:{port}", "", FakeClock()).send(Ask("/repos/a/b"))

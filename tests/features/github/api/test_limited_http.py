"""Whatever a server sends, and however slowly, a request ends in time and within a few times the limit of memory."""

from __future__ import annotations

import functools
import gzip
import resource
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests

from stargaze.errors import ExternalError
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import HttpTransport, NoResponseError, OtherServerError, Request
from stargaze.features.github.api.limited_http import ResponseLimits
from tests.features.github.conftest import FakeClock
from tests.waiting import not_blocked

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MEGABYTE = 1024 * 1024
SECONDS = 2.0
Send = Callable[[bytes], None]


@functools.cache
def bomb() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(256)) + packer.flush()


def gzip_bomb(send: Send) -> None:
    body = bomb()
    send(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def nested_gzip_bomb(send: Send) -> None:
    body = gzip.compress(bomb())
    send(OK + b"Content-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def empty_gzip_members(send: Send) -> None:
    send(OK + b"Content-Encoding: gzip\r\n\r\n")
    while True:
        send(gzip.compress(b"") * 1000)


def endless_body(send: Send) -> None:
    send(OK + b"\r\n")
    while True:
        send(b"[" * 65_536)


def endless_chunks(send: Send) -> None:
    send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        send(b"10000\r\n" + b"[" * 65_536 + b"\r\n")


def huge_chunk_size(send: Send) -> None:
    send(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n")
    while True:
        send(b"[" * 65_536)


def endless_chunk_line(send: Send) -> None:
    send(OK + b"Transfer-Encoding: chunked\r\n\r\n1;")
    while True:
        send(b"x" * 65_536)


def huge_length(send: Send) -> None:
    send(OK + b"Content-Length: 999999999999\r\n\r\n")
    while True:
        send(b"[" * 65_536)


def huge_headers(send: Send) -> None:
    send(OK)
    while True:
        send(b"X-A: " + b"x" * 60_000 + b"\r\n")


def endless_continue(send: Send) -> None:
    while True:
        send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_status_line(send: Send) -> None:
    while True:
        send(b"HTTP/1.1 200 " + b"x" * 65_536)


def trickle(send: Send, data: bytes) -> None:
    while True:
        send(data)
        time.sleep(0.05)


def trickled_body(send: Send) -> None:
    send(OK + b"Content-Length: 100000\r\n\r\n")
    trickle(send, b"[")


def trickled_chunks(send: Send) -> None:
    send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    trickle(send, b"1\r\n[\r\n")


def trickled_header(send: Send) -> None:
    send(OK)
    trickle(send, b"x")


def trickled_gzip(send: Send) -> None:
    send(OK + b"Content-Encoding: gzip\r\n\r\n")
    trickle(send, gzip.compress(b""))


def silence(_send: Send) -> None:
    time.sleep(SECONDS * 3)


LARGE = (gzip_bomb, nested_gzip_bomb, endless_body, endless_chunks, huge_chunk_size, huge_length)
OTHER = (empty_gzip_members, endless_chunk_line, huge_headers, endless_continue, endless_status_line)
SLOW = (trickled_body, trickled_chunks, trickled_header, trickled_gzip, silence)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Send], None]], str]]:
    """Return a function that starts a server which answers every connection in this way; it returns the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def answer(respond: Callable[[Send], None]) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(20)
                with connection, suppress(OSError):
                    connection.recv(65_536)
                    respond(connection.sendall)

    def start(respond: Callable[[Send], None]) -> str:
        threads.append(threading.Thread(target=answer, args=(respond,), daemon=True))
        threads[0].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join()


@pytest.mark.thorough
@pytest.mark.parametrize("respond", [*LARGE, *OTHER, *SLOW], ids=lambda respond: respond.__name__)
def test_a_hostile_response_is_one_clear_error_in_time_and_little_memory(
    serve: Callable[..., str], respond: Callable[[Send], None]
) -> None:
    bomb()
    url = serve(respond)
    transport = HttpTransport(url, "", FakeClock(), timeout=(5.0, 5.0), limits=ResponseLimits(8 * MEGABYTE, SECONDS))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with not_blocked(), pytest.raises((ExternalError, NoResponseError)) as caught:
        transport.send(Request("/x"))
    transport.close()

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # [kB]
    if respond in LARGE:
        assert isinstance(caught.value, ExternalError)
        assert "a response of more than 8 MiB" in caught.value.message
    if respond in SLOW:
        assert "within 2 s" in str(caught.value)


def test_a_response_that_is_too_large_is_not_requested_again(serve: Callable[..., str]) -> None:
    asked = []

    def respond(send: Send) -> None:
        asked.append(1)
        endless_body(send)

    transport = HttpTransport(serve(respond), "", FakeClock(), limits=ResponseLimits(MEGABYTE))
    with pytest.raises(ExternalError, match="more than 1 MiB") as caught:
        Client(transport, FakeClock()).get("/x")
    transport.close()

    assert len(asked) == 1
    assert "api_url" in caught.value.hint


def test_a_valid_compressed_response_and_the_next_one_are_complete(serve: Callable[..., str]) -> None:
    content = b'{"a": "' + b"x" * 5_000_000 + b'"}'
    body = gzip.compress(content)

    def respond(send: Send) -> None:
        send(OK + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    transport = HttpTransport(serve(respond), "", FakeClock(), limits=ResponseLimits(8 * MEGABYTE))
    assert [transport.send(Request("/x")).body for _ in range(3)] == [content] * 3
    transport.close()


def test_a_response_that_is_cut_off_is_no_response(serve: Callable[..., str]) -> None:
    transport = HttpTransport(serve(lambda send: send(OK + b"Content-Length: 100\r\n\r\n[")), "", FakeClock())
    with pytest.raises(NoResponseError):
        transport.send(Request("/x"))
    transport.close()


@pytest.mark.thorough
def test_the_token_does_not_follow_a_redirect_to_another_server(serve: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.5)
        target = f"http://127.0.0.1:{other.getsockname()[1]}/steal"
        url = serve(
            lambda send: send(f"HTTP/1.1 301 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        )
        transport = HttpTransport(url, "secret", FakeClock())
        assert transport.send(Request("/x")).status == requests.codes.moved
        with pytest.raises(OtherServerError):
            transport.send(Request(target))
        with pytest.raises(TimeoutError):
            other.accept()
        transport.close()

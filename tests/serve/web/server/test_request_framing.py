"""The end of a request is found for every way to cut it, as gunicorn finds it; what is never valid is passed on."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stargaze.serve.runtime.settings import MAX_BODY
from stargaze.serve.web.server.request_framing import MAX_BUFFER, MAX_HEAD, RequestBuffer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde"
CHUNKED = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;note=1\r\nde\r\n0\r\n\r\n"
TRAILER = CHUNKED[:-2] + b"Digest: x\r\n\r\n"
COMPLETE = {"get": GET, "post": POST, "chunked": CHUNKED, "trailer": TRAILER, "empty": b"\r\n\r\n"}


@pytest.mark.parametrize("request_bytes", COMPLETE.values(), ids=COMPLETE.keys())
def test_a_request_that_arrives_byte_by_byte_is_complete_at_its_last_byte(request_bytes: bytes) -> None:
    buffer = RequestBuffer()
    for byte in request_bytes[:-1]:
        buffer.append(bytes([byte]))
        assert buffer.pop_request() is None

    buffer.append(request_bytes[-1:])

    assert buffer.pop_request() == request_bytes
    assert not buffer


def test_requests_in_one_packet_are_separated_at_any_cut() -> None:
    stream = GET + POST + CHUNKED + GET + TRAILER
    for seed in range(200):
        cuts = sorted(random.Random(seed).sample(range(len(stream)), 4))
        buffer, found = RequestBuffer(), []
        for part in (stream[i:j] for i, j in zip([0, *cuts], [*cuts, len(stream)], strict=True)):
            buffer.append(part)
            while request := buffer.pop_request():
                found.append(request)
        assert found == [GET, POST, CHUNKED, GET, TRAILER]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD,
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nx",
        b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1),
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (MAX_BUFFER // 6),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * (MAX_BUFFER // 6),
    ],
    ids=lambda data: data[:60].decode(),
)
def test_what_will_never_be_a_valid_request_is_passed_on_at_once(data: bytes) -> None:
    buffer = RequestBuffer()
    buffer.append(data)

    assert buffer.pop_request() == data


class SearchedBytes(bytearray):
    """Bytes that count how many of them were searched."""

    searched = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:  # type: ignore[override]
        position = super().find(sub, start)
        self.searched += (position if position >= 0 else len(self)) - start
        return position


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\nX: ", CHUNKED[:-2], CHUNKED[:-5] + b"1000\r\n"],
    ids=["head", "trailer", "chunk"],
)
def test_the_bytes_of_a_slow_client_are_searched_once(start: bytes) -> None:
    buffer = RequestBuffer()
    buffer._data = data = SearchedBytes(start)
    for _ in range(500):
        buffer.append(b"x" * 8)
        assert buffer.pop_request() is None

    assert data.searched < 4 * len(data)


def test_a_client_that_expects_to_continue_is_told_so_once_and_only_if_its_body_is_read() -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    buffer = RequestBuffer()
    buffer.append(head % 5)
    assert [buffer.is_expecting(), buffer.is_expecting()] == [True, False]
    assert buffer.pop_request() is None

    too_large = RequestBuffer()
    too_large.append(head % (MAX_BODY + 1))
    assert not too_large.is_expecting()

"""A slow client does not block other clients."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import to_environment
from stargaze.serve.supervisor.supervise import _start_web, listen, prepare_store, url_of
from stargaze.serve.web.server.gunicorn_worker import REQUEST_TIMEOUT
from stargaze.store import Store
from tests.waiting import not_blocked

pytestmark = pytest.mark.real

TIMEOUT = 60.0
HEAD = b"POST /api/v1/predictions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path) -> Iterator[tuple[str, int]]:
    """One web process as ``serve`` starts it, without workers."""
    store = Store(tmp_path_factory.mktemp("site"))
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    prepare_store(store)
    section = ServeSection(port=0, web_processes=1)
    with listen("127.0.0.1", 0) as listener:
        child = _start_web(section, store, to_environment(section, store), listener)
        try:
            wait_for_answer(url_of(listener))
            yield url_of(listener), listener.getsockname()[1]
        finally:
            child.terminate()
            child.wait_or_kill()


def get(url: str) -> requests.Response:
    return requests.get(url, timeout=10, proxies={"http": "", "https": ""})


def wait_for_answer(url: str) -> None:
    limit = time.monotonic() + TIMEOUT
    while time.monotonic() < limit:
        with contextlib.suppress(requests.RequestException):
            get(f"{url}/healthz")
            return
    raise AssertionError("the server does not answer")


@contextlib.contextmanager
def send_slowly(port: int, at_once: bytes, slowly: bytes) -> Iterator[None]:
    """Send the first part of a request at once and the rest at one byte per second."""
    stopped = threading.Event()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(at_once)

        def send() -> None:
            for byte in slowly:
                connection.sendall(bytes([byte]))
                if stopped.wait(1.0):
                    return

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("sent", [b"", HEAD + b"Content-Length: 900\r\n\r\n"], ids=["head", "body"])
def test_a_client_that_sends_a_byte_per_second_blocks_nobody(site: tuple[str, int], clients: int, sent: bytes) -> None:
    url, port = site
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(send_slowly(port, sent, HEAD if not sent else b"{" * 900))
        statuses = []
        for _ in range(20):
            with not_blocked(REQUEST_TIMEOUT / 2):
                statuses.append(get(url).status_code)

    assert statuses == [200] * 20


def test_ten_megabytes_are_rejected_before_they_are_sent(site: tuple[str, int]) -> None:
    """The response arrives before the client has sent the body."""
    with socket.create_connection(("127.0.0.1", site[1]), timeout=10) as connection:
        connection.sendall(HEAD + b"Content-Length: 10000000\r\n\r\n")

        answer = connection.recv(1000)

    assert answer.startswith(b"HTTP/1.1 413")

"""200 connections of slow clients do not delay anybody else, and end at their deadlines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import requests

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import MAX_BODY, to_environment, web_server_command
from stargaze.serve.supervisor.child_process import ChildProcess, start_child
from stargaze.serve.supervisor.supervise import listen, prepare_store, url_of
from stargaze.serve.web.server.connection_counts import SLOTS, ConnectionCounts
from stargaze.serve.web.server.gunicorn_worker import MAX_HELD, REQUEST_TIMEOUT, BufferingWorker
from stargaze.store import Store
from tests.waiting import not_blocked, wait_for

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore::ResourceWarning")]
CONNECTIONS = 200
HOST = "Host: 127.0.0.1\r\n"
NOT_DELAYED = REQUEST_TIMEOUT / 2
"""A request that waited until the server closed a slow client would take longer [s]."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path) -> Iterator[tuple[str, int, ChildProcess]]:
    """The web server with the command and settings of ``stargaze serve``: URL, port and process."""
    with run_page(tmp_path_factory.mktemp("page"), bundle_folder) as page:
        yield page


@contextlib.contextmanager
def run_page(folder: Path, bundle_folder: Path) -> Iterator[tuple[str, int, ChildProcess]]:
    """Run a web server without a worker."""
    store = Store(folder)
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    prepare_store(store)
    section = ServeSection(rate_limit=0, github_lookup=False)
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        command = web_server_command(section, f"fd://{listener.fileno()}", grace=5)
        url, port = url_of(listener), listener.getsockname()[1]
        fds = (listener.fileno(),)
        child = start_child(
            "web", command, to_environment(section, store), store.root / "log", store.root, pass_fds=fds
        )
    wait_for(lambda: _is_ok(url))
    try:
        yield url, port, child
    finally:
        child.terminate()
        child.wait_or_kill()


def _is_ok(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/healthz", timeout=30).ok
    return False


class SlowClients:
    """Connections that send ``start`` and then a byte of ``rest`` four times per second, or read nothing."""

    def __init__(self, port: int, start: bytes, rest: bytes, count: int = CONNECTIONS) -> None:
        self._rest = rest
        self._sockets = []
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", port))
            client.sendall(start)
            self._sockets.append(client)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._trickle)
        self._thread.start()

    def _trickle(self) -> None:
        position = 0
        while not self._stopped.wait(0.25):
            for client in self._sockets if self._rest else ():
                with contextlib.suppress(OSError):
                    client.send(self._rest[position % len(self._rest) :][:1])
            position += 1

    def open_count(self) -> int:
        """Return how many connections the server has not closed."""
        return sum(self._is_open(client) for client in self._sockets)

    @staticmethod
    def _is_open(client: socket.socket) -> bool:
        client.setblocking(False)
        try:
            while client.recv(65_536):
                pass
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        for client in self._sockets:
            client.close()


HEAD = f"GET / HTTP/1.1\r\n{HOST}"
BODY = f"POST /api/v1/predictions HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n"
KINDS = {
    "nothing": ("", ""),
    "header": (HEAD, "X: y\r\n"),
    "body": (f"{BODY}Content-Length: 60000\r\n\r\n", "x"),
    "chunks": (f"{BODY}Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    "expects": (f"{BODY}Expect: 100-continue\r\nContent-Length: 60000\r\n\r\n", "x"),
    "idle": (f"{HEAD}\r\n", ""),
    "reader": (f"{HEAD}\r\n" * 20, ""),
    "never closes": (f"{HEAD}Connection: close\r\n\r\n", ""),
    "too large": (f"{BODY}Content-Length: 99999999\r\n\r\n", "x"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_requests_are_answered_at_once_while_slow_clients_are_connected(
    page: tuple[str, int, ChildProcess], kind: str
) -> None:
    url, port, child = page
    start, rest = KINDS[kind]
    clients = SlowClients(port, start.encode(), rest.encode())
    try:
        for path in ("healthz",) * 10 + ("",):
            with not_blocked(NOT_DELAYED):
                assert requests.get(f"{url}/{path}", timeout=30).ok
            time.sleep(0.1)
        if kind == "header":
            wait_for(lambda: clients.open_count() == 0, REQUEST_TIMEOUT + 20)
    finally:
        clients.close()
    assert not child.has_ended()


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_reset_their_connection_end_no_process(page: tuple[str, int, ChildProcess], kind: str) -> None:
    url, port, child = page
    before = [process.pid for process in psutil.Process(child.process.pid).children()]

    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
            client.sendall(KINDS[kind][0].encode())

    assert _is_ok(url)
    assert [process.pid for process in psutil.Process(child.process.pid).children()] == before


def test_a_connection_with_an_event_after_its_end_is_closed_once() -> None:
    """In one iteration of the loop a new connection exceeds the limit, and the one that is closed for it has sent data."""
    worker = BufferingWorker.__new__(BufferingWorker)
    worker._deadlines, worker.nr_conns, worker.worker_connections = {}, 0, 2
    worker.cfg, worker.age, worker._accepting = SimpleNamespace(), 1, False
    with contextlib.ExitStack() as stack:
        worker.poller = stack.enter_context(selectors.DefaultSelector())
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        clients = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(2)]
        worker.accept(listener)
        clients[0].sendall(b"GET")
        events = worker.poller.select(10)

        worker.accept(listener)
        for key, _ in events:
            key.data(key.fileobj)

        assert len(events) == 1
        assert worker.nr_conns == len(worker._deadlines) == 1
        worker.murder_keepalived(force=True)


def test_the_processes_accept_equally_many_connections(page: tuple[str, int, ChildProcess]) -> None:
    """The first process that wakes up would accept nearly all connections of a burst."""
    url, port, child = page
    processes = psutil.Process(child.process.pid).children()
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))

        def counts() -> list[int]:
            connections = [process.net_connections("tcp") for process in processes]
            return [sum(item.status == psutil.CONN_ESTABLISHED for item in group) for group in connections]

        wait_for(lambda: sum(counts()) == CONNECTIONS)
        assert _is_ok(url)
        assert len(processes) == 2
        assert min(counts()) > CONNECTIONS // 4


def test_a_killed_process_counts_no_longer() -> None:
    counts = ConnectionCounts()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        counts.record(1, process.pid, 3)
        assert counts.is_exceeded_by(4)
        assert not counts.is_exceeded_by(3)
        process.kill()
    assert not counts.is_exceeded_by(4)
    counts.record(SLOTS + 1, os.getpid(), 3)
    assert counts.is_exceeded_by(4)


class HeldConnection:
    """A connection whose client holds memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.is_closed = False
        self.sock = self

    def held(self) -> int:
        return self.size

    def close(self) -> None:
        self.is_closed = True


def test_connections_that_hold_much_memory_are_closed_the_longest_waiting_first() -> None:
    worker = BufferingWorker.__new__(BufferingWorker)
    sizes = (0, MAX_HELD // 2, 10, MAX_HELD, MAX_HELD // 4)
    connections = [HeldConnection(size) for size in sizes]
    worker._deadlines, worker.nr_conns = dict.fromkeys(connections, 0.0), 5  # type: ignore[arg-type]
    worker.age, worker._accepting = 1, False
    worker.poller = selectors.DefaultSelector()

    worker._limit_memory()

    worker.poller.close()
    assert [connection.is_closed for connection in connections] == [False, True, True, True, False]
    assert worker.nr_conns == 2


def _exchange(port: int, data: bytes, pause: float = 0.0) -> bytes:
    """Send data, in two parts if there is a pause, and return everything until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(data[: len(data) // 2])
        time.sleep(pause)
        client.sendall(data[len(data) // 2 :])
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(65_536):
                received += part
        return received


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_pipelined_requests_are_answered_in_order(page: tuple[str, int, ChildProcess], pause: float) -> None:
    _, port, _ = page
    requests_sent = f"GET /healthz HTTP/1.1\r\n{HOST}\r\nGET /gone HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"

    answer = _exchange(port, requests_sent.encode(), pause)

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404"]


def test_a_chunked_body_is_read(page: tuple[str, int, ChildProcess]) -> None:
    url, _, _ = page

    response = requests.post(
        f"{url}/api/v1/predictions", data=iter([b"{", b"}"]), headers={"Content-Type": "application/json"}, timeout=30
    )

    assert response.status_code == 400
    assert response.json()["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (f"{BODY}Content-Length: {MAX_BODY + 1}\r\n\r\n" + "x" * (MAX_BODY + 1), b"413"),
        (f"{BODY}Content-Length: 10000000\r\n\r\n", b"413"),
        (f"GET /{'x' * 3000} HTTP/1.1\r\n{HOST}\r\n", b"414"),
        (f"{HEAD}Content-Length: x\r\n\r\n", b"400"),
        ("nonsense\r\n\r\n", b"400"),
        (f"{BODY}Transfer-Encoding: chunked\r\n\r\n0x2\r\n{{}}\r\n0\r\n\r\n", b"400"),
        (f"{BODY}Transfer-Encoding: chunked\r\n\r\n-5\r\n", b"400"),
        (f"{BODY}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}0\r\n\r\n", b"400"),
    ],
    ids=[
        *("body too large", "length too large", "long line", "bad length", "nonsense"),
        *("size of a chunk", "negative chunk", "end of a chunk"),
    ],
)
def test_an_invalid_request_gets_its_status(page: tuple[str, int, ChildProcess], data: str, status: bytes) -> None:
    _, port, _ = page
    answer = _exchange(port, data.encode())

    assert answer.split(b" ", 2)[1] == status, answer[:200]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"nonsense" not in body
    if b"problem+json" in head:  # else a page, since the address is one
        problem, _ = json.JSONDecoder().raw_decode(body.decode())  # rest of the body may be refused, too
        assert problem["status"] == int(status)
        assert problem["request_id"].encode() in head
    else:
        assert b"Request ID" in body


@pytest.mark.parametrize("header", ["SCRIPT_NAME", "X-Forwarded-Proto"])
def test_a_client_on_this_machine_sets_neither_path_nor_scheme(
    page: tuple[str, int, ChildProcess], header: str
) -> None:
    url, _, _ = page
    value = {"SCRIPT_NAME": "//other", "X-Forwarded-Proto": "https"}[header]

    response = requests.get(
        f"{url}//other/healthz" if header == "SCRIPT_NAME" else url, headers={header: value}, timeout=30
    )

    assert response.status_code == (404 if header == "SCRIPT_NAME" else 200)
    assert "//other" not in response.text
    assert "Secure" not in response.headers.get("Set-Cookie", "")


def test_a_slow_reader_gets_the_whole_response(page: tuple[str, int, ChildProcess]) -> None:
    url, port, _ = page
    whole = requests.get(f"{url}/openapi.json", timeout=30)
    path = "/openapi.json" if whole.ok else "/api/v1/openapi.json"
    expected = len(requests.get(f"{url}{path}", timeout=30, headers={"Accept-Encoding": "identity"}).content)
    with socket.socket() as client:
        client.settimeout(60.0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {path} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n".encode())
        received = b""
        while part := client.recv(1500):
            received += part
            if len(received) < 30_000:
                time.sleep(0.01)

    assert len(received.partition(b"\r\n\r\n")[2]) == expected


def test_a_stopping_server_frees_the_port_before_its_last_response(tmp_path: Path, bundle_folder: Path) -> None:
    with (
        run_page(tmp_path, bundle_folder) as (_url, port, child),
        socket.create_connection(("127.0.0.1", port)) as open_request,
    ):
        open_request.sendall(f"POST /api/v1/predictions HTTP/1.1\r\n{HOST}Content-Length: 100\r\n\r\n".encode())
        child.terminate()

        with listen("127.0.0.1", port, patience=30.0):
            assert not child.has_ended()

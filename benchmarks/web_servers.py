"""The same app behind gunicorn with stargaze's worker class and behind granian: speed, and what production promises.

    pip install granian
    python benchmarks/serve.py --only servers

Each server runs with two processes of 64 threads beside one worker of the queue on files. Only this benchmark needs granian.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psutil
import requests

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import to_environment, web_server_command
from stargaze.serve.supervisor.child_process import ChildProcess, start_child
from stargaze.store import Store

START_TIMEOUT = 60.0
SLOW_CLIENTS = 200
HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST /api/v1/predictions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
REQUESTS = {
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "64 kB of headers": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 65_536 + b"\r\n\r\n",
    "3 kB of path": b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "2,000 chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 2_000 + b"0\r\n\r\n",
    "expected continuation": POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n",
}
"""Requests whose first line of the response is printed."""


def compare_servers(
    section: ServeSection,
    store: Store,
    bodies: Sequence[Mapping[str, Any]],
    load: Callable[..., Any],
    show: Callable[..., str],
) -> None:
    """Print the measurements of both servers beside a worker that is running."""
    for name in ("gunicorn", "granian", "gunicorn", "granian"):
        with _server(name, section, store) as (url, child, seconds):
            memory = sum(process.memory_full_info().pss for process in _processes(child)) / 1e6
            print(f"{name}: ready after {seconds:.1f} s, {memory:.0f} MB", flush=True)
            for clients in (10, 100):
                reads = load(url, "read", [{}] * 3_000, clients=clients)
                print(f"  GET /healthz, {clients} clients: {show(reads)}", flush=True)
                some, bodies = bodies[:300], bodies[300:]
                print(f"  predictions, {clients} clients: {show(load(url, 'page', some, clients=clients))}", flush=True)
            _print_promises(url, child)


def _print_promises(url: str, child: ChildProcess) -> None:
    port = int(url.rpartition(":")[2])
    for name, request in REQUESTS.items():
        print(f"  {name}: {_first_line(port, request)}")
    with contextlib.ExitStack() as stack:
        start = POST + b"Content-Length: 1000\r\n\r\n{"
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(SLOW_CLIENTS)]
        for client in slow:
            client.sendall(start)
        delays = []
        for _ in range(12):
            begin = time.perf_counter()
            try:
                requests.get(f"{url}/healthz", timeout=10)
            except requests.RequestException as error:
                print(f"  not answered while clients are slow: {type(error).__name__}")
            delays.append(time.perf_counter() - begin)
            time.sleep(1.0)
        print(f"  {SLOW_CLIENTS} slow bodies: median delay {1000 * statistics.median(delays):.0f} ms")
        print(f"  of them closed after 12 s: {sum(map(_is_closed, slow))}", flush=True)
    with socket.create_connection(("127.0.0.1", port)) as client:
        body = b'{"repositories": ["own/name"]}'
        client.sendall(POST + b"Prefer: wait=2\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.05)
        begin = time.perf_counter()
        child.process.send_signal(signal.SIGTERM)
        client.settimeout(30)
        answered = client.recv(100)[:15]
        child.wait_or_kill()
        print(f"  stopped after {time.perf_counter() - begin:.1f} s; the open request got {answered!r}", flush=True)


def _first_line(port: int, request: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        try:
            client.sendall(request)
            return client.recv(1_000).split(b"\r\n")[0].decode("latin-1") or "closed"
        except OSError as error:
            return type(error).__name__


def _is_closed(client: socket.socket) -> bool:
    client.settimeout(0.01)
    try:
        while client.recv(4_096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@contextlib.contextmanager
def _server(name: str, section: ServeSection, store: Store) -> Iterator[tuple[str, ChildProcess, float]]:
    """Run one web server on a free port; yield URL, process and the time until it was ready [s]."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = web_server_command(section, f"127.0.0.1:{port}", grace=5)
    if name == "granian":
        command = [
            *("granian", "--interface=wsgi", "--http=1", "--no-ws", "--factory", f"--port={port}", "--no-access-log"),
            *(f"--workers={section.web_processes}", "--blocking-threads=64", "--http1-header-read-timeout=10000"),
            *("--workers-kill-timeout=5", "--respawn-failed-workers", "stargaze.serve.web.app:create"),
        ]
    environment = to_environment(section, store)
    begin = time.perf_counter()
    child = start_child("web", command, environment, store.logs / f"{name}.log", store.root)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _is_ready(url):
            if time.perf_counter() - begin > START_TIMEOUT:
                sys.exit(f"{name} did not start:\n{child.log_tail()}")
            time.sleep(0.05)
        yield url, child, time.perf_counter() - begin
    finally:
        child.terminate()
        child.wait_or_kill()


def _is_ready(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/readyz", timeout=5).ok
    return False


def _processes(child: ChildProcess) -> list[psutil.Process]:
    process = psutil.Process(child.process.pid)
    return [process, *process.children(recursive=True)]

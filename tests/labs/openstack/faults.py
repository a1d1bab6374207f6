"""Proxies in front of the services that count each call and inject the faults that a test asks for.

with fault_proxies(ports) as faults:
    faults.reject(503, service="nova", method="POST", path="*/servers", times=2)
    faults.drop("after", service="neutron", method="POST", path="*/networks", times=1)
    ...
    assert faults.count()["nova POST /v2.1/servers"] == 3
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import http.client
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Moment = Literal["before", "after", "within"]
"""When a connection is dropped: before the service gets the call, after it has executed it, or in the middle of its response."""

TIMEOUT = 300.0
"""Timeout of a call to a service [s]."""
OWN_NAMES = re.compile(r"(?<=/os-keypairs/)[^/]+|(?<=/tags/)[^/]+")
IDS = re.compile(r"(?<=/)[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}(?=/|$)")
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade"}
"""Hop-by-hop headers (RFC 9110, 7.6.1), and the one that the proxy sets itself."""


@dataclass(frozen=True)
class Call:
    """One call, as the proxy saw it."""

    service: str
    method: str
    path: str
    """With ``{id}`` for each id, without the query."""
    query: str
    status: int | None
    """As sent to the client; None if the response was not sent completely."""
    began: float
    """On the clock of ``time.monotonic`` [s]."""
    seconds: float


@dataclass(frozen=True)
class Fault:
    """A fault for calls that match shell patterns of service, method and path."""

    service: str = "*"
    method: str = "*"
    path: str = "*"
    skip: int = 0
    """Number of matching calls that pass first."""
    times: int | None = None
    """Number of calls with the fault after that; None is all."""
    delay: float = 0.0
    """Before the service gets the call [s]."""
    status: int | None = None
    """Response in place of the service's."""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: Moment | None = None
    act: Callable[[], None] | None = None
    """Called first, by the thread that handles the call."""

    def matches(self, service: str, method: str, path: str) -> bool:
        """Return whether a call matches."""
        pairs = ((service, self.service), (method, self.method), (path, self.path))
        return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs)


class Faults:
    """The active faults and the recorded calls; any thread may change them at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, list[int]]] = []
        self._calls: list[Call] = []
        self.failures: list[Exception] = []
        """Exceptions of the functions that faults called."""
        self.urls: dict[str, str] = {}
        """Address of the proxy of each service."""

    @property
    def calls(self) -> list[Call]:
        """All finished calls, in the order in which they finished."""
        with self._lock:
            return list(self._calls)

    def count(self) -> Counter[str]:
        """Return how often each ``service METHOD /path`` was called."""
        return Counter(f"{call.service} {call.method} {call.path}" for call in self.calls)

    def clear_calls(self) -> None:
        """Delete the recorded calls."""
        with self._lock:
            self._calls.clear()

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def add(self, fault: Fault) -> None:
        """Add a fault after the existing ones."""
        with self._lock:
            self._faults.append((fault, [0]))

    def reject(self, status: int, *, retry_after: int | None = None, **match: Any) -> None:
        """Respond with an error status in place of the service."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.add(Fault(status=status, headers=headers, **match))

    def drop(self, moment: Moment, **match: Any) -> None:
        """Drop the connection."""
        self.add(Fault(drop=moment, **match))

    def delay(self, seconds: float, **match: Any) -> None:
        """Delay calls."""
        self.add(Fault(delay=seconds, **match))

    def at(self, number: int, act: Callable[[], None], **match: Any) -> None:
        """Call a function at the matching call with this number, starting at 1, before the service gets it."""
        self.add(Fault(skip=number - 1, times=1, act=act, **match))

    def match(self, service: str, method: str, path: str) -> list[Fault]:
        """Return the faults of a call; each matching fault counts it."""
        faults = []
        with self._lock:
            for fault, count in self._faults:
                if fault.matches(service, method, path):
                    count[0] += 1
                    if fault.skip < count[0] and (fault.times is None or count[0] <= fault.skip + fault.times):
                        faults.append(fault)
        return faults

    def record(self, call: Call) -> None:
        """Record a call."""
        with self._lock:
            self._calls.append(call)


@contextlib.contextmanager
def fault_proxies(ports: Mapping[str, int]) -> Iterator[Faults]:
    """Start a proxy on a free port for each service."""
    faults = Faults()
    with contextlib.ExitStack() as stack:
        for service, port in ports.items():
            server = _Server(service, port, faults)
            stack.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            faults.urls[service] = f"http://127.0.0.1:{server.server_address[1]}"
        yield faults


def normalize_path(path: str) -> str:
    """Return the path with ``{id}`` in place of each id.

    >>> normalize_path("/v2.1/servers/4ba9039e-6d87-4a30-968c-b1bfd3f061f5/action")
    '/v2.1/servers/{id}/action'
    >>> normalize_path("/v3/projects/695e7a6e9e224966b12c3c3cc75c12af"), normalize_path("/v2.1/os-keypairs/mine")
    ('/v3/projects/{id}', '/v2.1/os-keypairs/{id}')
    """
    return IDS.sub("{id}", OWN_NAMES.sub("{id}", path))


@dataclass(frozen=True)
class _Answer:
    status: int
    """0 means no response."""
    headers: Sequence[tuple[str, str]] = ()
    content: bytes = b""
    whole: bool = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep their connections open
    request_queue_size = 64

    def __init__(self, service: str, port: int, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service, self.port, self.faults = service, port, faults
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: tests kill clients in the middle of a call."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _proxy(self) -> None:
        """Handle one call, with its faults."""
        began = time.monotonic()
        raw, _, query = self.path.partition("?")
        path = normalize_path(raw)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self._answer(self.server.faults.match(self.server.service, self.command, path), body)
        status = answer.status if answer.whole else None
        took = time.monotonic() - began
        # before the response is sent, so that a client with a response finds the call
        self.server.faults.record(Call(self.server.service, self.command, path, query, status, began, took))
        if answer.status:
            self._write(answer)
        if not answer.whole:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _proxy  # noqa: N815 - the contract of the base class

    def _answer(self, faults: list[Fault], body: bytes) -> _Answer:
        for fault in faults:
            if fault.act:
                try:
                    fault.act()
                except Exception as error:
                    self.server.faults.failures.append(error)
                    raise
            time.sleep(fault.delay)
            if fault.drop == "before":
                return _Answer(0, whole=False)
            if fault.status:
                return _refusal(fault.status, fault.headers)
        answer = self._pass_on(body)
        dropped = {fault.drop for fault in faults}
        if "after" in dropped:
            return _Answer(0, whole=False)
        return dataclasses.replace(answer, whole="within" not in dropped)

    def _pass_on(self, body: bytes) -> _Answer:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT)) as service:
            # with the Host header of the client, so that links in the response lead to the proxy
            service.request(self.command, self.path, body or None, {**headers, "Content-Length": str(len(body))})
            answer = service.getresponse()
            response_headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP]
            return _Answer(answer.status, response_headers, answer.read())

    def _write(self, answer: _Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content if answer.whole else answer.content[: len(answer.content) // 2])
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the contract of the base class
        """Print nothing: the calls are recorded."""


def _refusal(status: int, headers: Mapping[str, str]) -> _Answer:
    title = HTTPStatus(status).phrase
    error = {"error": {"code": status, "title": title, "message": f"{title}, injected by the tests"}}
    return _Answer(status, [("Content-Type", "application/json"), *headers.items()], json.dumps(error).encode())

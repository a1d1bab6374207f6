"""gunicorn's threaded worker without threads that wait for clients: the main loop reads requests and writes responses.

A thread gets a request when it is complete, and is free as soon as the response is computed. A client that sends or reads slowly,
or not at all, costs one file descriptor until its deadline.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import selectors
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from stargaze.serve.runtime.settings import MAX_BODY
from stargaze.serve.web.server.connection_counts import ConnectionCounts
from stargaze.serve.web.server.request_framing import MAX_BUFFER, RequestBuffer

REQUEST_TIMEOUT = 10.0
"""A request must be complete this long after its first byte [s]."""
RESPONSE_TIMEOUT = 60.0
"""A client must have read the response by then [s]."""
CLOSE_TIMEOUT = 2.0
"""How long a closed connection is read, so that the client gets the last response instead of a reset [s]."""
MAX_DRAINED = 16 * MAX_BODY
MAX_HELD = 64 * 1024 * 1024
"""Incomplete requests and unread responses of one process [byte]; above it the connections that wait longest are closed."""
SCAN_INTERVAL = 0.25
"""Time between two searches for passed deadlines [s]."""
RESERVED_FILES = 256
"""File descriptors for everything but connections."""
MAX_FILES = 65_536
SWITCH_INTERVAL = 0.002
"""The main loop gets the interpreter from a busy thread after this time, not after Python's 5 ms [s]. A fourth of it would take
15 % more CPU time per request."""
ACCEPT_PAUSE = 0.001
"""For so long a process leaves a new connection to those that have fewer [s]."""
TEMPORARY_ERRORS = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class BufferedSocket:
    """What gunicorn sees of a connection: one complete request to read, and a buffer for the response. It never blocks."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._request = b""
        self._response = bytearray()

    def provide(self, request: bytes) -> None:
        """Set what :meth:`recv` returns before it reports the end."""
        self._request = request

    def recv(self, size: int) -> bytes:
        """Return the next part of the request; empty at its end."""
        part, self._request = self._request[:size], self._request[size:]
        return part

    def sendall(self, data: bytes) -> None:
        """Send what the client accepts now, and keep the rest for :meth:`flush`."""
        sent = 0
        if not self._response:
            with contextlib.suppress(BlockingIOError):
                sent = self._socket.send(data)
        self._response += memoryview(data)[sent:]

    send = sendall

    def flush(self) -> bool:
        """Send more of the response; return whether all of it was sent."""
        with contextlib.suppress(BlockingIOError):
            while self._response:
                del self._response[: self._socket.send(self._response)]
        return not self._response

    def pending(self) -> int:
        """Return how much of the response was not sent yet [byte]."""
        return len(self._response)

    def receive(self, size: int) -> bytes | None:
        """Read from the client; empty if it has closed the connection, None if there is nothing now."""
        try:
            return self._socket.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def end(self) -> None:
        """Tell the client that no more follows."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def fileno(self) -> int:
        """Return the descriptor, for the selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def setblocking(self, _value: object) -> None:
        """Stay as it is; the main loop shuts it down when the rest is sent."""

    settimeout = shutdown = setblocking

    def gettimeout(self) -> float:
        """Return the timeout of a socket that does not block."""
        return 0.0


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection: what was received of the next request, and whether another one may follow."""

    def __init__(self, cfg: Any, connection: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, BufferedSocket(connection), client, server)
        self.data_ready = True
        self.received = RequestBuffer()
        self.is_kept = False
        self.drained = 0

    def held(self) -> int:
        """Return how much memory the client holds [byte]."""
        return len(self.received) + self.sock.pending()  # type: ignore[no-any-return]


class BufferingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """The worker; all methods but :meth:`handle` and :meth:`handle_error` run in the main thread."""

    _counts = ConnectionCounts()
    """Of all processes, since it exists before gunicorn forks them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadlines: dict[Connection, float] = {}
        """Of all connections that no thread handles, the longest waiting first."""
        self._next_scan = 0.0

    def init_process(self) -> None:
        """Allow as many connections as files, and run."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            soft = max(soft, min(hard if hard != resource.RLIM_INFINITY else MAX_FILES, MAX_FILES))
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            self.worker_connections: int = max(1, min(self.cfg.worker_connections, soft - RESERVED_FILES))
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection and wait for its request; if there are too many, close the one that waits longest."""
        if self._counts.is_exceeded_by(self.nr_conns):
            time.sleep(ACCEPT_PAUSE)
        try:
            connection, client = listener.accept()
        except OSError as error:
            if error.errno in TOO_MANY_FILES:
                self._close_longest_waiting()
            elif error.errno not in TEMPORARY_ERRORS:
                raise
            return
        self._count(+1)
        self._wait_for_request(Connection(self.cfg, connection, client, listener.getsockname()), REQUEST_TIMEOUT)
        if self.nr_conns >= self.worker_connections:
            self._close_longest_waiting()

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - gunicorn's signature
        """Accept connections or not; a worker that stops frees the port at once, not after its last response."""
        super().set_accept_enabled(enabled)
        self._count(0)
        if not enabled and not self.alive:
            for listener in self.sockets:
                listener.close()

    def finish_request(self, conn: Connection, future: Future[Any]) -> None:
        """Send the rest of the response that a thread computed."""
        conn.is_kept = future.exception() is None and bool(future.result())
        if conn.is_kept and conn.parser.unreader.buf.getvalue():  # gunicorn saw another end of the request
            conn.is_kept = False
        self._send_response(conn)

    def handle_error(self, req: Any, client: BufferedSocket, addr: Any, exc: Exception) -> None:
        """Send the response to a request that gunicorn cannot read."""
        from stargaze.serve.web.server.error_response import (
            error_response,  # imports pandas, which the master does not need
        )

        with contextlib.suppress(OSError):  # the client is gone
            client.sendall(error_response(exc))

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Close the connections whose deadline has passed, or all that wait."""
        now = time.monotonic()
        if force or now >= self._next_scan:
            self._next_scan = now + SCAN_INTERVAL
            for conn in [conn for conn, deadline in self._deadlines.items() if force or deadline <= now]:
                self._close(conn)
            self._limit_memory()

    def _cap_keepalive(self, deadline: float) -> None:
        """Close connections without a request by this time: the worker stops."""
        for conn in self._deadlines:
            if not conn.received:
                self._deadlines[conn] = min(self._deadlines[conn], deadline)

    def _wait_for_request(self, conn: Connection, seconds: float) -> None:
        if not self._start_request(conn):
            self._wait(conn, selectors.EVENT_READ, self._receive, seconds)

    def _receive(self, conn: Connection) -> None:
        data = conn.sock.receive(MAX_BUFFER)
        if data is None:
            return
        if not data:
            self._close(conn)
            return
        if not conn.received:
            self._deadlines[conn] = time.monotonic() + REQUEST_TIMEOUT
        conn.received.append(data)
        self._start_request(conn)

    def _start_request(self, conn: Connection) -> bool:
        """Let a thread handle the request if it is complete."""
        request = conn.received.pop_request()
        if request is None:
            if conn.received.is_expecting():
                with contextlib.suppress(OSError):  # the client is gone, which the next read says
                    conn.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            return False
        self._stop_waiting(conn)
        conn.sock.provide(request)
        self.enqueue_req(conn)
        return True

    def _send_response(self, conn: Connection) -> None:
        try:
            is_sent = conn.sock.flush()
        except OSError:  # the client is gone
            self._close(conn)
            return
        if not is_sent:
            if conn not in self._deadlines:
                self._wait(conn, selectors.EVENT_WRITE, self._send_response, RESPONSE_TIMEOUT)
            return
        self._stop_waiting(conn)
        if conn.is_kept:
            linger = self.cfg.keepalive if self.alive else min(self.cfg.keepalive, STOP_KEEPALIVE_LINGER)
            self._wait_for_request(conn, linger)
        else:
            conn.sock.end()
            self._wait(conn, selectors.EVENT_READ, self._drain, CLOSE_TIMEOUT)

    def _drain(self, conn: Connection) -> None:
        data = conn.sock.receive(MAX_BUFFER)
        conn.drained += len(data or b"")
        if data == b"" or conn.drained > MAX_DRAINED:
            self._close(conn)

    def _wait(self, conn: Connection, event: int, callback: Callable[[Connection], None], seconds: float) -> None:
        def call(_socket: BufferedSocket) -> None:
            if conn in self._deadlines:  # else another event of this iteration has closed it
                callback(conn)

        try:
            self.poller.register(conn.sock, event, call)
        except (OSError, ValueError):  # closed by gunicorn's error handling
            self._close(conn)
            return
        self._deadlines[conn] = time.monotonic() + seconds

    def _stop_waiting(self, conn: Connection) -> None:
        if self._deadlines.pop(conn, None) is not None:
            with contextlib.suppress(OSError, KeyError, ValueError):
                self.poller.unregister(conn.sock)

    def _close(self, conn: Connection) -> None:
        self._stop_waiting(conn)
        self._count(-1)
        with contextlib.suppress(OSError):
            conn.sock.close()

    def _count(self, change: int) -> None:
        self.nr_conns += change
        self._counts.record(self.age, os.getpid() if self._accepting else 0, self.nr_conns)

    def _limit_memory(self) -> None:
        held = {conn: size for conn in self._deadlines if (size := conn.held())}
        total = sum(held.values())
        for conn, size in held.items():
            if total <= MAX_HELD:
                return
            self._close(conn)
            total -= size

    def _close_longest_waiting(self) -> None:
        if self._deadlines:
            self._close(next(iter(self._deadlines)))

"""HTTP responses with limits: no server can fill the memory or hold a request for ever, whatever it sends and however slowly."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MAX_RESPONSE = 32 * 1024 * 1024
"""Largest response, as received and as decompressed [byte]; the largest one of GitHub has 3 MB."""
TOTAL_TIMEOUT = 90.0
"""Time in which a response must be complete [s]."""
CHUNK = 64 * 1024


class ResponseLimitError(Exception):
    """A response is not complete in time; the message says so in a few words."""


class ResponseTooLargeError(ResponseLimitError):
    """A response is larger than allowed; another try would cost the same again."""


@dataclass
class ResponseLimits:
    """The limits of one request at a time, and what is left of them."""

    max_bytes: int = MAX_RESPONSE
    seconds: float = TOTAL_TIMEOUT
    _received: int = field(default=0, init=False)
    _deadline: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Begin a request."""
        self._received, self._deadline = 0, time.monotonic() + self.seconds

    def check(self, received: int = 0) -> float:
        """Count received bytes; return the remaining time [s], or raise ResponseLimitError."""
        self._received += received
        self.check_size(self._received)
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise ResponseLimitError(f"no complete response within {self.seconds:g} s")
        return remaining

    def check_size(self, size: int) -> None:
        """Raise ResponseTooLargeError if so many bytes are too many."""
        if size > self.max_bytes:
            raise ResponseTooLargeError(f"a response of more than {self.max_bytes / 1024 / 1024:g} MiB")


class _LimitedAdapter(HTTPAdapter):
    """Connections whose every read is checked: status line, headers and body, before anything is decompressed."""

    def __init__(self, limits: ResponseLimits, **options: Any) -> None:
        self._pools = _pool_classes(limits)
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Use connections with limits."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """Use connections with limits."""
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


class LimitedSession(requests.Session):
    """A session whose responses are complete and within the limits, else ResponseLimitError; one request at a time."""

    def __init__(self, limits: ResponseLimits, **options: Any) -> None:
        super().__init__()
        self._limits = limits
        for scheme in ("https://", "http://"):
            self.mount(scheme, _LimitedAdapter(limits, **options))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request and read the response."""
        self._limits.start()
        with super().send(request, **{**options, "stream": True}) as response:
            body = bytearray()
            for part in response.iter_content(CHUNK):
                body += part
                self._limits.check_size(len(body))
            response._content = bytes(body)  # noqa: SLF001 - what reading ``content`` does without a limit
        return response


class _LimitedReader(io.RawIOBase):
    """Reads from a socket as its own file does, within the limits."""

    def __init__(self, stream: io.RawIOBase, connection: Any, limits: ResponseLimits) -> None:
        self._stream, self._connection, self._limits = stream, connection, limits

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        timeout = self._connection.gettimeout()
        remaining = self._limits.check()
        self._connection.settimeout(remaining if timeout is None else min(timeout, remaining))
        try:
            count = self._stream.readinto(buffer)
        except TimeoutError:
            self._limits.check()
            raise
        finally:
            self._connection.settimeout(timeout)
        self._limits.check(count or 0)
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _LimitedSocket:
    """A connected socket, plain or encrypted, whose files have limits."""

    def __init__(self, connection: Any, limits: ResponseLimits) -> None:
        self._connection, self._limits = connection, limits

    def makefile(self, *_arguments: Any, **_options: Any) -> io.BufferedReader:
        """Return the file from which http.client reads a response."""
        stream = self._connection.makefile("rb", buffering=0)
        return io.BufferedReader(_LimitedReader(stream, self._connection, self._limits))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _pool_classes(limits: ResponseLimits) -> dict[str, type[HTTPConnectionPool]]:
    class LimitedConnection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = _LimitedSocket(self.sock, limits)

    class LimitedTlsConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = _LimitedSocket(self.sock, limits)

    class Pool(HTTPConnectionPool):
        ConnectionCls = LimitedConnection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = LimitedTlsConnection

    return {"http": Pool, "https": TlsPool}

"""Clients of the page or of another endpoint, in a separate process; ``python benchmarks/load.py`` reads its task as JSON.

``{"url": ..., "kind": "page" | "direct" | "read", "path": ..., "bodies": [...], "clients": n}`` is read from
stdin. One line of JSON is printed: the wall time [s], the latencies [s] from the first byte of the request to the last byte of
the response, and the number of unanswered requests. A client of the page sends POST and then GET until the job has ended;
a client of a direct endpoint sends POST only, a reading one GET only.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

FIRST_PAUSE, PAUSE_FACTOR, MAX_PAUSE = 0.05, 1.5, 0.2
"""First pause [s], its growth per request, and longest pause [s] between two GET requests."""
TIMEOUT = 60.0
"""Time until a job without a result counts as lost [s]."""


class Connection:
    """A keep-alive connection with the part of HTTP/1.1 that these servers use."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; retry once on a new connection if the server has closed the old one."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nPrefer: wait=5\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        for is_retry in (False, True):
            if self._streams is None or is_retry:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            try:
                writer.write(head.encode() + b"\r\n" + body)
                return await _read(reader)
            except (OSError, asyncio.IncompleteReadError):
                if is_retry:
                    raise
        raise OSError("no answer")


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    return int(head[0].split()[1]), await reader.readexactly(int(fields.get("content-length", 0)))


async def send_to_page(connection: Connection, path: str, body: bytes) -> bool:
    """Send a prediction request and read its job until it has ended."""
    status, text = await connection.send("POST", path, body)
    job = json.loads(text)
    deadline, pause = time.perf_counter() + TIMEOUT, FIRST_PAUSE
    while status < 300 and job["state"] in ("queued", "running") and time.perf_counter() < deadline:
        await asyncio.sleep(pause)
        pause = min(MAX_PAUSE, pause * PAUSE_FACTOR)
        status, text = await connection.send("GET", job["url"])
        job = json.loads(text)
    return status < 300 and job["state"] == "done"


async def send_to_endpoint(connection: Connection, path: str, body: bytes) -> bool:
    """Send a request and read the response."""
    status, _ = await connection.send("POST", path, body)
    return status < 300


async def read(connection: Connection, path: str, _body: bytes) -> bool:
    """Send a GET request and read the response."""
    status, _ = await connection.send("GET", path)
    return status < 300


async def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """Send all bodies; each client takes the next one when it is free."""
    parts = urlsplit(arguments["url"])
    send_request = {"page": send_to_page, "direct": send_to_endpoint, "read": read}[arguments["kind"]]
    pending = [json.dumps(body).encode() for body in reversed(arguments["bodies"])]
    latencies, lost = list[float](), 0

    async def client() -> None:
        nonlocal lost
        connection = Connection(parts.hostname or "", parts.port or 80)
        while pending:
            body, start = pending.pop(), time.perf_counter()
            try:
                lost += not await send_request(connection, arguments["path"], body)
            except OSError:
                lost += 1
            latencies.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(arguments["clients"])))
    return {"seconds": time.perf_counter() - start, "latencies": latencies, "lost": lost}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))

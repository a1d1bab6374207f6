"""Clients of the page or another endpoint in a separate process; ``python benchmarks/load.py`` reads its task from stdin (JSON).

``{"url": ..., "kind": "page" | "direct", "path": ..., "bodies": [...], "clients": n}`` in, one line of JSON out: the wall time
[s], the latencies [s] from the first byte of the request to the last of the answer, and the number of unanswered requests. A
client of the page sends POST and then GET until the job has ended; a client of a direct endpoint sends POST only.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

FIRST_LOOK, GROWTH, LONGEST = 0.05, 1.5, 0.2
"""First pause, growth and longest pause between two GET requests [s]."""
PATIENCE = 60.0


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
        for fresh in (False, True):
            if self._streams is None or fresh:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            try:
                writer.write(head.encode() + b"\r\n" + body)
                return await _read(reader)
            except (OSError, asyncio.IncompleteReadError):
                if fresh:
                    raise
        raise OSError("no answer")


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    return int(head[0].split()[1]), await reader.readexactly(int(fields.get("content-length", 0)))


async def ask_page(connection: Connection, path: str, body: bytes) -> bool:
    """Send a prediction request and read its job until it has ended."""
    status, text = await connection.send("POST", path, body)
    job = json.loads(text)
    limit, pause = time.perf_counter() + PATIENCE, FIRST_LOOK
    while status < 300 and job["state"] in ("queued", "running") and time.perf_counter() < limit:
        await asyncio.sleep(pause)
        pause = min(LONGEST, pause * GROWTH)
        status, text = await connection.send("GET", job["url"])
        job = json.loads(text)
    return status < 300 and job["state"] == "done"


async def ask_endpoint(connection: Connection, path: str, body: bytes) -> bool:
    """Send a request and read the response."""
    status, _ = await connection.send("POST", path, body)
    return status < 300


async def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """Send all bodies; each client takes the next one when it is free."""
    parts = urlsplit(arguments["url"])
    ask = ask_page if arguments["kind"] == "page" else ask_endpoint
    todo = [json.dumps(body).encode() for body in reversed(arguments["bodies"])]
    latencies, lost = list[float](), 0

    async def client() -> None:
        nonlocal lost
        connection = Connection(parts.hostname or "", parts.port or 80)
        while todo:
            body, start = todo.pop(), time.perf_counter()
            try:
                lost += not await ask(connection, arguments["path"], body)
            except OSError:
                lost += 1
            latencies.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(arguments["clients"])))
    return {"seconds": time.perf_counter() - start, "latencies": latencies, "lost": lost}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))

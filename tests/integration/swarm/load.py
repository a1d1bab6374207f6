"""Visitors: ``python load.py RATE NAMES HOST…`` asks at a steady rate until its input ends, and prints what became of it.

Each question goes to one machine after the other in turn. One that cannot be reached, or ends the connection before it has said
anything, is left for the next, as a proxy in front of them does; a question asked twice so has one key, and so one ticket.
"""

from __future__ import annotations

import collections
import http.client
import itertools
import json
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PATIENCE = 90.0
"""An answer that has not come by then is lost [s]."""


class Visitors:
    """Ask, follow every accepted question to its end, and count."""

    def __init__(self, hosts: list[str], names: list[str]) -> None:
        self.hosts = hosts
        self.names = itertools.cycle(names)
        self.turn = itertools.cycle(range(len(hosts)))
        self.counts: collections.Counter[str] = collections.Counter()
        self.slowest = 0.0
        self.said: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()

    def ask(self) -> None:
        """One question, from the first word to the answer read."""
        with self.lock:
            name, first = next(self.names), next(self.turn)
        began = time.monotonic()
        body = json.dumps({"repositories": [name]}).encode()
        key = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json", "Prefer": "wait=5"}
        status, answer = self._call(first, "POST", "/api/v1/predictions", body, key)
        if status not in (200, 202):
            self._count("failed", f"{status}: {str(answer)[:120]}")
            return
        with self.lock:
            self.counts["accepted"] += 1
        while answer.get("state") not in ("done", "failed"):
            if time.monotonic() - began > PATIENCE:
                self._count("lost", str(answer)[:200])
                return
            time.sleep(0.2)
            status, seen = self._call(first, "GET", answer["url"], None, {"Prefer": "wait=5"})
            if status == 200:
                answer = {**answer, **seen}
            elif status == 404:
                self._count("lost", "404")
                return
        self.slowest = max(self.slowest, time.monotonic() - began)
        self._count("answered" if answer["state"] == "done" else "unanswered", str(answer.get("error", ""))[:120])

    def _count(self, what: str, why: str) -> None:
        with self.lock:
            self.counts[what] += 1
            if what != "answered":
                self.said[f"{what}: {why}"] += 1

    def _call(self, first: int, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        why = ""
        for turn in range(2 * len(self.hosts)):
            host = self.hosts[(first + turn) % len(self.hosts)]
            connection = http.client.HTTPConnection(host, timeout=20)
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read() or b"null")
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = f"{type(error).__name__}: {error}"
            finally:
                connection.close()
        return 0, why


def main(rate: float, file: str, *hosts: str) -> None:
    """Ask until standard input ends; then wait for all answers, and print the counts."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    visitors = Visitors(list(hosts), Path(file).read_text(encoding="utf-8").split())
    began, asked = time.monotonic(), 0
    with ThreadPoolExecutor(200) as pool:
        while not ended.is_set():
            due = int((time.monotonic() - began) * rate)
            for _ in range(due - asked):
                pool.submit(visitors.ask)
            asked = max(asked, due)
            time.sleep(0.02)
        lasted = time.monotonic() - began
    counts = {name: visitors.counts[name] for name in ("accepted", "answered", "unanswered", "failed", "lost")}
    told = {"asked": asked, "seconds": round(lasted), "slowest": round(visitors.slowest, 1), **counts}
    sys.stdout.write(json.dumps({**told, "said": dict(visitors.said.most_common(5))}) + "\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])

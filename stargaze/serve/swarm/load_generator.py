"""Send prediction requests at a fixed rate and count the outcomes: ``-m stargaze.serve.swarm.load_generator RATE NAMES HOST…``.

It sends until standard input ends, and prints JSON. If an address fails, the next is tried, as a proxy would do; the idempotency
key ensures that a repeated request has one job.
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

TIMEOUT = 90.0
"""A job without a result by then counts as lost [s]."""
MAX_ANSWER = 1_000_000
"""Largest answer that is read [byte]."""
MAX_CONCURRENT = 200
SEND_INTERVAL = 0.02
"""[s]"""
POLL_INTERVAL = 0.2
"""Time between two requests for a result [s]."""
MIN_TRIES = 4
"""Of each request, if no address answers."""
GATEWAY_ERRORS = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
"""A proxy's answer if the process behind it died: the client repeats the request."""
OUTCOMES = ("answered", "job_failed", "refused", "failed", "lost")
"""The job was answered; its result is an error; the request got a 503; it got another error or no response; the accepted job was
never finished or not found."""
COUNTERS = ("accepted", *OUTCOMES)


@dataclass
class LoadGenerator:
    """Sends requests, follows every accepted job to its end, and counts the outcomes."""

    hosts: Sequence[str]
    names: Iterable[str]
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """The reasons for which requests were not answered, and their counts."""
    slowest: float = 0.0
    """Longest time from a request to its result [s]."""

    def __post_init__(self) -> None:
        self._names = itertools.cycle(self.names)
        self._turn = itertools.cycle(range(len(self.hosts)))
        self._lock = threading.Lock()

    def send(self) -> None:
        """Send one request and wait for its outcome."""
        with self._lock:
            name, first_host = next(self._names), next(self._turn)
        started = time.monotonic()
        body = json.dumps({"repositories": [name]}).encode()
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json", "Prefer": "wait=5"}
        status, response = self._call(first_host, "POST", "/api/v1/predictions", body, headers)
        if status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            refused = status == HTTPStatus.SERVICE_UNAVAILABLE
            self._count("refused" if refused else "failed", f"{status}: {str(response)[:120]}")
            return
        self._count("accepted")
        outcome, reason = self._follow(first_host, response, started + TIMEOUT)
        self.slowest = max(self.slowest, time.monotonic() - started)
        self._count(outcome, reason)

    def summary(self) -> dict[str, Any]:
        """Return the counts, the slowest result [s], and why requests were not answered."""
        counts = {name: self.counts[name] for name in COUNTERS}
        return {**counts, "slowest": round(self.slowest, 1), "reasons": dict(self.reasons.most_common(5))}

    def _follow(self, first_host: int, job: Mapping[str, Any], deadline: float) -> tuple[str, str]:
        """Poll a job until it is finished; return outcome and reason."""
        latest = dict(job)
        while latest.get("state") not in ("done", "failed"):
            if time.monotonic() > deadline:
                return "lost", str(latest)[:120]
            time.sleep(POLL_INTERVAL)
            status, response = self._call(first_host, "GET", str(latest["url"]), None, {"Prefer": "wait=5"})
            if status == HTTPStatus.NOT_FOUND:
                return "lost", "job not found"
            if status == HTTPStatus.OK:
                latest |= response
        return ("answered", "") if latest["state"] == "done" else ("job_failed", str(latest.get("error", ""))[:120])

    def _count(self, outcome: str, reason: str = "") -> None:
        with self._lock:
            self.counts[outcome] += 1
            if reason:
                self.reasons[f"{outcome}: {reason}"] += 1

    def _call(
        self, first_host: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        """Send to one address after the other until one responds with another status than 503."""
        error, refusals = "", list[str]()
        for turn in range(max(MIN_TRIES, 2 * len(self.hosts))):
            connection = _connect(self.hosts[(first_host + turn) % len(self.hosts)])
            try:
                connection.request(method, path, body, dict(headers))
                response = connection.getresponse()
                content = response.read(MAX_ANSWER)
                if response.status in GATEWAY_ERRORS:
                    error = f"{response.status} {response.reason}"
                    continue
                if response.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return response.status, json.loads(content or b"null")
                refusals.append(content.decode(errors="replace"))  # a proxy may answer with HTML
                if len(refusals) == len(self.hosts):
                    break
            except (OSError, http.client.HTTPException, ValueError) as failure:
                error = f"{type(failure).__name__}: {failure}"
            finally:
                connection.close()
        return (HTTPStatus.SERVICE_UNAVAILABLE, refusals[-1]) if refusals else (0, error)


def _connect(host: str) -> http.client.HTTPConnection:
    """Return a connection to a URL or to ``address:port``."""
    scheme, separator, address = host.rpartition("://")
    kind = http.client.HTTPSConnection if separator and scheme == "https" else http.client.HTTPConnection
    return kind(address, timeout=20)


def main(rate: float, names_file: str, *hosts: str) -> None:
    """Send one request at once and then ``rate`` per second until standard input ends; print the counts."""
    until_end_of_input = threading.Thread(target=sys.stdin.read, daemon=True)
    until_end_of_input.start()
    generator = LoadGenerator(hosts, Path(names_file).read_text(encoding="utf-8").split())
    started, sent = time.monotonic(), 0
    with ThreadPoolExecutor(MAX_CONCURRENT) as pool:
        while until_end_of_input.is_alive():
            due = 1 + int((time.monotonic() - started) * rate)
            for _ in range(due - sent):
                pool.submit(generator.send)
            sent = max(sent, due)
            time.sleep(SEND_INTERVAL)
        seconds = round(time.monotonic() - started)
    sys.stdout.write(json.dumps({"sent": sent, "seconds": seconds, **generator.summary()}) + "\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])

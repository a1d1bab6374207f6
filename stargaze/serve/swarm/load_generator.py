"""Load at a steady rate, each request followed to its end: ``-m stargaze.serve.swarm.load_generator RATE NAMES HOST…``.

They ask until standard input ends, then wait for all answers and print what became of them, as JSON. Each question goes to one
address after the other in turn. One that cannot be reached, or that ends the connection before it has said anything, is left
for the next, as a browser behind a proxy would be led; a question that is asked twice so has one key, and so one ticket.
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

PATIENCE = 90.0
"""An answer that has not come by then is lost [s]."""
AT_ONCE = 200
"""Most questions that are open at the same time."""
PAUSE = 0.02
LOOK = 0.2
"""Between two looks at an answer that is not there yet [s]."""
ENDS = ("answered", "unanswered", "refused", "failed", "lost")
"""What becomes of a question: answered; accepted and reported failed; 503 with a time to come back; anything else instead of a
ticket; accepted and never heard of again."""
COUNTED = ("accepted", *ENDS)


@dataclass
class Visitors:
    """Ask, follow every accepted question to its end, and count."""

    hosts: Sequence[str]
    names: Iterable[str]
    counts: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    """Why questions were not answered."""
    slowest: float = 0.0
    """From the question to the answer read [s]."""

    def __post_init__(self) -> None:
        self._names = itertools.cycle(self.names)
        self._turn = itertools.cycle(range(len(self.hosts)))
        self._lock = threading.Lock()

    def ask(self) -> None:
        """Ask one question, from the first word to the answer read."""
        with self._lock:
            name, first = next(self._names), next(self._turn)
        began = time.monotonic()
        body = json.dumps({"repositories": [name]}).encode()
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json", "Prefer": "wait=5"}
        status, answer = self._call(first, "POST", "/api/v1/predictions", body, headers)
        if status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            refused = status == HTTPStatus.SERVICE_UNAVAILABLE
            self._count("refused" if refused else "failed", f"{status}: {str(answer)[:120]}")
            return
        self._count("accepted")
        outcome, why = self._followed(first, answer, began + PATIENCE)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self._count(outcome, why)

    def told(self) -> dict[str, Any]:
        """Return the counts, the slowest answer [s], and why questions were not answered."""
        counts = {name: self.counts[name] for name in COUNTED}
        return {**counts, "slowest": round(self.slowest, 1), "said": dict(self.said.most_common(5))}

    def _followed(self, first: int, answer: Mapping[str, Any], limit: float) -> tuple[str, str]:
        """Look until the answer is there; return what became of the question, and why."""
        seen = dict(answer)
        while seen.get("state") not in ("done", "failed"):
            if time.monotonic() > limit:
                return "lost", str(seen)[:120]
            time.sleep(LOOK)
            status, now = self._call(first, "GET", str(answer["url"]), None, {"Prefer": "wait=5"})
            if status == HTTPStatus.NOT_FOUND:
                return "lost", "nobody knows its ticket any more"
            if status == HTTPStatus.OK:
                seen |= now
        return ("answered", "") if seen["state"] == "done" else ("unanswered", str(seen.get("error", ""))[:120])

    def _count(self, what: str, why: str = "") -> None:
        with self._lock:
            self.counts[what] += 1
            if why:
                self.said[f"{what}: {why}"] += 1

    def _call(
        self, first: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        """Ask one page after the other: the next where one does not answer, or sends us away and has accepted nothing."""
        why, sent_away = "", list[Any]()
        for turn in range(2 * len(self.hosts)):
            connection = http.client.HTTPConnection(self.hosts[(first + turn) % len(self.hosts)], timeout=20)
            try:
                connection.request(method, path, body, dict(headers))
                answer = connection.getresponse()
                said = json.loads(answer.read() or b"null")
                if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return answer.status, said
                sent_away.append(said)
                if len(sent_away) == len(self.hosts):
                    break
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = f"{type(error).__name__}: {error}"
            finally:
                connection.close()
        return (HTTPStatus.SERVICE_UNAVAILABLE, sent_away[-1]) if sent_away else (0, why)


def main(rate: float, file: str, *hosts: str) -> None:
    """Ask at once, then ``rate`` questions a second until standard input ends; then print what became of all of them."""
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    visitors = Visitors(hosts, Path(file).read_text(encoding="utf-8").split())
    began, asked = time.monotonic(), 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while not ended.is_set():
            due = 1 + int((time.monotonic() - began) * rate)
            for _ in range(due - asked):
                pool.submit(visitors.ask)
            asked = max(asked, due)
            time.sleep(PAUSE)
        seconds = round(time.monotonic() - began)
    sys.stdout.write(json.dumps({"asked": asked, "seconds": seconds, **visitors.told()}) + "\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])

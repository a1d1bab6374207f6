"""The answers of the job server: lines that begin with a mark of the request; every other line is ignored.

The login shell of the head node may print lines of its own (a start-up file, a message of the day) to the same stream.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from stargaze.errors import ExternalError

MAX_LINE = 64_000_000
"""Largest answer in one line [byte]: the rows of a result, or a part of a file."""
CHUNK = 1 << 18
"""Part of a file in one line [byte]."""


class AnswerWriter:
    """Writes the answers to one request, each as one JSON object; ``job`` is the id that was asked for."""

    def __init__(self, stream: IO[bytes], request: str, job: str) -> None:
        self._stream = stream
        self._mark = create_mark(request)
        self._job = job

    def write(self, value: Mapping[str, Any]) -> None:
        """Write one object."""
        line = json.dumps({**value, "job_id": self._job}, default=str).encode()
        self._stream.write(b"\n" + self._mark + line + b"\n")  # after an incomplete line of a start-up file
        self._stream.flush()

    def write_data(self, chunks: Iterable[bytes]) -> None:
        """Write bytes in several objects."""
        for chunk in chunks:
            for start in range(0, len(chunk), CHUNK):
                self.write({"data": base64.b64encode(chunk[start : start + CHUNK]).decode()})


class DataReader:
    """The bytes of several objects as a readable stream."""

    def __init__(self, answers: Iterator[Mapping[str, Any]]) -> None:
        self._answers = answers
        self._rest = b""

    def readline(self, limit: int) -> bytes:
        """Return the bytes up to a newline, at most ``limit``."""
        while b"\n" not in self._rest and len(self._rest) < limit and self._fill():
            pass
        length = self._rest.find(b"\n") + 1 or len(self._rest)
        return self._take(min(length, limit))

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        return self._take(size) if self._rest or self._fill() else b""

    def _fill(self) -> bool:
        for answer in self._answers:
            try:
                self._rest += base64.b64decode(str(answer["data"]), validate=True)
            except (LookupError, ValueError) as error:
                raise ExternalError("the transferred files are corrupt", hint="try again") from error
            return True
        return False

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def create_mark(request: str) -> bytes:
    """Return the beginning of each line that answers a request; a shell that prints its command does not print it."""
    return f"@@{request}@@ ".encode()


def parse_answer(line: bytes, mark: bytes, job: str) -> dict[str, Any] | None:
    """Return the object of a line, None for a line without the mark; ValueError for an object about another job."""
    _, found, text = line.partition(mark)
    if not found:
        return None
    answer = json.loads(text)
    if not isinstance(answer, dict) or answer.get("job_id") != job:
        raise ValueError(f"an answer about {str(answer)[:60]}")
    return answer

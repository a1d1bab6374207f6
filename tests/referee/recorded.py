"""Answers that GitHub gave to others, 2012 to 2026, as the tests of PyGithub and github3.py keep them."""

from __future__ import annotations

import ast
import base64
import functools
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

REFEREE = Path(__file__).parents[2] / ".referee"
HOP = ("transfer-encoding", "content-encoding", "content-length", "connection", "keep-alive")
"""Headers of the connection it came by, which are not true of another."""


@dataclass(frozen=True)
class Exchange:
    """One request of others, and GitHub's answer to it."""

    file: str
    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_repository(self) -> bool:
        """Tell whether it is the record of one repository, as we ask for it."""
        one = re.fullmatch(r"(/repos/[^/]+/[^/]+|/repositories/\d+)", self.path.partition("?")[0])
        return self.method == "GET" and bool(one)


@functools.cache
def exchanges() -> tuple[Exchange, ...]:
    """Read them all, in the order of their files."""
    return (*_pygithub(), *_github3())


def _pygithub() -> Iterator[Exchange]:
    """Read files of ten lines an exchange: scheme, method, host, port, path, headers, body; status, headers, body."""
    for path in sorted(REFEREE.glob("sdists/pygithub-*/tests/ReplayData/*.txt")):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        at = 0
        while at + 10 <= len(lines):
            try:
                headers = dict(ast.literal_eval(lines[at + 8]))
                status = int(lines[at + 7])
            except (ValueError, SyntaxError, TypeError):
                at += 1
                continue
            body = lines[at + 9].encode()
            yield Exchange(path.name, lines[at + 1], lines[at + 4], status, _clean(headers), body)
            at += 10


def _github3() -> Iterator[Exchange]:
    for path in sorted(REFEREE.glob("sdists/github3*/tests/cassettes/*.json")):
        for record in json.loads(path.read_text(encoding="utf-8"))["http_interactions"]:
            answer, where = record["response"], urlsplit(record["request"]["uri"])
            body = (answer["body"].get("string") or "").encode()
            if packed := answer["body"].get("base64_string"):
                body = base64.b64decode(packed)
                body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            headers = {
                name: value[0] if isinstance(value, list) else value for name, value in answer["headers"].items()
            }
            address = where.path + (f"?{where.query}" if where.query else "")
            status = answer["status"]["code"] if "status" in answer else answer["status_code"]
            yield Exchange(path.name, record["request"]["method"], address, status, _clean(headers), body)


def _clean(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items() if name.lower() not in HOP}

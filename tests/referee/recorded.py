"""Responses recorded from GitHub, 2012 to 2026, in the tests of PyGithub and github3.py."""

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
HOP_BY_HOP_HEADERS = ("transfer-encoding", "content-encoding", "content-length", "connection", "keep-alive")
"""Headers that describe the recorded connection only."""


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its response."""

    file: str
    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_repository(self) -> bool:
        """Whether the request is for a single repository, by name or id."""
        match = re.fullmatch(r"(/repos/[^/]+/[^/]+|/repositories/\d+)", self.path.partition("?")[0])
        return self.method == "GET" and bool(match)


@functools.cache
def exchanges() -> tuple[Exchange, ...]:
    """Return all recorded exchanges in the order of their files."""
    return (*_pygithub(), *_github3())


def _pygithub() -> Iterator[Exchange]:
    """Read files with ten lines per exchange: scheme, method, host, port, path, headers, body; status, headers, body."""
    for path in sorted(REFEREE.glob("sdists/pygithub-*/tests/ReplayData/*.txt")):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        start = 0
        while start + 10 <= len(lines):
            try:
                headers = dict(ast.literal_eval(lines[start + 8]))
                status = int(lines[start + 7])
            except (ValueError, SyntaxError, TypeError):
                start += 1
                continue
            body = lines[start + 9].encode()
            yield Exchange(path.name, lines[start + 1], lines[start + 4], status, _clean(headers), body)
            start += 10


def _github3() -> Iterator[Exchange]:
    for path in sorted(REFEREE.glob("sdists/github3*/tests/cassettes/*.json")):
        for record in json.loads(path.read_text(encoding="utf-8"))["http_interactions"]:
            response, url = record["response"], urlsplit(record["request"]["uri"])
            body = (response["body"].get("string") or "").encode()
            if encoded := response["body"].get("base64_string"):
                body = base64.b64decode(encoded)
                body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            headers = {
                name: value[0] if isinstance(value, list) else value for name, value in response["headers"].items()
            }
            path_and_query = url.path + (f"?{url.query}" if url.query else "")
            status = response["status"]["code"] if "status" in response else response["status_code"]
            yield Exchange(path.name, record["request"]["method"], path_and_query, status, _clean(headers), body)


def _clean(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP_HEADERS}

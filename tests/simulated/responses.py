"""Responses of the simulated GitHub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DOCS = "https://docs.github.com/rest"


@dataclass(frozen=True)
class Response:
    """A response; if ``truncated``, half of the body is sent and the connection closed."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    truncated: bool = False


def with_etag(data: Any, headers: Mapping[str, str], more: Mapping[str, str] | None = None) -> Response:
    """Return data with an ETag, or 304 if the request has the same ETag."""
    etag = f'"{hashlib.sha1(json.dumps(data).encode()).hexdigest()}"'  # an ETag
    if headers.get("if-none-match") == etag:
        return Response(304, b"", {"etag": etag})
    return json_response(200, data, {"etag": etag, **(more or {})})


def json_response(status: int, data: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, json.dumps(data).encode(), dict(headers or {}))


def not_found() -> Response:
    return json_response(404, {"message": "Not Found", "documentation_url": DOCS, "status": "404"})

"""Compress responses with gzip.

Flask-Compress would add three packages to the image for formats that save another tenth of these small pages.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from http import HTTPStatus

from flask import Response, request

MIMETYPES = frozenset(
    (
        *("text/html", "text/css", "text/csv", "text/javascript", "text/plain", "image/svg+xml"),
        *("application/json", "application/problem+json"),
    )
)
MIN_SIZE = 512
"""Smaller responses fit into one packet anyway [byte]."""
LEVEL = 5
UNCHANGED_STATUSES = (HTTPStatus.NO_CONTENT, HTTPStatus.PARTIAL_CONTENT)


def compress_response(response: Response) -> Response:
    """Compress a response if the client accepts it.

    Its ETag becomes weak, because the compressed and the plain form have the same one.
    """
    if response.mimetype not in MIMETYPES or response.status_code in UNCHANGED_STATUSES:
        return response
    response.vary.add("Accept-Encoding")
    tag, is_weak = response.get_etag()
    if tag and not is_weak:
        response.set_etag(tag, weak=True)
    if response.status_code == HTTPStatus.NOT_MODIFIED or "Content-Encoding" in response.headers:
        return response
    accepted = request.accept_encodings
    if not 0 < accepted.quality("gzip") >= accepted.quality("identity"):
        return response
    response.direct_passthrough = False
    data = response.get_data()
    if len(data) >= MIN_SIZE:
        response.set_data(_compress_static(data) if request.endpoint == "static" else _compress(data))
        response.headers["Content-Encoding"] = "gzip"
        response.headers.pop("Accept-Ranges", None)
    return response


def _compress(data: bytes) -> bytes:
    return gzip.compress(data, LEVEL, mtime=0)


_compress_static = lru_cache(maxsize=16)(_compress)

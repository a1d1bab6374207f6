"""Logs as JSON lines, with the id of the request from the web server to the worker."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, has_request_context, request

from stargaze.serve.runtime.metrics import observe_request

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
"""A valid id from a client or from a proxy in front."""
JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FIELDS = ("request_id", "method", "path", "status", "duration_ms", "bytes", "job_id")
log = logging.getLogger("stargaze.requests")


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON: time [UTC], process, level, message, and the fields passed as ``extra``."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "process": self._process,
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        values = {"request_id": request_id(), **vars(record)}  # also what Flask and libraries log during a request
        line |= {name: values[name] for name in FIELDS if values.get(name, "") not in ("", None)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(process: str) -> None:
    """Write all logs of a process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def request_id() -> str:
    """Return the id of the current request; empty outside of one."""
    return str(g.get("request_id", "")) if has_request_context() else ""


def log_requests(web: Flask, is_hidden: Callable[[str], bool] = lambda _path: False) -> None:
    """Give each request an id, return it in a header, and log one line per request without the visitor's data.

    Instead of a path that ``is_hidden``, the log has the route.
    """

    @web.before_request
    def start() -> None:
        sent = request.headers.get("X-Request-ID", "")
        g.request_id = sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        g.started = time.perf_counter()

    @web.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-ID"] = request_id()
        job_id = JOB_ID.search(response.headers.get("Location", "") or request.path)
        now = time.perf_counter()
        seconds = now - g.get("started", now)
        route = request.url_rule.rule if request.url_rule else ""
        observe_request(request.method, route, response.status_code, seconds)
        log.info(
            "request",
            extra={
                "request_id": request_id(),
                "method": request.method,
                "path": route if is_hidden(request.path) else request.path,
                "status": response.status_code,
                "duration_ms": round(1000 * seconds, 1),
                "bytes": response.calculate_content_length(),
                "job_id": job_id[0] if job_id else "",
            },
        )
        return response

"""One line of JSON for each thing that happens, with the id of the request that began it: from the page to the worker."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, has_request_context, request

from stargaze.serve.runtime.metrics import observe_request

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
"""What a client, or a proxy in front, may call its request."""
TICKET = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FIELDS = ("request_id", "method", "path", "status", "ms", "bytes", "job_id", "batch")
log = logging.getLogger("stargaze.requests")


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: when [UTC], which process, how grave, what, and what was passed as ``extra``."""

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
        line |= {name: getattr(record, name) for name in FIELDS if getattr(record, name, "") not in ("", None)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(process: str) -> None:
    """Let everything that a process logs be lines of JSON on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def request_id() -> str:
    """Return the id of the request that is answered; empty outside of one."""
    return str(g.get("request_id", "")) if has_request_context() else ""


def log_requests(web: Flask) -> None:
    """Give each request an id, tell it in the answer, and log one line when it is answered; nothing of the visitor."""

    @web.before_request
    def begin() -> None:
        sent = request.headers.get("X-Request-ID", "")
        g.request_id = sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        g.begun = time.perf_counter()

    @web.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = request_id()
        begun = g.get("begun", time.perf_counter())
        seconds = time.perf_counter() - begun
        observe_request(
            request.method, request.url_rule.rule if request.url_rule else "", response.status_code, seconds
        )
        log.info(
            "answered",
            extra={
                "request_id": request_id(),
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "ms": round(1000 * seconds, 1),
                "bytes": response.calculate_content_length(),
                "job_id": _job_id(response),
            },
        )
        return response


def _job_id(response: Response) -> str:
    """Return the id of the job that the request was about: from its address, or from where the answer sends on."""
    named = (request.view_args or {}).get("job_id", "")
    found = TICKET.search(response.headers.get("Location", "") or f"/{named}")
    return found[0] if found else ""

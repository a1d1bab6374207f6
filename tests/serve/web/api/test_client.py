"""The API client; test_supervise tests it with the real server."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from stargaze.errors import BadDataError, ExternalError, StargazeError
from stargaze.serve.web.api.client import request_predictions


def test_an_unreachable_server_is_an_error_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    with pytest.raises(ExternalError, match="cannot be reached") as excinfo:
        request_predictions(url, ["a/b"])

    assert excinfo.value.hint == "stargaze serve"


class ProblemHandler(BaseHTTPRequestHandler):
    """Answers each request with the server's ``answer``: a status and a body."""

    def do_POST(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


JOB = {"id": "x", "state": "failed", "predictions": None}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"detail": "a reason", "hint": "a hint"}, BadDataError),
        (503, {"detail": "a reason", "hint": "a hint"}, ExternalError),
        (200, JOB | {"error": {"code": "unknown_repository", "message": "a reason", "hint": "a hint"}}, BadDataError),
        (200, JOB | {"error": {"code": "internal_error", "message": "a reason", "hint": "a hint"}}, ExternalError),
    ],
)
def test_an_error_has_the_kind_of_its_problem(status: int, body: dict[str, Any], kind: type[StargazeError]) -> None:
    with HTTPServer(("127.0.0.1", 0), ProblemHandler) as server:
        server.answer = status, body  # type: ignore[attr-defined]
        server.timeout = 60.0
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(kind, match="a reason") as caught:
            request_predictions(f"http://127.0.0.1:{server.server_port}", ["a/b"])
        thread.join()

    assert caught.value.hint == "a hint"

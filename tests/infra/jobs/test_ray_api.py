"""Ray's job API over HTTP, with a server that answers as Ray does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import CredentialsError, ExternalError
from stargaze.infra.jobs.ray_api import RayJobs


class Ray(BaseHTTPRequestHandler):
    """A server with one job and the token "good"."""

    requests: list[tuple[str, str, Any]]

    def do_GET(self) -> None:
        if self.path.endswith("/truncated"):
            self.wfile.write(b"HTTP/1.0 200 OK\r\ncontent-length: 100\r\n\r\n{")
            return
        if self.path.endswith("/garbled"):
            self.wfile.write(b"2\r\n\r\n")
            return
        self._answer(200 if self.path.endswith("/known") else 404, {"status": "RUNNING", "message": "at work"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.requests.append((self.command, self.path, json.loads(body or b"null")))
        if b"early" in body and len(self.requests) < 3:
            self._answer(500, {}, b"Traceback:\nException: No available agent to submit job, please try again later.")
            return
        self._answer(500 if b"broken" in body else 200, {})

    def _answer(self, code: int, value: Any, body: bytes = b"Traceback:\nRuntimeError: no room\n") -> None:
        content = json.dumps(value).encode() if code != 500 else body
        if self.headers["authorization"] != "Bearer good":
            code, content = 403, b"Forbidden: invalid token"
        self.send_response(code)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Ray.requests = []
    with HTTPServer(("127.0.0.1", 0), Ray) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_job_is_submitted_stopped_and_found_by_its_id(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # this machine is reached without the proxy
    jobs = RayJobs(address, "good")

    jobs.submit("known", "python", "-m", "it")
    jobs.stop("known")

    assert jobs.status("known") == ("RUNNING", "at work")
    assert jobs.status("unknown") == ("", "")
    assert Ray.requests == [
        ("POST", "/api/jobs/", {"submission_id": "known", "entrypoint": "python -m it"}),
        ("POST", "/api/jobs/known/stop", None),
    ]


def test_a_rejected_token_is_a_credentials_error(address: str) -> None:
    with pytest.raises(CredentialsError, match="rejected the cluster's token"):
        RayJobs(address, "old").status("known")


def test_an_error_of_ray_is_one_line(address: str) -> None:
    with pytest.raises(ExternalError, match="Ray's job API: RuntimeError: no room"):
        RayJobs(address, "good").submit("new", "broken")


@pytest.mark.parametrize("job", ["truncated", "garbled"])
def test_an_invalid_response_is_an_error_in_one_line(address: str, job: str) -> None:
    with pytest.raises(ExternalError, match=f"Ray's job API at {address} does not answer"):
        RayJobs(address, "good").status(job)


def test_a_response_has_a_largest_size(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stargaze.infra.jobs.ray_api.MAX_RESPONSE", 20)

    with pytest.raises(ExternalError, match="Ray's job API sends more than 20 bytes"):
        RayJobs(address, "good").status("known")


def test_a_submission_is_retried_while_ray_is_starting(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stargaze.infra.jobs.ray_api.RETRY_INTERVAL", 0.01)

    RayJobs(address, "good").submit("early", "python", "-m", "it")

    assert len(Ray.requests) == 3
    monkeypatch.setattr("stargaze.infra.jobs.ray_api.START_TIMEOUT", 0.0)
    Ray.requests.clear()
    with pytest.raises(ExternalError, match="No available agent"):
        RayJobs(address, "good").submit("early", "python", "-m", "it")


def test_without_ray_the_hint_is_the_command_that_configures_it() -> None:
    with pytest.raises(ExternalError, match="does not answer") as raised:
        RayJobs("http://127.0.0.1:1", "good").status("known")
    assert raised.value.hint == "stargaze infra configure --tags ray"


def test_the_token_is_read_from_the_file_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("good\n")
    (tmp_path / "ray.env").write_text(f"# Ray's\nRAY_AUTH_MODE=token\nRAY_AUTH_TOKEN_PATH={tmp_path}/token\n")

    assert RayJobs.from_settings(tmp_path / "ray.env", "http://a") == RayJobs("http://a", "good")
    with pytest.raises(ExternalError, match="Ray is not configured here"):
        RayJobs.from_settings(tmp_path / "other.env", "http://a")

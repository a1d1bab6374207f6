"""A server on loopback that returns recorded responses in order, whatever is requested."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.referee.recorded import Exchange

GITHUB = "https://api.github.com"


class Replay(HTTPServer):
    """The server; ``requests`` holds the method, path and headers of each request."""

    def __init__(self, responses: Sequence[Exchange]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.responses = list(responses)
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def replaying(responses: Sequence[Exchange]) -> Iterator[Replay]:
    """Serve the responses inside the block."""
    with Replay(responses) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Replay

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        exchange = self.server.responses.pop(0)
        url = self.server.url
        self.send_response_only(exchange.status)
        for name, value in exchange.headers.items():
            self.send_header(name, value.replace(GITHUB, url))
        body = b"" if exchange.status in (204, 304) else exchange.body
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, *_arguments: object) -> None:
        pass

"""A server on loopback that gives recorded answers, one after the other, whatever is asked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.referee.recorded import Exchange

GITHUB = b"https://api.github.com"


class Replay(HTTPServer):
    """The server, and what it was asked: method, path and headers."""

    def __init__(self, answers: Sequence[Exchange]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def replaying(answers: Sequence[Exchange]) -> Iterator[Replay]:
    """Serve the answers inside the block."""
    with Replay(answers) as server:
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
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        exchange = self.server.answers.pop(0)
        here = self.server.url.encode()
        self.send_response_only(exchange.status)
        for name, value in exchange.headers.items():
            self.send_header(name, value.replace(GITHUB.decode(), here.decode()))
        body = b"" if exchange.status in (204, 304) else exchange.body
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, *_arguments: object) -> None:
        pass

"""An HTTP server on loopback for the simulated GitHub."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.simulated.world import World

GITHUB = "https://api.github.com"


class Server(ThreadingHTTPServer):
    """One thread per connection; the world handles one request at a time."""

    daemon_threads = True

    def __init__(self, world: World, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.world = world

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def running(world: World) -> Iterator[str]:
    """Serve a world inside the block; yield its URL."""
    with Server(world) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._respond(b"")

    def do_POST(self) -> None:
        self._respond(self.rfile.read(int(self.headers.get("content-length", 0))))

    def _respond(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self.server.world.respond(self.command, self.path, headers, body)
        self.send_response_only(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value.replace(GITHUB, self.server.url))
        if response.status != 304:
            self.send_header("content-length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body[: len(response.body) // 2] if response.truncated else response.body)
        self.close_connection = self.close_connection or response.truncated

    def log_message(self, *_arguments: Any) -> None:
        pass

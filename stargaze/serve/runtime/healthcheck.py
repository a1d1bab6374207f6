"""The container's health check: ``python -m stargaze.serve.runtime.healthcheck [served-bundles]``.

It runs every few seconds, so it imports nothing heavy. With ``served-bundles`` it prints the loaded bundles.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from stargaze.serve.runtime.status_files import ROLE_FILE, is_heartbeat_recent, served_bundles

WEB_PORT = 8000
"""Port of the web server inside its container."""
TIMEOUT = 5.0
"""Timeout for one response [s]."""
MAX_HEARTBEAT_AGE = 60.0
"""A worker without a heartbeat for so long is stuck [s]; a short outage of RabbitMQ delays heartbeats too."""


def main(arguments: Sequence[str], queue: Path) -> int:
    """Return 0 if the container is healthy."""
    if list(arguments) == ["served-bundles"]:
        sys.stdout.write(json.dumps(served_bundles(queue)) + "\n")
        return 0
    if (queue / ROLE_FILE).read_text(encoding="ascii") == "worker":
        return int(not (any(queue.glob("ready-*")) and is_heartbeat_recent(queue, MAX_HEARTBEAT_AGE)))
    return int(not _is_web_healthy(queue))


def _is_web_healthy(queue: Path) -> bool:
    """Require readiness once, then only that the server accepts connections.

    A new replica must be able to accept requests before an old one stops. Later, gunicorn restarts stuck processes
    itself, and a restart does not help while the broker is unreachable.
    """
    was_ready = queue / "was-ready"
    if was_ready.exists():
        return _accepts_connections()
    if _is_ready():
        was_ready.touch()
        return True
    return False


def _is_ready() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", WEB_PORT, timeout=TIMEOUT)
    with contextlib.suppress(OSError), contextlib.closing(connection):
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def _accepts_connections() -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", WEB_PORT), TIMEOUT):
        return True
    return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path(os.environ["STARGAZE_STORE_PATH"], "queue")))

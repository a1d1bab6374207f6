"""The container health check: ``python -m stargaze.serve.runtime.healthcheck``; with ``serves`` it prints the served bundles.

Nothing heavy is imported: it is asked every few seconds, for as long as the container lives.
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

from stargaze.serve.runtime.status_files import is_heartbeat_recent, role_file, served_bundles

WEB_PORT = 8000
"""The page's, inside of its container."""
LIMIT = 5.0
"""For one answer [s]."""
STILL = 60.0
"""A worker whose main loop has not turned for so long is stuck [s]; it stands still while RabbitMQ is away for a moment."""


def main(arguments: Sequence[str], queue: Path) -> int:
    """Return 0 if all is well."""
    if list(arguments) == ["serves"]:
        sys.stdout.write(json.dumps(served_bundles(queue)) + "\n")
        return 0
    if role_file(queue).read_text(encoding="ascii") == "worker":
        return int(not (any(queue.glob("ready-*")) and is_heartbeat_recent(queue, STILL)))
    return _page(queue)


def _page(queue: Path) -> int:
    """Ask for more at first than later: a new page must be able to take questions before an old one goes.

    From then on it is enough that it takes connections: gunicorn itself ends a process that is stuck. A broker that is away for
    a minute keeps every thread waiting for it, and is not mended by pages that are made anew.
    """
    once = queue / "was-ready"
    if once.exists():
        return int(not _listens())
    if not _is_ready():
        return 1
    once.touch()
    return 0


def _is_ready() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", WEB_PORT, timeout=LIMIT)
    with contextlib.suppress(OSError), contextlib.closing(connection):
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def _listens() -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", WEB_PORT), LIMIT):
        return True
    return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path(os.environ["STARGAZE_STORE_PATH"], "queue")))

"""The first process of a container: ``python -m stargaze.serve.supervisor.container web | worker``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from stargaze.errors import UsageError
from stargaze.serve.runtime.healthcheck import WEB_PORT
from stargaze.serve.runtime.settings import read_environment, web_server_command
from stargaze.serve.runtime.status_files import DRAINING_FILE, ROLE_FILE, prepare_queue_folder
from stargaze.system.isolated_python import PYTHON

DRAIN_DELAY_VARIABLE = "STARGAZE_DRAIN_DELAY"
"""Time for which a web server drains before it accepts no more connections [s]: proxies must notice it first."""
ROLES = ("web", "worker")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the web server until SIGTERM, or become a worker."""
    if list(arguments) not in [[role] for role in ROLES]:
        raise UsageError(f"unknown role {' '.join(arguments)!r}", hint=" or ".join(ROLES))
    section, store = read_environment(environ)
    (role,) = arguments
    prepare_queue_folder(store)
    (store.queue / ROLE_FILE).write_text(role, encoding="ascii")
    if role == "worker":
        command = [*PYTHON, "stargaze.serve.queue.worker"]
        os.execv(command[0], command)  # noqa: S606 - our own list, no shell
    command = [*PYTHON, *web_server_command(section, f"0.0.0.0:{WEB_PORT}", grace=int(section.time_limit) + 5)]
    return _run_web(command, store.queue / DRAINING_FILE, float(environ.get(DRAIN_DELAY_VARIABLE, "0")))


def _run_web(command: Sequence[str], draining: Path, delay: float) -> int:
    """Run the web server; on SIGTERM create the file ``draining``, and stop the server after ``delay`` [s]."""
    server = subprocess.Popen(command)

    def drain(_signal: int, _frame: object) -> None:
        draining.touch()
        timer = threading.Timer(delay, server.terminate)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, drain)
    signal.signal(signal.SIGINT, drain)
    return server.wait()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))

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
from stargaze.serve.runtime.status_files import draining_file, role_file

DRAIN_VARIABLE = "STARGAZE_DRAIN"
"""Variable: how long a page that is to end says so before it takes no more visitors [s]: a proxy has to hear of it."""
PYTHON = (sys.executable, "-P", "-m")
ROLES = ("web", "worker")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Be the page until told to end, or become a worker."""
    if list(arguments) not in [[role] for role in ROLES]:
        raise UsageError(f"{' '.join(arguments) or 'nothing'}: not a part of the page", hint=" or ".join(ROLES))
    section, store = read_environment(environ)
    (role,) = arguments
    for folder in (store.queue / "messages", store.queue / "control"):
        folder.mkdir(parents=True, exist_ok=True)
    role_file(store.queue).write_text(role, encoding="ascii")
    if role == "worker":
        command = [*PYTHON, "stargaze.serve.queue.worker"]
        os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell
    grace = int(section.time_limit) + 5
    words = web_server_command(section, f"0.0.0.0:{WEB_PORT}", grace=grace)
    return _attend([*PYTHON, *words], draining_file(store.queue), float(environ.get(DRAIN_VARIABLE, "0")))


def _attend(command: Sequence[str], sign: Path, pause: float) -> int:
    """Run the page; on SIGTERM put up the sign, let visitors be led elsewhere, and only then end it in order."""
    page = subprocess.Popen(command)

    def end(_signal: int, _frame: object) -> None:
        sign.touch()
        timer = threading.Timer(pause, page.terminate)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return page.wait()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))

"""The supervision of one process."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from stargaze.serve.supervisor.watch import Service


def test_a_stopped_process_that_has_ended_meanwhile_is_no_error() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    child: Any = SimpleNamespace(find_stopped=lambda: {ended.pid})
    service = Service("web", lambda: child, lambda: True, child)

    service.kill_stopped()
    service.kill_stopped()

    assert service.stopped == set()

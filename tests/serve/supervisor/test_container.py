"""The first process of a container: it reports that it is draining before it stops the web server."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stargaze.errors import UsageError
from stargaze.serve.supervisor import container
from tests.waiting import wait_for

RUN_WEB = """
import sys, pathlib
from stargaze.serve.supervisor import container
command = [sys.executable, "-c", sys.argv[1]]
raise SystemExit(container._run_web(command, pathlib.Path(sys.argv[2]), 0.5))
"""
WEB_SERVER = "import pathlib, signal, sys; pathlib.Path({up!r}).touch(); signal.sigwait([signal.SIGTERM]); sys.exit(7)"


@pytest.mark.real
def test_a_web_server_drains_before_it_stops(tmp_path: Path) -> None:
    draining, up = tmp_path / "draining", tmp_path / "up"
    code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);" + WEB_SERVER.format(up=str(up))
    process = subprocess.Popen([sys.executable, "-c", RUN_WEB, code, str(draining)])
    wait_for(up.exists)

    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    wait_for(draining.exists)

    assert process.poll() is None
    assert process.wait(30) == 7
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("arguments", [[], ["page"], ["web", "worker"]])
def test_an_unknown_role_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="unknown role"):
        container.main(arguments, {})

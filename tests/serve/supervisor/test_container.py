"""The first process of a container: it says that it is about to end before it takes no more visitors."""

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

ATTEND = """
import sys, pathlib
from stargaze.serve.supervisor import container
command = [sys.executable, "-c", sys.argv[1]]
raise SystemExit(container._attend(command, pathlib.Path(sys.argv[2]), 0.5))
"""
PAGE = "import pathlib, signal, sys; pathlib.Path({up!r}).touch(); signal.sigwait([signal.SIGTERM]); sys.exit(7)"


@pytest.mark.real
def test_a_page_that_is_to_end_shows_it_a_while_before(tmp_path: Path) -> None:
    sign, up = tmp_path / "draining", tmp_path / "up"
    code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);" + PAGE.format(up=str(up))
    process = subprocess.Popen([sys.executable, "-c", ATTEND, code, str(sign)])
    wait_for(up.exists)

    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    wait_for(sign.exists)

    assert process.poll() is None
    assert process.wait(30) == 7
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize("words", [[], ["page"], ["web", "worker"]])
def test_it_is_one_of_two_things(words: list[str]) -> None:
    with pytest.raises(UsageError, match="not a part of the page"):
        container.main(words, {})

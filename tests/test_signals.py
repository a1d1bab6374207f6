"""What ends a program from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stargaze.signals import unwinding


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_runs_every_finally_and_a_second_one_does_not_disturb_it(number: signal.Signals) -> None:
    """A terminal that closes says it twice."""
    done = []
    before = signal.getsignal(number)

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            done.append("cleared")

    with pytest.raises(SystemExit) as caught, unwinding():
        work()

    assert (caught.value.code, done) == (128 + number, ["cleared"])
    assert signal.getsignal(number) == before


def test_a_signal_that_the_starter_ignores_stays_ignored() -> None:
    """So that nohup does what it says."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with unwinding():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.real
def test_nothing_starts_for_a_parent_that_is_gone() -> None:
    """Between fork and prctl the starter can die: nobody would ever end what starts then."""
    command = [sys.executable, "-m", "stargaze.attached", "1", sys.executable, "-m", "platform"]

    done = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[1])

    assert (done.returncode, done.stdout) == (1, b"")

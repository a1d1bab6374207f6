"""Signals that end a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stargaze.system.signals import exit_on_signals
from tests.isolation import Disposition


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_runs_every_finally_and_a_second_one_does_not_disturb_it(
    number: signal.Signals, disposition: Disposition
) -> None:
    """A closing terminal sends the signal twice."""
    done = []
    disposition(number, signal.SIG_DFL)

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            done.append("cleared")

    with pytest.raises(SystemExit) as caught, exit_on_signals():
        work()

    assert (caught.value.code, done) == (128 + number, ["cleared"])
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_signal_that_the_parent_ignores_stays_ignored(
    disposition: Disposition,
) -> None:
    """nohup must work."""
    disposition(signal.SIGHUP, signal.SIG_IGN)

    with exit_on_signals():
        os.kill(os.getpid(), signal.SIGHUP)

    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_exit_codes_are_known_even_if_the_parent_ignores_sigchld(disposition: Disposition) -> None:
    """The kernel then discards exit codes, and Python treats an unknown one as 0."""
    disposition(signal.SIGCHLD, signal.SIG_IGN)

    with exit_on_signals():
        done = subprocess.run(["false"], check=False)

    assert done.returncode == 1
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN


@pytest.mark.real
def test_no_command_starts_after_the_death_of_the_parent() -> None:
    """The parent can die between fork and prctl; nothing would terminate a command that starts then."""
    command = [sys.executable, "-m", "stargaze.system.die_with_parent", "1", sys.executable, "-m", "platform"]

    done = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2])

    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exit_that_python_discarded_is_raised_again(disposition: Disposition) -> None:
    class Deleted:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    disposition(signal.SIGTERM, signal.SIG_DFL)
    with exit_on_signals() as check:
        Deleted()  # its method is called at once, and the exception in it is discarded
        with pytest.raises(SystemExit) as excinfo:
            check()

    assert excinfo.value.code == 143

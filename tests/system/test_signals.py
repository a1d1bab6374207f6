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
from tests.waiting import wait_for


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


@pytest.mark.parametrize(
    ("number", "exception"),
    [(signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit), (signal.SIGINT, KeyboardInterrupt)],
)
def test_a_signal_whose_exception_python_discarded_is_sent_again(
    number: signal.Signals, exception: type[BaseException], disposition: Disposition
) -> None:
    kills: list[int] = []

    class Deleted:
        def __del__(self) -> None:
            kills.append(number)
            os.kill(os.getpid(), number)

    if number != signal.SIGINT:
        disposition(number, signal.SIG_DFL)
    hook = sys.unraisablehook

    def work() -> None:
        Deleted()  # its method is called at once
        assert kills == [number]
        wait_for(lambda: False)

    with pytest.raises(exception) as caught, exit_on_signals(), exit_on_signals():
        work()

    assert getattr(caught.value, "code", None) in (None, 128 + number)
    assert sys.unraisablehook is hook


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_discarded_exceptions_are_reported_as_before() -> None:
    class Deleted:
        def __del__(self) -> None:
            raise SystemExit(1)

    reported: list[object] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda discarded: reported.append(discarded.exc_type)
    try:
        with exit_on_signals():
            Deleted()
    finally:
        sys.unraisablehook = hook

    assert reported == [SystemExit]

"""What the tests inherit from whoever starts them must not decide how they end."""

from __future__ import annotations

import signal

INHERITED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD)
"""Signals that a starter may ignore; a program that ignores them passes that on to what it starts."""


def reset_signals() -> None:
    """Give the signals that tests send their default disposition, whatever the starter of the tests ignored or blocked.

    SIGHUP stays as it is, so that nohup protects the tests: a test that sends it sets its disposition itself.
    """
    for number in INHERITED:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())

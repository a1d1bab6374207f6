"""What ends a program from outside: SIGTERM and SIGHUP, and the death of its starter, so that nothing stays behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

PR_SET_PDEATHSIG = 1
"""From Linux' ``prctl.h``; the setting outlives ``exec``."""


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as an exception, once: every ``finally`` runs, the exit code is 128 + signal.

    What arrives after the first is not heard: a terminal that closes and a supervisor say it more than once. A signal
    that the starter chose to ignore (``nohup``) stays ignored. SIGCHLD does not: while it is ignored the kernel
    discards exit codes, and a program that failed, such as the check of a signature, would look successful.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield
        return
    told = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            raise SystemExit(128 + number)

    heard = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT, SIGTERM and SIGHUP back while the block runs, which may ask whether one came; at its end it takes effect.

    For a library that would else hear them itself, and tell nobody. What the starter chose to ignore stays ignored.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield lambda: False
        return
    every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [one for one in every if signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in heard}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def end_with(parent: int, number: signal.Signals) -> None:
    """Ask the kernel to send this process the signal when its parent dies, however that happens.

    A parent that died before that could not be heard: then this process ends at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)

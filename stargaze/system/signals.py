"""Signals: exit cleanly on SIGTERM and SIGHUP, defer signals, and die with the parent process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

PR_SET_PDEATHSIG = 1
"""Constant of Linux' ``prctl.h``; the setting survives ``exec``."""

RESEND_DELAY = 0.05
"""Time after which a signal is sent again, so that what discarded its exception has ended [s]."""


def signal_name(number: int) -> str:
    """Return the name of a signal; most real-time signals have none.

    >>> signal_name(9), signal_name(40)
    ('SIGKILL', 'signal 40')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """Turn the first SIGTERM or SIGHUP into SystemExit(128 + signal), so that every ``finally`` runs; ignore later ones.

    Python discards an exception that is raised during a ``__del__`` or a callback: then the signal is sent again, SIGINT too.
    A signal that the parent process ignores (``nohup``) stays ignored. SIGCHLD is reset to its default: while it is ignored, the
    kernel discards exit codes, and a failed program, such as the verification of a signature, would seem successful.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return
    received, discard = 0, sys.unraisablehook

    def exit_once(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        if not received:
            received = number
            raise SystemExit(128 + number)

    def send_again(discarded: sys.UnraisableHookArgs) -> None:
        nonlocal received
        error = discarded.exc_value
        is_exit = received and isinstance(error, SystemExit) and error.code == 128 + received
        if is_exit or isinstance(error, KeyboardInterrupt):
            number, received = (received, 0) if is_exit else (signal.SIGINT, received)
            threading.Timer(RESEND_DELAY, os.kill, (os.getpid(), number)).start()
        else:
            discard(discarded)

    handlers: dict[int, Any] = dict.fromkeys(_not_ignored(signal.SIGTERM, signal.SIGHUP), exit_once)
    with _handlers({**handlers, signal.SIGCHLD: signal.SIG_DFL}):
        sys.unraisablehook = send_again
        try:
            yield
        finally:
            sys.unraisablehook = discard


@contextlib.contextmanager
def defer_signals() -> Iterator[Callable[[], bool]]:
    """Defer SIGINT, SIGTERM and SIGHUP to the end of the block; the yielded function returns whether one has arrived.

    For a library that would otherwise handle them itself. Signals that the parent process ignores stay ignored.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield lambda: False
        return
    numbers = _not_ignored(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        with _handlers(dict.fromkeys(numbers, lambda number, _frame: received.append(number))):
            yield lambda: bool(received)
    finally:
        if received:
            signal.raise_signal(received[0])


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process the signal when its parent dies; exit at once if it is already dead."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _not_ignored(*numbers: signal.Signals) -> list[signal.Signals]:
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


@contextlib.contextmanager
def _handlers(handlers: dict[Any, Any]) -> Iterator[None]:
    """Install signal handlers while the block runs."""
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

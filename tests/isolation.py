"""Each test leaves nothing behind: no thread, child process, signal handler, folder or variable that affects the next one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

INHERITED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD)
"""Signals that the parent may ignore; child processes inherit that."""
GRACE = 5.0
"""How long a thread or a process may take to end after its test [s]."""
POOL_THREADS = "asyncio_"
"""Prefix of the threads of an event loop's default executor. Playwright's loop lives as long as the browser of a module."""

FIXTURE_PROCESSES = set[int]()
"""Processes that a fixture of several tests started, or started again, and that it ends."""
SET_BY_IMPORTS = (b"PYTEST_", b"KMP_", b"RAY_", b"TUNE_")
"""Variables that pytest sets, or libraries when they are imported."""

Disposition = Callable[[signal.Signals, signal.Handlers], None]


def reset_signals() -> None:
    """Give the signals that tests send their default disposition, whatever the starter of the tests ignored or blocked.

    SIGHUP stays as it is, so that nohup protects the tests: a test that sends it sets its disposition itself.
    """
    for number in INHERITED:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def copy_module(module: ModuleType, **changes: Any) -> SimpleNamespace:
    """Return a copy of a module with other attributes, for one module to use in its place."""
    return SimpleNamespace(**{**vars(module), **changes})


@pytest.fixture
def disposition() -> Iterator[Disposition]:
    """Set what happens at a signal, whatever the starter of the tests chose, until the test ends."""
    before: dict[signal.Signals, Any] = {}

    def set_disposition(number: signal.Signals, handler: signal.Handlers) -> None:
        before[number] = signal.signal(number, handler)

    yield set_disposition
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def check_isolation() -> Iterator[None]:
    """Fail a test that leaves something behind: the fault would show in another test, and only in some orders."""
    before = _state()
    threads, children = set(threading.enumerate()), _children()
    yield
    limit = time.monotonic() + GRACE
    while remaining := _left(threads, children):
        assert time.monotonic() < limit, f"left running: {remaining}"
        time.sleep(0.01)
    after = _state()
    assert after == before, {name: (before[name], after[name]) for name in before if before[name] != after[name]}


@pytest.fixture(autouse=True)
def check_patches(check_isolation: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that patches the standard library: every thread of the process would see that, pytest's own too."""
    yield
    targets = {target.__name__ for target, _, _ in monkeypatch._setattr if isinstance(target, ModuleType)}
    patched = targets & (sys.stdlib_module_names - {"sys"})
    assert not patched, f"{patched}: give the module under test a copy instead (isolation.copy_module)"


def _left(threads: set[threading.Thread], children: set[psutil.Process]) -> list[str]:
    new = [
        str(thread_or_process)
        for thread_or_process in threading.enumerate()
        if thread_or_process not in threads and not thread_or_process.name.startswith(POOL_THREADS)
    ]
    return new + [str(thread_or_process) for thread_or_process in _children() - children]


def _state() -> dict[str, Any]:
    umask = os.umask(0)
    os.umask(umask)
    encoded = os.environ._data  # to decode all variables twice per test would take a second per suite
    variables = {name: value for name, value in encoded.items() if not name.startswith(SET_BY_IMPORTS)}
    handlers = {str(number): signal.getsignal(number) for number in (*INHERITED, signal.SIGHUP)}
    return {"folder": Path.cwd(), "umask": umask, "variables": variables, **handlers}


def _children() -> set[psutil.Process]:
    """Return the child processes, also those that ended and that were not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # there are none: no need to look through all processes
        return set()
    children = (process for process in _running_children() if process.pid not in FIXTURE_PROCESSES)
    return {process for process in children if not _serves_multiprocessing(process)}


def _running_children() -> list[psutil.Process]:
    """Return the child processes; Linux lists them per thread, which takes a fortieth of a search in all processes."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    if not lists:
        return psutil.Process().children()
    children = []
    for path in lists:
        pids: list[str] = []
        with contextlib.suppress(OSError):  # the thread ended meanwhile
            pids = path.read_text().split()
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
                children.append(psutil.Process(int(pid)))
    return children


def _serves_multiprocessing(process: psutil.Process) -> bool:
    """Return whether Python keeps this process until its own end: the resource tracker and the fork server."""
    try:
        return any("from multiprocessing." in word for word in process.cmdline())
    except psutil.Error:  # it ended meanwhile
        return False

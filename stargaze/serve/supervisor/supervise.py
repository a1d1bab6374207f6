"""Start, watch and end the two processes behind the page: gunicorn for the web, Celery for the predictions."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import requests

from stargaze.bundle.manifest import verify_files
from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.queue.backends import queue_length
from stargaze.serve.runtime.hot_reload import current_bundle_folder
from stargaze.serve.runtime.metrics import METRICS_FOLDER_VARIABLE, serve_metrics
from stargaze.serve.runtime.settings import (
    DEFAULT_SOURCES,
    LOW_MEMORY_VARIABLES,
    Sources,
    ready_file,
    session_key,
    to_environment,
    web_server_command,
)
from stargaze.serve.supervisor.child_process import Child, start_child
from stargaze.serve.supervisor.listen_socket import listen, url_of
from stargaze.store import Store
from stargaze.system.files import convert_disk_errors
from stargaze.system.progress import Notify

START_LIMIT = 120.0
"""Importing the libraries takes 3 s, on a busy machine 15 s; a process that dies meanwhile is noticed at once [s]."""
PAUSE = 0.1
"""Between two looks at the processes [s]."""


@dataclass(frozen=True)
class Running:
    """The page as it runs."""

    url: str
    children: tuple[Child, ...]

    def check(self) -> None:
        """Raise ExternalError with the last lines of its log if one of the processes ended."""
        for child in self.children:
            if child.ended():
                raise ExternalError(f"{child.death()}; the other was ended too", hint=f"the whole log: {child.log}")


def serve(section: ServeSection, store: Store, sources: Sources = DEFAULT_SOURCES, *, announce: Notify) -> int:
    """Serve until Ctrl-C (130) or SIGTERM (0); ``announce`` gets the URL once it answers.

    Raises
    ------
    MissingInputError
        If no release is deployed.
    UsageError
        If the port is taken or not ours to take.
    ExternalError
        If a process ends by itself; the other one is ended first.
    """
    try:
        with _terminable(), _running(section, store, sources) as running:
            announce(running.url)
            while True:
                running.check()
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        return 130
    except _Terminated:
        return 0


@contextlib.contextmanager
def serving(section: ServeSection, store: Store, sources: Sources = DEFAULT_SOURCES) -> Iterator[str]:
    """Serve inside the block; gives the URL, which answers already."""
    with _running(section, store, sources) as running:
        yield running.url
        running.check()


@contextlib.contextmanager
def _running(section: ServeSection, store: Store, sources: Sources) -> Iterator[Running]:
    verify_files(current_bundle_folder(store.current))
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(section.host, section.port))
        ready = prepare_store(store)
        stack.callback(ready.unlink, missing_ok=True)
        children: list[Child] = []
        stack.callback(_end, children)
        environment = to_environment(section, store, sources) | _metrics(section, store, stack)
        children.append(_worker(store, environment))
        children.append(_web(section, store, environment, listener))
        running = Running(url_of(listener), tuple(children))
        listener.close()  # gunicorn has its own: once that ends, nobody shall be kept waiting here
        _wait_until_ready(running, ready)
        yield running


def prepare_store(store: Store) -> Path:
    """Make the folders and the key that both processes need; return the file that says the worker is ready."""
    ready = ready_file(store, os.getpid())
    with convert_disk_errors(store.root):
        for folder in (store.queue / "messages", store.queue / "control", store.queue / "taken", log_folder(store)):
            folder.mkdir(parents=True, exist_ok=True)
        ready.unlink(missing_ok=True)
    session_key(store)
    return ready


def log_folder(store: Store) -> Path:
    """Return the folder of both processes' logs."""
    return store.root / "logs"


def _worker(store: Store, environment: dict[str, str]) -> Child:
    # kombu moves each message to the temporary folder before it reads it: in one file system that is one rename.
    extra = {"TMPDIR": str(store.queue / "taken"), **LOW_MEMORY_VARIABLES}
    return start_child(
        "worker",
        ["stargaze.serve.queue.worker"],
        {**environment, **extra},
        log_folder(store) / "worker.log",
        store.root,
    )


def _metrics(section: ServeSection, store: Store, stack: contextlib.ExitStack) -> dict[str, str]:
    """Serve metrics until the page ends, if the config names a port; return what lets the processes count."""
    if not section.metrics_port:
        return {}
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="metrics-", dir=store.queue))
    length = partial(queue_length, section, store)
    stack.callback(
        serve_metrics(section.metrics_port, length, lambda: current_bundle_folder(store.current).name, folder=folder)
    )
    return {METRICS_FOLDER_VARIABLE: folder}


def _web(section: ServeSection, store: Store, environment: dict[str, str], listener: socket.socket) -> Child:
    command = web_server_command(section, f"fd://{listener.fileno()}", grace=5)
    path = log_folder(store) / "web.log"
    return start_child("web", command, environment, path, store.root, keep=(listener.fileno(),))


def _wait_until_ready(running: Running, ready: Path) -> None:
    limit = time.monotonic() + START_LIMIT
    while not (ready.exists() and _answers(f"{running.url}/readyz")):
        running.check()
        if time.monotonic() > limit:
            tails = "\n".join(child.tail() for child in running.children)
            raise ExternalError(f"the page was not ready within {START_LIMIT:g} s\n{tails}", hint="see the logs above")
        time.sleep(PAUSE)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5, proxies={"http": "", "https": ""}).ok
    except requests.RequestException:
        return False


def _end(children: list[Child]) -> None:
    """Ask both to end, the page first so that it takes no more questions; insist after some seconds."""
    for child in reversed(children):
        child.ask_to_end()
    for child in children:
        child.insist()


class _Terminated(Exception):
    """SIGTERM arrived."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""Start, watch and stop the two serving processes: gunicorn for the web, Celery for the predictions."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests

from stargaze.bundle.manifest import GROWTH_FORMAT, GROWTH_HINT, STAR_FORMAT, STAR_HINT, read_description
from stargaze.config import ServeSection
from stargaze.errors import ExternalError, UsageError
from stargaze.serve.queue.backends import queue_length
from stargaze.serve.release.release_folder import growth_folder, split_release_name
from stargaze.serve.runtime.hot_reload import current_bundle_folder
from stargaze.serve.runtime.metrics import METRICS_FOLDER_VARIABLE, serve_metrics
from stargaze.serve.runtime.settings import (
    ANY_ADDRESS,
    DEFAULT_SOURCES,
    LOW_MEMORY_VARIABLES,
    Sources,
    ready_file,
    ready_files,
    session_key,
    to_environment,
    web_server_command,
)
from stargaze.serve.runtime.status_files import prepare_queue_folder
from stargaze.serve.supervisor.child_process import ChildProcess, start_child
from stargaze.serve.supervisor.watch import Service, Watch
from stargaze.store import Store
from stargaze.system.files import convert_disk_errors, private_folder
from stargaze.system.locks import owned_folder, remove_abandoned
from stargaze.system.process import token_environment
from stargaze.system.progress import Notify
from stargaze.system.signals import exit_on_signals
from stargaze.system.sqlite import move_damaged

START_TIMEOUT = 120.0
"""Importing the libraries takes 3 s, on a busy machine 15 s; a process that ends earlier is noticed at once [s]."""
PORT_TIMEOUT = 10.0
"""The web server of a killed supervisor stops within its grace period, and holds the port until then [s]."""
POLL_INTERVAL = 0.1
"""Time between two checks of the processes [s]."""
TEMPORARY_PREFIX = "temporary-"
TEMPORARY_FOLDERS = re.compile(f"{TEMPORARY_PREFIX}.+")
"""The folders for temporary files of worker and metrics; the next start deletes that of a killed supervisor."""
LOOPBACK_HINT = "stargaze serve --host 127.0.0.1"


@dataclass(frozen=True)
class RunningServer:
    """The URL, the two processes of a running server, and their supervision."""

    url: str
    services: tuple[Service, ...]
    watch: Watch

    def check(self) -> None:
        """Raise ExternalError with the last lines of its log if a process ended."""
        for child in (service.child for service in self.services):
            if child.has_ended():
                raise ExternalError(
                    f"{child.describe_exit()}; the other was stopped too", hint=f"log: {child.log.path}"
                )
            child.log.check()


def serve(section: ServeSection, store: Store, sources: Sources = DEFAULT_SOURCES, *, announce: Notify) -> int:
    """Serve until Ctrl-C (returns 130), SIGTERM (returns 0) or SIGHUP (129); ``announce`` gets the URL when the server is ready.

    A process that ends, stops, or takes no messages is started again; ExternalError if it does not become ready again and again.
    """
    try:
        with exit_on_signals(), _run_server(section, store, sources) as server:
            announce(server.url)
            while True:
                server.watch.check()
                time.sleep(POLL_INTERVAL)
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return 0 if end.code == 128 + signal.SIGTERM else int(end.code or 0)


@contextlib.contextmanager
def serving(section: ServeSection, store: Store, sources: Sources = DEFAULT_SOURCES) -> Iterator[str]:
    """Serve inside the block; gives the URL of the ready server."""
    with _run_server(section, store, sources) as server:
        yield server.url
        server.check()


@contextlib.contextmanager
def _run_server(section: ServeSection, store: Store, sources: Sources) -> Iterator[RunningServer]:
    folder = current_bundle_folder(store.current)
    read_description(folder, "stars", STAR_FORMAT, STAR_HINT)
    if growth := growth_folder(folder):
        read_description(growth, "growth", GROWTH_FORMAT, GROWTH_HINT)
    with contextlib.ExitStack() as stack:
        patience = PORT_TIMEOUT if _has_killed_supervisor(store) else 0.0
        listener = stack.enter_context(listen(section.host, section.port, patience=patience))
        ready = prepare_store(store)
        stack.callback(ready.unlink, missing_ok=True)
        services: list[Service] = []
        stack.callback(_stop, services)
        remove_abandoned(store.queue, TEMPORARY_FOLDERS, lambda _: None)
        with convert_disk_errors(store.queue):
            temporary = stack.enter_context(owned_folder(store.queue, TEMPORARY_PREFIX))
        environment = to_environment(section, store, sources) | _start_metrics(section, store, temporary, stack)
        worker_environment = environment | (token_environment() if section.github_lookup else {})
        # Celery's folder remains there when its process ends at once.
        worker_environment["TMPDIR"] = str(temporary.resolve())
        url = url_of(listener)

        def start_worker() -> ChildProcess:
            ready.unlink(missing_ok=True)
            return _start_worker(store, worker_environment)

        # The listener stays open: while the web server starts again, connections wait instead of being refused.
        start_web = partial(_start_web, section, store, environment, listener)
        services.append(Service("worker", start_worker, ready.exists, start_worker()))
        services.append(Service("web", start_web, partial(_is_ok, f"{url}/healthz", 1.0), start_web()))
        watch = Watch(store, *services, has_broker=bool(section.broker_url))
        server = RunningServer(url, tuple(services), watch)
        _wait_until_ready(server, ready)
        yield server


def prepare_store(store: Store) -> Path:
    """Create folders and session key, move damaged databases aside; return the file that the worker creates when it is ready."""
    ready = ready_file(store, os.getpid())
    with convert_disk_errors(store.root):
        prepare_queue_folder(store)
        private_folder(store.logs)
        for path in ready_files(store):
            if path == ready or not _is_alive(path):
                path.unlink(missing_ok=True)
    for database in (store.results, store.predictions, store.github_lookups, store.request_counts):
        if database.exists():
            move_damaged(database)
    session_key(store)
    return ready


def _start_worker(store: Store, environment: dict[str, str]) -> ChildProcess:
    log = store.logs / "worker.log"
    variables = {**environment, **LOW_MEMORY_VARIABLES}
    return start_child("worker", ["stargaze.serve.queue.worker"], variables, log, store.root)


def _start_web(
    section: ServeSection, store: Store, environment: dict[str, str], listener: socket.socket
) -> ChildProcess:
    command = web_server_command(section, f"fd://{listener.fileno()}", grace=5)
    log = store.logs / "web.log"
    return start_child("web", command, environment, log, store.root, pass_fds=(listener.fileno(),))


def _start_metrics(section: ServeSection, store: Store, temporary: Path, stack: contextlib.ExitStack) -> dict[str, str]:
    """Serve metrics until the stack ends, if the config names a port; return the variable for the processes."""
    if not section.metrics_port:
        return {}
    folder = temporary / "metrics"
    folder.mkdir()
    length = partial(queue_length, section, store)
    stack.callback(
        serve_metrics(
            section.metrics_port,
            str(folder),
            length,
            lambda: split_release_name(current_bundle_folder(store.current).name),
        )
    )
    return {METRICS_FOLDER_VARIABLE: str(folder)}


def _wait_until_ready(server: RunningServer, ready: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not (ready.exists() and _is_ok(f"{server.url}/readyz")):
        server.check()
        if time.monotonic() > deadline:
            tails = "\n".join(service.child.log_tail() for service in server.services)
            raise ExternalError(f"not ready within {START_TIMEOUT:g} s\n{tails}", hint="see the logs above")
        time.sleep(POLL_INTERVAL)


def _is_ok(url: str, timeout: float = 5.0) -> bool:
    try:
        return requests.get(url, timeout=timeout, proxies={"http": "", "https": ""}).ok
    except requests.RequestException:
        return False


def _stop(services: list[Service]) -> None:
    """Stop both processes, the web server first, so that no new requests are accepted."""
    for service in reversed(services):
        service.child.terminate()
    for service in services:
        service.child.wait_or_kill()


def _has_killed_supervisor(store: Store) -> bool:
    """Return whether a supervisor was killed: it has left its ready file. Its processes stop themselves."""
    return any(not _is_alive(path) for path in ready_files(store))


def _is_alive(ready: Path) -> bool:
    return Path("/proc", ready.name.rpartition("-")[2]).exists()


def listen(host: str, port: int, *, patience: float = 0.0) -> socket.socket:
    """Listen on ``host:port``; port 0 takes a free one. gunicorn inherits the socket.

    Wait up to ``patience`` [s] until the port is free.
    """
    if ":" in host:  # werkzeug's check of the Host header takes the first colon as the port separator
        raise UsageError(f"serve.host: {host} is not an IPv4 address", hint=LOOPBACK_HINT)
    deadline = time.monotonic() + patience
    while True:
        try:
            return socket.create_server((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise _convert_error(host, port, error) from error
        time.sleep(POLL_INTERVAL)


def url_of(listener: socket.socket) -> str:
    """Return the URL for a browser; for the address that means "any" it is the loopback address."""
    host, port = listener.getsockname()[:2]
    return f"http://{'127.0.0.1' if host in ANY_ADDRESS else host}:{port}"


def _convert_error(host: str, port: int, error: OSError) -> UsageError:
    number = error.errno or 0
    other = port + 1 if 1024 <= port < 65_535 else 8000
    hint = f"stargaze serve --port {other}, or --port 0 for a free one"
    if number == errno.EADDRINUSE:
        return UsageError(f"port {port} on {host} is in use", hint=hint)
    if number in (errno.EACCES, errno.EPERM):
        return UsageError(f"this user may not use port {port}", hint=hint)
    if number < 0:  # an error of name resolution
        return UsageError(f"{host!r} is not an address", hint=LOOPBACK_HINT)
    message = f"cannot listen on {host}:{port}: {error.strerror or error}"
    return UsageError(message, hint=LOOPBACK_HINT if number == errno.EADDRNOTAVAIL else hint)

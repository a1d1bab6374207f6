"""Watch the two serving processes: start one again when it has ended, is stopped by a signal, or takes no messages."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stargaze.errors import ExternalError, StargazeError
from stargaze.serve.queue.message_folder import MessageFolder
from stargaze.serve.runtime.status_files import MAX_SILENCE, is_heartbeat_recent
from stargaze.serve.supervisor.child_process import ChildProcess
from stargaze.store import Store

MAX_FAILED_STARTS = 8
"""A process that ends so often in a row without becoming ready is not started again."""
PAUSE, MAX_PAUSES = 0.5, 4
"""The pause after a failed start [s]; it grows with each up to so many times that."""
CHECK_INTERVAL = 1.0
"""Time between two checks of what costs more than asking whether a process exists [s]."""
MAX_STUCK = 2.0
"""A worker that has been silent for so long after MAX_SILENCE is killed [s]."""
log = logging.getLogger(__name__)


@dataclass
class Service:
    """A process that is started again when it has ended."""

    name: str
    start: Callable[[], ChildProcess]
    is_ready: Callable[[], bool]
    child: ChildProcess
    was_ready: bool = False
    failed_starts: int = 0
    next_start: float | None = None
    stopped: set[int] = field(default_factory=set)

    def restart_if_ended(self) -> None:
        """Start it again if it has ended, after a pause if that failed before; raise ExternalError if it failed too often."""
        if self.next_start is None:
            if not self.child.has_ended():
                return
            self.child.kill_children()
            reason = self.child.describe_exit()
            self._note_failure(reason, 0 if self.was_ready else self.failed_starts + 1)
            log.warning("%s; it is started again", reason.partition("\n")[0])
        if self.next_start is not None and time.monotonic() >= self.next_start:
            try:
                self.child = self.start()
            except (OSError, StargazeError) as error:
                self._note_failure(f"the {self.name} process cannot be started again: {error}", self.failed_starts + 1)
            else:
                self.next_start, self.was_ready, self.stopped = None, False, set()

    def _note_failure(self, reason: str, failed_starts: int) -> None:
        if failed_starts >= MAX_FAILED_STARTS:
            raise ExternalError(f"{reason}; the other was stopped too", hint=f"log: {self.child.log.path}")
        self.failed_starts = failed_starts
        self.next_start = time.monotonic() + PAUSE * min(failed_starts, MAX_PAUSES)

    def kill_stopped(self) -> None:
        """Kill processes that a signal stopped some time ago: nothing else would notice them for half a minute."""
        stopped = self.child.find_stopped()
        for pid in stopped & self.stopped:
            log.warning("process %d (%s) is stopped; it is killed", pid, self.name)
            with contextlib.suppress(ProcessLookupError):  # its parent was faster
                os.kill(pid, signal.SIGKILL)
        self.stopped = stopped - self.stopped


class Watch:
    """Both processes of a server."""

    def __init__(self, store: Store, worker: Service, web: Service, *, has_broker: bool) -> None:
        self._store, self._worker, self._web = store, worker, web
        self._has_broker = has_broker
        self._next_check = 0.0
        self._silent_since: float | None = None

    def check(self) -> None:
        """Restart what has to be restarted; call it several times per second."""
        for service in (self._worker, self._web):
            service.restart_if_ended()
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + CHECK_INTERVAL
        for service in (self._worker, self._web):
            service.was_ready = service.was_ready or (service.next_start is None and service.is_ready())
            if service.next_start is None:
                service.kill_stopped()
                service.child.log.check()
        if self._worker.was_ready and self._worker.next_start is None and not self._has_broker:
            self._kill_silent_worker()

    def _kill_silent_worker(self) -> None:
        """Kill a worker that takes no messages, unless that is because none can be written."""
        if is_heartbeat_recent(self._store.queue, MAX_SILENCE) or not self._is_writable():
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = time.monotonic()
        elif time.monotonic() - self._silent_since > MAX_STUCK:
            log.warning("the worker takes no messages; it is killed")
            self._worker.child.kill()
            self._silent_since = None

    def _is_writable(self) -> bool:
        try:
            MessageFolder(self._store.queue).check()
        except OSError:
            return False
        return True

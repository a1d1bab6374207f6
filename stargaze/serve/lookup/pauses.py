"""Pauses after faults of GitHub: no request of the same kind is sent for a while, because every visitor would wait for it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from stargaze.errors import CredentialsError
from stargaze.features.github.api.client import Client
from stargaze.serve.lookup.github_resource import Resource, WaitRequiredError, limited_until

BACKOFF = 60.0
"""No request of a kind is sent for this long after a fault [s]."""
LATE_PAUSE = 6.0
"""A late response has arrived, or its request has failed, after this time [s]."""
QUERY = "query"
"""The kind of the queries by name, without which there is no record."""
PATIENCE = 3
"""Faults in a row after which no contributors, histories or counts are requested: one may be due to a large repository."""
LATE = "GitHub did not respond in time"
UNREACHABLE = "GitHub cannot be reached at the moment"
BAD_TOKEN = "GitHub refuses this server's requests"  # noqa: S105 # no password
log = logging.getLogger(__name__)


class Pause(NamedTuple):
    """Why no request is sent, for the visitor, and how long this can be expected to hold [s since 1970]."""

    reason: str
    until: float


class UnavailableError(Exception):
    """GitHub did not answer."""

    def __init__(self, pause: Pause) -> None:
        super().__init__(pause.reason)
        self.pause = pause


class Pauses:
    """The pauses of one process, by kind or key of the resources, or by the rate limit that counts them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._pauses: dict[str, Pause] = {}
        self._faults: Counter[str] = Counter()
        """Faults of each kind since the last response."""
        self._lock = threading.Lock()

    def find(self, resource: Resource | str, limit: str) -> Pause | None:
        """Return why no such request is sent at present; None if it may be sent."""
        now = self._now()
        names = (resource,) if isinstance(resource, str) else (resource.kind, resource.key)
        pauses = [self._pauses[name] for name in (*names, limit, "") if name in self._pauses]
        return next((pause for pause in pauses if pause.until > now), None)

    def late(self, resource: Resource | str = "", limit: str = "") -> Pause:
        """Return the pause of a request without a response in time: it is sent again when no other pause holds it back."""
        pause = self.find(resource, limit)
        return Pause(LATE, max(self._now() + LATE_PAUSE, pause.until if pause else 0.0))

    def end_faults(self, kind: str) -> None:
        """Count from zero again: GitHub has responded."""
        self._faults[kind] = 0

    def count_fault(self, resource: Resource | str, patience: int = 0) -> None:
        """Count a request to which GitHub did not respond in time; ``resource`` may be the kind of a query."""
        kind, key, usual = _kind_of(resource)
        with self._lock:
            self._add_fault(kind, key, patience or usual, self._now() + BACKOFF)

    def add(self, resource: Resource | str, limit: str, client: Client, error: Exception, *, is_refused: bool) -> None:
        """Send no request of this kind for a while, or none that a rate limit counts, and store the reason.

        If the kind has patience, only this resource is not requested: it may be too much for GitHub alone.
        """
        now = self._now()
        kind, key, patience = _kind_of(resource)
        states = [state for name, state in client.limits.items() if name == limit]
        is_limited = is_refused or any(state.remaining <= 0 and state.until > now for state in states)
        seconds = error.seconds if isinstance(error, WaitRequiredError) else 0.0
        until = now + (max(seconds, BACKOFF) if is_limited else BACKOFF)
        with self._lock:  # requests fail at the same time
            self._pauses = {name: pause for name, pause in self._pauses.items() if pause.until > now}
            if is_limited:
                self._pauses[limit] = Pause(limited_until(until), until)
            elif isinstance(error, CredentialsError):
                self._pauses[""] = Pause(BAD_TOKEN, until)
            else:
                self._add_fault(kind, key, patience, until)
        log.warning("no requests to GitHub for a while (%s): %s", kind, error)

    def _add_fault(self, kind: str, key: str, patience: int, until: float) -> None:
        self._faults[kind] += 1
        self._pauses[kind if self._faults[kind] >= patience else key] = Pause(UNREACHABLE, until)


def _kind_of(resource: Resource | str) -> tuple[str, str, int]:
    """Return kind, key and patience of a resource, or of a kind of queries: one repository may be too large to be counted."""
    if isinstance(resource, Resource):
        return resource.kind, resource.key, resource.patience
    return resource, f"one {resource}", 1 if resource == QUERY else PATIENCE

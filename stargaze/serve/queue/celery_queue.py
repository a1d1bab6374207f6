"""Where the page hands in a question and picks up its answer: Celery behind a few verbs."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import (
    FINISHED_STATES,
    RESERVED,
    IdempotencyKeyReusedError,
    PredictionJob,
    PredictionRequest,
    job_from_result,
    new_job,
)
from stargaze.serve.queue.backends import AWAY, CLOSED, PATIENCE, declare, messages
from stargaze.serve.queue.celery_app import TASK
from stargaze.serve.queue.result_store import Results
from stargaze.serve.runtime.metrics import observe_job
from stargaze.serve.runtime.settings import QUEUE_NAME, session_key
from stargaze.store import Store

WAY = 3 * PATIENCE
"""The longest that a question is on its way to the queue [s]: to connect, to hand it over, to have it confirmed."""
LOOK = 0.02
"""How often it is looked whether one has arrived [s]."""


def now() -> datetime:
    """Return the time of day, in UTC."""
    return datetime.now(UTC)


class CeleryPredictionQueue:
    """Keep the promise of :class:`stargaze.serve.prediction_request.PredictionQueue` with Celery's queue and result store.

    A ticket's number follows from its request, the release and the time, by a key that no visitor knows: whoever asks the same
    comes to the same ticket, on whichever replica, and no index of questions has to be kept.
    """

    def __init__(
        self, app: Celery, section: ServeSection, store: Store, *, clock: Callable[[], datetime] = now
    ) -> None:
        self._app = app
        self._results = Results(app)
        self._section = section
        self._store = store
        self._clock = clock
        self._key = session_key(store)
        self._declared = not section.broker_url

    def submit(self, request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        """Reserve the ticket, queue the request, and call it queued; if the queue refuses, the ticket is taken back."""
        job_id = self._number({"key": key}) if key else self._number_of(request)
        ticket = new_job(
            request, now=self._clock(), time_limit=self._section.time_limit, job_id=job_id, request_id=request_id
        )
        before = self._before(ticket)
        if before and key and before.request not in (None, request):
            raise IdempotencyKeyReusedError(
                "this Idempotency-Key came with another question", hint="make a new key a question"
            )
        if before and before.state != "failed":
            return before
        with _outside():
            if before:  # it failed: it is asked anew
                self._results.keep([ticket], RESERVED)
            with self._taken_back_on_failure(ticket):
                self._send(ticket)
        with contextlib.suppress(*AWAY):  # the queue has it: that is what was promised
            self._results.is_queued(ticket)
        observe_job("accepted")
        return ticket

    def _before(self, ticket: PredictionJob) -> PredictionJob | None:
        """Reserve a ticket's number, or return the ticket that has it already; one on its way to the queue is waited for.

        What stays on its way belongs to a page that died, and never came there: it is reserved anew. One that is taken back
        meanwhile was refused by the queue, as this one would be.
        """
        limit = time.monotonic() + WAY
        with _outside():
            if self._results.keep_new(ticket, RESERVED):
                return None
            while (found := self._results.look(ticket.id)) and found[0] == RESERVED:
                if time.monotonic() > limit and self._read(ticket.id, found).request == ticket.request:
                    self._results.keep([ticket], RESERVED)
                    return None
                time.sleep(LOOK)
        if found is None:
            raise ExternalError("the queue cannot be written: it has just refused the same", hint="stargaze doctor")
        return self._read(ticket.id, found)

    def find(self, request: PredictionRequest) -> PredictionJob | None:
        """Return the ticket that an identical question has already, and the queue as well."""
        if not self._section.cache_ttl:
            return None
        job_id = self._number_of(request)
        with _outside():
            found = self._results.look(job_id)
        return None if found is None or found[0] == RESERVED else self._read(job_id, found)

    def get(self, job_id: str) -> PredictionJob | None:
        """Read the ticket and settle one that nobody will answer any more."""
        with _outside():
            found = self._results.look(job_id)
        return None if found is None else self._read(job_id, found)

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        """Read all that may have ended in one exchange."""
        moment, limit = self._clock(), self._section.time_limit
        with _outside():
            moved = self._results.moved(job_ids)
        tickets = {
            one: seen and job_from_result(one, *seen, now=moment, time_limit=limit) for one, seen in moved.items()
        }
        return {one: ticket for one, ticket in tickets.items() if ticket is None or ticket.state in FINISHED_STATES}

    def check(self) -> None:
        """Reach the queue and write to the results: what a full disk or a broker that is away would close."""
        with _outside():
            if self._section.broker_url:
                with self._app.connection_for_write() as connection:
                    connection.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE)
            else:
                probe = messages(self._store) / ".probe"
                probe.write_bytes(b"1")
                probe.unlink()
            self._results.check()

    def _read(self, job_id: str, found: tuple[str, Any]) -> PredictionJob:
        return job_from_result(job_id, *found, now=self._clock(), time_limit=self._section.time_limit)

    def _send(self, ticket: PredictionJob) -> None:
        if not self._declared:
            with self._app.connection_for_write() as connection:
                declare(connection)
            self._declared = True
        self._app.send_task(
            TASK,
            args=[ticket.to_json()],
            task_id=ticket.id,
            queue=QUEUE_NAME,
            expires=self._section.time_limit,
            argsrepr="",  # for a monitor that nobody looks through
            kwargsrepr="",
            ignore_result=True,  # the worker stores tickets itself; Celery would have this process listen for each
            **self._how(),
        )

    def _how(self) -> dict[str, Any]:
        """RabbitMQ's queue was declared once and is not again with every message; no wait for it is longer than patience."""
        return {"declare": [], "timeout": PATIENCE, "confirm_timeout": PATIENCE} if self._section.broker_url else {}

    def _number_of(self, request: PredictionRequest) -> str:
        if not self._section.cache_ttl:
            return str(uuid.uuid4())
        period = int(self._clock().timestamp() // self._section.cache_ttl)
        return self._number({"request": request.to_json(), "release": self._release(), "period": period})

    def _number(self, value: dict[str, Any]) -> str:
        data = json.dumps(value, sort_keys=True).encode()
        return str(uuid.UUID(bytes=hmac.new(self._key, data, hashlib.sha256).digest()[:16]))

    def _release(self) -> str:
        with contextlib.suppress(OSError):
            return self._store.current.readlink().name
        return ""

    @contextlib.contextmanager
    def _taken_back_on_failure(self, ticket: PredictionJob) -> Iterator[None]:
        try:
            yield
        except CLOSED:
            self._declared = not self._section.broker_url  # a broker that comes back may have forgotten
            with contextlib.suppress(*AWAY):  # its deadline says the same, later
                self._results.take_back(ticket)
            raise


@contextlib.contextmanager
def _outside() -> Iterator[None]:
    try:
        yield
    except AWAY as error:
        raise ExternalError(f"the result store cannot be reached: {error}", hint="df -h; stargaze doctor") from error
    except CLOSED as error:
        raise ExternalError(f"the queue cannot be written: {error}", hint="df -h; stargaze doctor") from error

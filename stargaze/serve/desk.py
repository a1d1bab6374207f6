"""Where the page hands in a question and picks up its answer: Celery behind three verbs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from celery.exceptions import BackendError
from kombu.exceptions import ChannelError, KombuError
from sqlalchemy.exc import SQLAlchemyError

from stargaze.artifacts import Store
from stargaze.errors import OutsideError
from stargaze.serve.settings import QUEUE
from stargaze.serve.tasks import TASK, messages
from stargaze.serve.tickets import QUEUED, Question, Ticket, accept, read


def now() -> datetime:
    """Return the time of day, in UTC."""
    return datetime.now(UTC)


class CeleryDesk:
    """Keep the promise of :class:`stargaze.serve.tickets.Desk` with Celery's queue and result store."""

    def __init__(self, app: Celery, store: Store, *, time_limit: float, clock: Callable[[], datetime] = now) -> None:
        self._app = app
        self._store = store
        self._time_limit = time_limit
        self._clock = clock

    def ask(self, question: Question, *, key: str = "", request_id: str = "") -> Ticket:
        """Store the ticket, then queue the question; if the queue refuses, the ticket is taken back."""
        ticket = accept(question, now=self._clock(), time_limit=self._time_limit)
        with _outside():
            self._results.store_result(ticket.id, ticket.as_stored(), QUEUED)
            with self._taken_back_on_failure(ticket):
                self._app.send_task(
                    TASK, args=[ticket.as_stored()], task_id=ticket.id, queue=QUEUE, expires=self._time_limit
                )
        return ticket

    def find(self, question: Question) -> Ticket | None:
        """Return the ticket that an identical question has already."""
        return None

    def look(self, ticket_id: str) -> Ticket | None:
        """Read the ticket and settle one that nobody will answer any more."""
        with _outside():
            meta = self._results.get_task_meta(ticket_id, cache=False)
        if meta["status"] == "PENDING":  # Celery's word for "never heard of it"
            return None
        return read(ticket_id, meta["status"], meta["result"], now=self._clock(), time_limit=self._time_limit)

    def check(self) -> None:
        """Write to the queue's folder and to the results, the two places that a full disk would close."""
        with _outside():
            probe = messages(self._store) / ".probe"
            probe.write_bytes(b"1")
            probe.unlink()
            self._results.store_result("readiness", {}, "CHECK")

    @property
    def _results(self) -> Any:
        return self._app.backend

    @contextlib.contextmanager
    def _taken_back_on_failure(self, ticket: Ticket) -> Iterator[None]:
        try:
            yield
        except (KombuError, ChannelError, OSError):
            with contextlib.suppress(SQLAlchemyError, BackendError):  # its deadline says the same, later
                self._results.forget(ticket.id)
            raise


@contextlib.contextmanager
def _outside() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, BackendError) as error:
        raise OutsideError(f"the result store cannot be reached: {error}", hint="df -h; stargaze doctor") from error
    except (KombuError, ChannelError, OSError) as error:
        raise OutsideError(f"the queue cannot be written: {error}", hint="df -h; stargaze doctor") from error

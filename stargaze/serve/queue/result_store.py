"""Tickets in the result store: many at once, and a new one only where there is none, in one exchange each with Redis.

Celery's own way would read before each write, publish what nobody listens to, and leave a failed ticket as it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

from celery import Celery
from celery.backends.database import session_cleanup
from celery.backends.redis import RedisBackend

from stargaze.serve.prediction_request import QUEUED, RESERVED, RUNNING, PredictionJob

UNDER_WAY = tuple(f'{{"status":"{status}",'.encode() for status in (RESERVED, QUEUED, RUNNING))
"""How a ticket begins that has not ended, as :func:`_meta` writes it."""
_REPLACE = 'if redis.call("get", KEYS[1]) == ARGV[1] then redis.call("set", KEYS[1], ARGV[2], "ex", ARGV[3]) end'
_FORGET = 'if redis.call("get", KEYS[1]) == ARGV[1] then redis.call("del", KEYS[1]) end'


class Results:
    """The result store of an app; Celery writes there as well what it has to say of tasks that were lost or were too slow."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def keep(self, tickets: Sequence[PredictionJob], status: str) -> None:
        """Store tickets under a status, whatever stood there before."""
        backend = self._backend
        if not isinstance(backend, RedisBackend):
            for ticket in tickets:
                backend.store_result(ticket.id, ticket.to_json(), status)
            return
        with backend.client.pipeline(transaction=False) as pipe:
            for ticket in tickets:
                pipe.set(backend.get_key_for_task(ticket.id), _meta(ticket, status), ex=int(backend.expires))
            pipe.execute()

    def keep_new(self, ticket: PredictionJob, status: str) -> bool:
        """Store a ticket unless one of its number is there; tell whether it was stored."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            key, value = backend.get_key_for_task(ticket.id), _meta(ticket, status)
            return bool(backend.client.set(key, value, ex=int(backend.expires), nx=True))
        if self.look(ticket.id) is not None:
            return False
        self.keep([ticket], status)
        return True

    def is_queued(self, ticket: PredictionJob) -> None:
        """Turn a reserved ticket into one that is queued; one that a worker took meanwhile stays as it is."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            metas = _meta(ticket, RESERVED), _meta(ticket, QUEUED)
            backend.client.eval(_REPLACE, 1, backend.get_key_for_task(ticket.id), *metas, int(backend.expires))
            return
        rows = backend.task_cls
        session = backend.ResultSession()
        with session_cleanup(session):
            session.query(rows).filter_by(task_id=ticket.id, status=RESERVED).update({"status": QUEUED})
            session.commit()

    def look(self, ticket_id: str) -> tuple[str, Any] | None:
        """Return status and what is stored of a ticket; None if nothing is."""
        meta = self._backend.get_task_meta(ticket_id, cache=False)
        # "PENDING" is Celery's word for "never heard of it"
        return None if meta["status"] == "PENDING" else (meta["status"], meta["result"])

    def moved(self, ticket_ids: Collection[str]) -> dict[str, tuple[str, Any] | None]:
        """Look at all of these; Redis is asked once, and what it holds of tickets that still wait or run is not read."""
        backend, ids = self._backend, list(ticket_ids)
        if isinstance(backend, RedisBackend):
            held = backend.client.mget([backend.get_key_for_task(one) for one in ids])
            ids = [one for one, meta in zip(ids, held, strict=True) if not (meta or b"").startswith(UNDER_WAY)]
        return {one: self.look(one) for one in ids}

    def take_back(self, ticket: PredictionJob) -> None:
        """Forget a ticket that was reserved, unless somebody else has reserved it since."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            backend.client.eval(_FORGET, 1, backend.get_key_for_task(ticket.id), _meta(ticket, RESERVED))
        else:
            backend.forget(ticket.id)

    def check(self) -> None:
        """Write something, or raise what writing raises."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            backend.client.set(b"stargaze-readiness", b"1", ex=60)
        else:
            backend.store_result("readiness", {}, "CHECK")

    @cached_property
    def _backend(self) -> Any:
        """One for all threads: Celery makes each thread its own, with connections of its own."""
        return self._app.backend


def _meta(ticket: PredictionJob, status: str) -> bytes:
    """Write a ticket as Celery's stores do."""
    meta: dict[str, Any] = {
        "status": status,
        "result": ticket.to_json(),
        "traceback": None,
        "children": [],
        "task_id": ticket.id,
    }
    return json.dumps(meta, separators=(",", ":")).encode()

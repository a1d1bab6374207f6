"""kombu's filesystem transport, with whole messages only: the queue of a machine that has no broker."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem, virtual
from kombu.utils.json import dumps

ATTENTIVE = 0.2
"""The longest wait for a message [s]."""


class Channel(filesystem.Channel):
    """kombu opens a message's file, then fills it: a consumer can take it still empty. Here it appears whole."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]  # as kombu's own
        folder = Path(self.data_folder_out)
        # The name sorts by the time of day; kombu's own sorts by the time since boot, so old messages could come last.
        name = f"{time.time_ns():020d}_{uuid.uuid4()}.{queue}.msg"
        unfinished = folder / f".unfinished.{name}"  # what follows the first dot is no queue's name: nobody takes it
        try:
            unfinished.write_text(dumps(payload), encoding="utf-8")  # type: ignore[no-untyped-call]  # kombu's
            unfinished.rename(folder / name)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise ChannelError(f"cannot add a message to {folder}: {error}") from error

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        """Refuse a message that would go nowhere: kombu drops it without a word when the control folder was emptied."""
        queues: list[str] = super()._lookup(exchange, routing_key, default)  # type: ignore[no-untyped-call]  # kombu's
        if not queues:
            raise ChannelError(f"no queue stands behind {exchange} in {self.control_folder}")
        return queues

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        try:
            return super()._get(queue)  # type: ignore[no-untyped-call]  # kombu's
        except ValueError as error:  # a foreign file with the name of a message: taken away already, not worth a crash
            raise Empty from error


class Transport(filesystem.Transport):
    """The transport that ``broker_transport`` names."""

    Channel = Channel

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)  # type: ignore[no-untyped-call]  # kombu's
        # kombu remembers for the whole process what was declared, whatever the folder: a second store would get nothing.
        self.state = virtual.BrokerState()  # type: ignore[no-untyped-call]  # kombu's

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> Any:
        """Wait for a message; Celery waits two seconds at a time, and only in between hears that it shall end."""
        patience = ATTENTIVE if timeout is None else min(timeout, ATTENTIVE)
        return super().drain_events(connection, timeout=patience)  # type: ignore[no-untyped-call]  # kombu's

"""kombu's filesystem transport with atomic writes: the queue of a machine without a broker."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem, virtual
from kombu.utils.json import dumps

MAX_WAIT = 0.2
"""The longest wait for a message [s]."""


class Channel(filesystem.Channel):
    """Write a message under a temporary name: kombu creates the file empty, and a consumer could take it so."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]  # as kombu's own
        folder = Path(self.data_folder_out)
        # Sorted by the time of day; kombu's names sort by the time since boot, so old messages could come last.
        name = f"{time.time_ns():020d}_{uuid.uuid4()}.{queue}.msg"
        # kombu takes a message only if its queue's name follows the first dot
        temporary = folder / f".unfinished.{name}"
        try:
            temporary.write_text(dumps(payload), encoding="utf-8")  # type: ignore[no-untyped-call]  # kombu's
            temporary.rename(folder / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ChannelError(f"cannot add a message to {folder}: {error}") from error

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        """Refuse a message without a queue; kombu drops it silently if the control folder is empty."""
        queues: list[str] = super()._lookup(exchange, routing_key, default)  # type: ignore[no-untyped-call]  # kombu's
        if not queues:
            raise ChannelError(f"no queue is bound to {exchange} in {self.control_folder}")
        return queues

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        try:
            return super()._get(queue)  # type: ignore[no-untyped-call]  # kombu's
        except ValueError as error:  # a foreign file with the name of a message, which is removed already
            raise Empty from error


class Transport(filesystem.Transport):
    """The transport for ``broker_transport``."""

    Channel = Channel

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)  # type: ignore[no-untyped-call]  # kombu's
        # kombu shares the declared queues of all folders in a process, so a second store would get no messages.
        self.state = virtual.BrokerState()  # type: ignore[no-untyped-call]  # kombu's

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> Any:
        """Wait for a message; Celery waits two seconds at a time and handles signals only in between."""
        wait = MAX_WAIT if timeout is None else min(timeout, MAX_WAIT)
        return super().drain_events(connection, timeout=wait)  # type: ignore[no-untyped-call]  # kombu's

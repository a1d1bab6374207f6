"""kombu's filesystem transport, with whole messages only: the queue of a machine that has no broker."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """kombu opens a message's file, then fills it: a consumer can take it still empty. Here it appears whole."""

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        folder = Path(self.data_folder_out)
        # The name sorts by the time of day; kombu's own sorts by the time since boot, so old messages could come last.
        name = f"{time.time_ns():020d}_{uuid.uuid4()}.{queue}.msg"
        unfinished = folder / f".unfinished.{name}"  # what follows the first dot is no queue's name: nobody takes it
        try:
            unfinished.write_text(dumps(message), encoding="utf-8")  # type: ignore[no-untyped-call]  # kombu's
            unfinished.rename(folder / name)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise ChannelError(f"cannot add a message to {folder}: {error}") from error

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        try:
            return super()._get(queue)  # type: ignore[no-untyped-call]  # kombu's
        except ValueError as error:  # a foreign file with the name of a message: taken away already, not worth a crash
            raise Empty from error


class Transport(filesystem.Transport):
    """The transport that ``broker_transport`` names."""

    Channel = Channel

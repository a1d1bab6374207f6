"""kombu's virtual transport on a folder of messages: the queue of a machine without a broker."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import virtual
from kombu.utils.json import dumps

from stargaze.serve.queue.message_folder import MessageFolder, MessageName

MAINTENANCE_INTERVAL = 1.0
"""Time between two searches for messages of dead consumers, and for messages whose wake-up was lost [s]."""


class QoS(virtual.QoS):
    """Unacknowledged messages stay in the consumer's folder, so they survive its end."""

    def ack(self, delivery_tag: str) -> None:
        """Remove the message."""
        self.channel.settle(delivery_tag, MessageFolder.remove)
        super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu's

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Let the message wait again, or make it a dead letter."""
        if requeue:
            self.channel.settle(delivery_tag, MessageFolder.give_back)
        else:
            self.channel.settle(delivery_tag, lambda folder, name: folder.reject(name, "rejected by the worker"))
        super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu's

    def restore_unacked(self) -> list[Any]:
        """Let all messages wait again."""
        for delivery_tag in list(self._delivered):
            if delivery_tag not in self._dirty:
                self.channel.settle(delivery_tag, MessageFolder.give_back)
        self._delivered.clear()
        return []


class Channel(virtual.Channel):
    """Adds and takes messages; the routing key is the name of the queue."""

    QoS = QoS

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)  # type: ignore[no-untyped-call]  # kombu's
        settings = self.connection.client.transport_options
        self.folder = MessageFolder(Path(settings["folder"]), settings.get("on_dead_letter", lambda _id: None))
        self._taken = dict[str, MessageName]()

    def is_consumer(self) -> bool:
        """Return whether it takes messages."""
        return bool(self._consumers)

    def settle(self, delivery_tag: str, action: Any) -> None:
        """Call an action of the folder with a taken message, once."""
        if name := self._taken.pop(delivery_tag, None):
            action(self.folder, name)

    def close(self) -> None:
        """Let all taken messages wait again."""
        super().close()  # type: ignore[no-untyped-call]  # kombu's
        self.folder.close()

    def _lookup(self, _exchange: str, routing_key: str, _default: str | None = None) -> list[str]:
        return [routing_key]

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        headers = message.get("headers") or {}
        try:
            self.folder.add(queue, str(headers.get("id", "")), dumps(message))  # type: ignore[no-untyped-call]  # kombu's
        except OSError as error:
            raise ChannelError(f"cannot add a message: {error}") from error

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        while name := self.folder.take(queue):
            try:
                payload = json.loads(self.folder.read(name))
                payload["properties"]["delivery_tag"] = str(name)
                delivery_info = payload["properties"]["delivery_info"]
                delivery_info["redelivered"] = name.returns + name.deaths > 0
                headers = self.Message(payload, channel=self).headers  # type: ignore[no-untyped-call]  # kombu's
                if not all(isinstance(headers[key], str) for key in ("id", "task")):
                    raise TypeError("id or task is not a text")  # noqa: TRY301 - as every other mistake
            except Exception as error:  # noqa: BLE001 - whatever the file contains, the next one is taken
                self.folder.reject(name, f"not a message: {type(error).__name__}")
            else:
                self._taken[str(name)] = name
                return payload
        raise Empty

    def _size(self, queue: str) -> int:
        return self.folder.count(queue)

    def _purge(self, queue: str) -> int:
        count = 0
        while name := self.folder.take(queue):
            self.folder.remove(name)
            count += 1
        return count


class Transport(virtual.Transport):
    """The transport for ``broker_transport``, for an event loop: so Celery gives each prediction process its own pipes."""

    Channel = Channel
    driver_type = driver_name = "filesystem"
    implements = virtual.Transport.implements.extend(asynchronous=True, exchange_type=frozenset({"direct"}))

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)  # type: ignore[no-untyped-call]  # kombu's
        self._loop: Any = None
        self._pipe = -1
        self._timer: Any = None

    def driver_version(self) -> str:
        """Return the version for Celery's banner."""
        return "1"

    def register_with_event_loop(self, _connection: Any, loop: Any) -> None:
        """Deliver messages when the pipe is readable, in each iteration of the loop, and every second."""
        self._loop = loop
        loop.on_tick.add(self._deliver_waiting)
        self._timer = loop.call_repeatedly(MAINTENANCE_INTERVAL, self._maintain)
        self._maintain()

    def close_connection(self, connection: Any) -> None:
        """Leave the event loop."""
        if self._loop is not None:
            self._loop.on_tick.discard(self._deliver_waiting)
            self._timer.cancel()
            self._close_pipe()
            self._loop = None
        super().close_connection(connection)  # type: ignore[no-untyped-call]  # kombu's

    def _maintain(self) -> None:
        for channel in self.channels:
            if channel.is_consumer():
                channel.folder.maintain()
                self._open_pipe(channel.folder)

    def _open_pipe(self, folder: MessageFolder) -> None:
        try:
            pipe = folder.open_wake_up(self._pipe)
        except OSError:  # for example a full disk: messages are found every second
            return
        if pipe != self._pipe:
            self._close_pipe()
            self._pipe = pipe
            self._loop.add_reader(pipe, self._on_wake_up)

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _on_wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._pipe, 65_536)
        self._deliver_waiting()

    def _deliver_waiting(self) -> None:
        with contextlib.suppress(Empty):
            while self.cycle:
                self.cycle.get(self._deliver)  # type: ignore[no-untyped-call]  # kombu's

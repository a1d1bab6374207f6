"""The queue of a machine without a broker, as kombu and Celery use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection
from kombu.exceptions import ChannelError, OperationalError
from kombu.simple import SimpleQueue


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SimpleQueue]:
    with Connection(
        transport="stargaze.serve.queue.filesystem_transport:Transport",
        transport_options={"folder": str(tmp_path), "polling_interval": 0.01},
    ) as connection:
        yield connection.SimpleQueue("q", serializer="json")


def put(queue: SimpleQueue, number: int) -> None:
    queue.put({"number": number}, headers={"id": f"id-{number}", "task": "t"})


def waiting(folder: Path) -> list[Path]:
    return sorted((folder / "messages").glob("*.msg"))


def test_messages_arrive_in_order(queue: SimpleQueue) -> None:
    for number in range(5):
        put(queue, number)

    assert [queue.get(timeout=5).payload["number"] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_an_acknowledged_message_is_removed_and_another_comes_back(queue: SimpleQueue, tmp_path: Path) -> None:
    put(queue, 1)
    put(queue, 2)
    queue.get(timeout=5).ack()
    second = queue.get(timeout=5)
    assert second.delivery_info["redelivered"] is False

    second.requeue()

    again = queue.get(timeout=5)
    assert (again.payload, again.delivery_info["redelivered"]) == ({"number": 2}, True)
    again.reject()
    assert waiting(tmp_path) == []
    assert ["id-2" in path.name for path in (tmp_path / "dead-letter").iterdir()] == [True]


def test_unacknowledged_messages_come_back_when_the_connection_is_closed(tmp_path: Path, queue: SimpleQueue) -> None:
    put(queue, 1)
    queue.get(timeout=5)

    queue.channel.close()

    assert len(waiting(tmp_path)) == 1


@pytest.mark.parametrize(
    "change",
    [
        "not JSON",
        "",
        "[]",
        "{}",
        "[" * 100_000,
        {"body": 3},
        {"headers": None},
        {"headers": {"id": 3, "task": "t"}},
        {"headers": {"id": "x", "task": []}},
        {"properties": {}},
        {"properties": {"delivery_tag": 1, "delivery_info": None}},
        {"properties": {"body_encoding": "x", "delivery_tag": 1, "delivery_info": {}}},
    ],
    ids=repr,
)
def test_a_broken_message_becomes_a_dead_letter_and_the_next_is_delivered(
    queue: SimpleQueue, tmp_path: Path, change: object
) -> None:
    put(queue, 1)
    (path,) = waiting(tmp_path)
    text = change if isinstance(change, str) else json.dumps(json.loads(path.read_text()) | change)  # type: ignore[operator]
    path.write_text(text)
    put(queue, 2)

    assert queue.get(timeout=5).payload == {"number": 2}
    assert len(list((tmp_path / "dead-letter").iterdir())) == 1


def test_an_unwritable_queue_is_an_error(queue: SimpleQueue, tmp_path: Path) -> None:
    (tmp_path / "messages").write_text("a file")

    with pytest.raises((ChannelError, OperationalError), match="cannot add a message"):
        queue.put({"number": 1}, retry=False)

"""The filesystem queue: messages are written atomically."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection
from kombu.exceptions import ChannelError, OperationalError
from kombu.simple import SimpleQueue


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("messages", "control"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def queue(folder: Path) -> Iterator[SimpleQueue]:
    options = {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.01,
    }
    with Connection(
        transport="stargaze.serve.queue.filesystem_transport:Transport", transport_options=options
    ) as connection:
        yield connection.SimpleQueue("q", serializer="json")


def test_messages_arrive_in_order(queue: SimpleQueue) -> None:
    for number in range(5):
        queue.put({"number": number})

    assert [queue.get(timeout=5).payload["number"] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_an_unfinished_message_is_not_delivered(queue: SimpleQueue, folder: Path) -> None:
    (folder / "messages" / ".unfinished.00000000000000000001_x.q.msg").write_text("")

    with pytest.raises(queue.Empty):
        queue.get(timeout=0.05)


def test_a_file_that_is_not_a_message_is_skipped(queue: SimpleQueue, folder: Path) -> None:
    (folder / "messages" / "00000000000000000001_x.q.msg").write_text("not JSON")
    queue.put({"number": 1})

    assert queue.get(timeout=5).payload == {"number": 1}


def test_a_message_without_a_bound_queue_is_refused(queue: SimpleQueue, folder: Path) -> None:
    (folder / "control" / "q.exchange").unlink()

    with pytest.raises((ChannelError, OperationalError), match="no queue is bound to"):
        queue.put({"number": 1}, retry=False)


def test_an_unwritable_queue_is_an_error_and_leaves_no_file(queue: SimpleQueue, folder: Path) -> None:
    (folder / "messages").rmdir()

    with pytest.raises((ChannelError, OperationalError), match="cannot add a message"):
        queue.put({"number": 1}, retry=False)

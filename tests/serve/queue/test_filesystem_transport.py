"""The filesystem queue: a message is there whole or not at all."""

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


def test_messages_arrive_in_the_order_they_were_sent(queue: SimpleQueue) -> None:
    for number in range(5):
        queue.put({"number": number})

    assert [queue.get(timeout=5).payload["number"] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_message_that_is_still_written_is_nobodys(queue: SimpleQueue, folder: Path) -> None:
    (folder / "messages" / ".unfinished.00000000000000000001_x.q.msg").write_text("")

    with pytest.raises(queue.Empty):
        queue.get(timeout=0.05)


def test_a_foreign_file_does_not_end_the_worker(queue: SimpleQueue, folder: Path) -> None:
    (folder / "messages" / "00000000000000000001_x.q.msg").write_text("no JSON")
    queue.put({"number": 1})

    assert queue.get(timeout=5).payload == {"number": 1}


def test_a_message_that_would_go_nowhere_is_refused(queue: SimpleQueue, folder: Path) -> None:
    (folder / "control" / "q.exchange").unlink()

    with pytest.raises((ChannelError, OperationalError), match="no queue stands behind"):
        queue.put({"number": 1}, retry=False)


def test_a_queue_that_cannot_be_written_says_so_and_leaves_nothing_behind(queue: SimpleQueue, folder: Path) -> None:
    (folder / "messages").rmdir()

    with pytest.raises((ChannelError, OperationalError), match="cannot add a message"):
        queue.put({"number": 1}, retry=False)

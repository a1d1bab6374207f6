"""Messages as files: taken once, returned when their consumer dies, and whatever is not a message is moved aside."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stargaze.serve.queue import message_folder
from stargaze.serve.queue.message_folder import MAX_DEATHS, MAX_SIZE, MessageFolder, MessageName

CONSUMER = """
import os, sys
from pathlib import Path
from stargaze.serve.queue import message_folder
from stargaze.serve.queue.message_folder import MessageFolder
folder = MessageFolder(Path(sys.argv[1]))
print(folder.take("q").id, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def folder(tmp_path: Path) -> MessageFolder:
    folder = MessageFolder(tmp_path)
    folder.prepare()
    return folder


def take(folder: MessageFolder) -> MessageName:
    name = folder.take("q")
    assert name is not None
    return name


def die_with_a_message(root: Path) -> None:
    """Let a process take a message and be killed."""
    subprocess.run([sys.executable, "-c", CONSUMER, str(root)], check=False, capture_output=True)


def dead_letters(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "dead-letter").iterdir())


def test_messages_are_taken_once_in_their_order(folder: MessageFolder, tmp_path: Path) -> None:
    for number in range(5):
        folder.add("q", f"id-{number}", str(number))
    folder.add("other", "x", "x")
    other = MessageFolder(tmp_path)

    names = [take(folder), take(other), take(folder), take(other), take(folder)]

    assert [name.id for name in names] == [f"id-{number}" for number in range(5)]
    assert folder.read(names[0]) == b"0"
    assert (folder.take("q"), folder.count("q"), folder.count("other")) == (None, 0, 1)
    folder.close()
    other.close()


def test_a_returned_message_is_taken_again_and_says_so(folder: MessageFolder) -> None:
    folder.add("q", "a", "text")

    folder.give_back(take(folder))
    again = take(folder)

    assert (again.id, again.returns, again.deaths, folder.read(again)) == ("a", 1, 0, b"text")
    folder.remove(again)
    folder.close()
    assert folder.count("q") == 0


def test_a_consumer_that_ends_in_order_returns_its_messages(folder: MessageFolder, tmp_path: Path) -> None:
    folder.add("q", "a", "text")
    take(folder)

    folder.close()

    assert folder.count("q") == 1
    assert list((tmp_path / "taken").iterdir()) == []


@pytest.mark.real
def test_the_message_of_a_killed_consumer_is_returned_until_it_is_a_dead_letter(tmp_path: Path) -> None:
    failed: list[str] = []
    folder = MessageFolder(tmp_path, failed.append)
    folder.add("q", "killer", "text")
    for death in range(MAX_DEATHS):
        assert failed == []
        die_with_a_message(tmp_path)
        assert folder.count("q") == 0
        folder.maintain()
        assert folder.count("q") == (death + 1 < MAX_DEATHS)

    assert failed == ["killer"]
    assert "killer" in dead_letters(tmp_path)[0]
    assert list((tmp_path / "taken").iterdir()) == []


def test_the_messages_of_a_living_consumer_stay(folder: MessageFolder, tmp_path: Path) -> None:
    folder.add("q", "a", "text")
    take(folder)

    MessageFolder(tmp_path).maintain()

    assert folder.count("q") == 0
    folder.close()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "large", "foreign name", "long name"])
def test_what_is_not_a_message_is_moved_aside(folder: MessageFolder, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "messages" / "00000000000000000001_0_0_x.q.msg"
    if kind == "folder":
        path.mkdir()
        (path / "file").touch()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "large":
        with path.open("wb") as stream:
            stream.truncate(MAX_SIZE + 1)
    else:
        (tmp_path / "messages" / ("notes.txt" if kind == "foreign name" else "x" * 250)).touch()
    folder.add("q", "good", "text")

    while (name := take(folder)).id != "good":
        with pytest.raises((OSError, ValueError)):
            folder.read(name)
        folder.reject(name, "a test")

    assert folder.take("q") is None
    assert len(dead_letters(tmp_path)) == 1
    assert folder.read(name) == b"text"
    folder.close()


@pytest.mark.parametrize("part", ["messages", "taken", "dead-letter", "wake-up", ""])
def test_every_part_may_be_deleted_or_replaced(folder: MessageFolder, tmp_path: Path, part: str) -> None:
    folder.add("q", "a", "text")
    first = take(folder)
    pipe = folder.open_wake_up()
    subprocess.run(["rm", "-rf", str(tmp_path / part)], check=True)
    if part:
        (tmp_path / part).write_text("a file")

    folder.maintain()
    other = folder.open_wake_up(pipe)
    folder.add("q", "b", "text")

    assert os.read(other, 10) == b"1"
    folder.remove(first)
    assert take(folder).id == "b"
    for opened in {pipe, other}:
        os.close(opened)
    folder.close()


def test_a_wake_up_without_a_reader_or_into_a_full_pipe_costs_nothing(folder: MessageFolder, tmp_path: Path) -> None:
    folder.wake()
    pipe = folder.open_wake_up()
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, b"1" * 4096):
            pass

    folder.wake()

    assert stat.S_IMODE((tmp_path / "wake-up").stat().st_mode) == 0o600
    os.close(pipe)


def test_files_and_folders_are_private(folder: MessageFolder, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder.add("q", "a", "text")
        take(folder)
    finally:
        os.umask(before)

    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in tmp_path.rglob("*")}
    assert {path for path, mode in modes.items() if mode & 0o077} == set()
    folder.close()


def test_an_id_that_is_no_file_name_is_replaced(folder: MessageFolder) -> None:
    folder.add("q", "../../x", "text")

    assert "/" not in take(folder).id
    folder.close()


def test_one_consumer_whose_messages_cannot_be_returned_does_not_keep_those_of_others(
    folder: MessageFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        (tmp_path / "taken" / f"broken-{number}" / ".lock").mkdir(parents=True)
        (tmp_path / "taken" / f"dead-{number}").mkdir()
        (tmp_path / "taken" / f"dead-{number}" / f"{number:020d}_0_0_x.q.msg").touch()

    folder.maintain()

    assert folder.count("q") == 20
    assert "Is a directory" in caplog.text


def test_a_message_that_is_finished_during_maintenance_is_no_error(
    folder: MessageFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vanished = [".unfinished.a", ".unfinished.b"]
    stale = tmp_path / "messages" / ".unfinished.stale"
    stale.touch()
    os.utime(stale, (0, 0))
    monkeypatch.setattr(message_folder, "_list", lambda path: [*vanished, stale.name] if path == stale.parent else [])

    folder.maintain()

    assert not stale.exists()
    assert caplog.text == ""

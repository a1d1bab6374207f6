"""Files are replaced in one step or not at all; disk errors become one clear message."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from stargaze.errors import ExternalError, MissingInputError
from stargaze.system.files import (
    DISK_FULL,
    NOT_PERMITTED,
    UNUSABLE_PATH,
    atomic_write,
    convert_disk_errors,
    read_json,
    scratch_folder,
    sha256,
    write_json,
)

SmallDisk = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """Return a file with previous content."""
    path = tmp_path / "artifact.txt"
    path.write_text("old")
    return path


def inside(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def fail(path: Path, error: BaseException) -> None:
    """Write half of the new content, then fail."""
    with atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise error


def fail_in_scratch(parent: Path) -> None:
    """Write half of a folder, then fail."""
    with scratch_folder(parent) as folder:
        (folder / "x").write_text("half")
        raise ZeroDivisionError


# ---- atomic_write ----------------------------------------------------------------------------------------------------


def test_a_successful_block_replaces_the_file(old_file: Path) -> None:
    with atomic_write(old_file) as temporary:
        temporary.write_text("new")
        assert old_file.read_text() == "old"

    assert old_file.read_text() == "new"
    assert inside(old_file.parent) == ["artifact.txt"]


def test_parent_folders_are_created(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "c.json", 1)

    assert json.loads((tmp_path / "a" / "b" / "c.json").read_text()) == 1


def test_a_written_file_is_readable_by_other_users(old_file: Path) -> None:
    """A temporary file is private, but the processes of the page may run as another user."""
    with atomic_write(old_file):
        pass

    assert old_file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit(), OSError(None, "of a library")])
def test_a_failed_block_leaves_only_the_previous_file(old_file: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fail(old_file, error)

    assert old_file.read_text() == "old"
    assert inside(old_file.parent) == ["artifact.txt"]


def test_a_full_disk_is_one_clear_line_and_the_previous_file_stays(old_file: Path, small_disk: SmallDisk) -> None:
    with pytest.raises(ExternalError) as caught, small_disk(1000), atomic_write(old_file) as temporary:
        temporary.write_text("n" * 10_000)

    assert caught.value.message == f"{old_file}: the disk is full; the previous contents are unchanged"
    assert "df -h" in caught.value.hint
    assert old_file.read_text() == "old"
    assert inside(old_file.parent) == ["artifact.txt"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        *[pytest.param(number, "the disk is full", id=errno.errorcode[number]) for number in DISK_FULL],
        *[
            pytest.param(number, "cannot be written", id=errno.errorcode[number])
            for number in (*NOT_PERMITTED, *UNUSABLE_PATH)
        ],
    ],
)
def test_every_disk_error_is_one_clear_line(old_file: Path, number: int, message: str) -> None:
    with pytest.raises(ExternalError) as caught, atomic_write(old_file):
        raise OSError(number, os.strerror(number))

    assert f"{old_file}: {message}" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 5


def test_other_os_errors_are_not_converted(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError), convert_disk_errors(tmp_path):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")


@pytest.mark.parametrize("place", ["artifact.txt/x", "artifact.txt/x/y", "n" * 300 + "/x", "m" * 300])
def test_an_unusable_path_is_one_clear_line(old_file: Path, place: str) -> None:
    """A file in place of a folder, or a name that is too long."""
    with pytest.raises(ExternalError, match="cannot be written"), atomic_write(old_file.parent / place):
        pass

    assert inside(old_file.parent) == ["artifact.txt"]


def test_a_folder_in_place_of_the_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "artifact" / "full").mkdir(parents=True)

    with pytest.raises(ExternalError, match="directory"), atomic_write(tmp_path / "artifact") as temporary:
        temporary.write_text("new")

    assert inside(tmp_path) == ["artifact"]


def test_a_scratch_folder_is_deleted_if_it_was_not_renamed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_in_scratch(tmp_path)

    assert inside(tmp_path) == []


def test_a_renamed_scratch_folder_stays(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "bundles") as folder:
        (folder / "x").write_text("whole")
        folder.rename(tmp_path / "bundles" / "b")

    assert (tmp_path / "bundles" / "b" / "x").read_text() == "whole"
    assert inside(tmp_path / "bundles") == ["b"]


def test_a_scratch_folder_on_a_full_disk_is_one_clear_line(tmp_path: Path, small_disk: SmallDisk) -> None:
    with pytest.raises(ExternalError, match="the disk is full"), small_disk(10), scratch_folder(tmp_path) as folder:
        (folder / "x").write_bytes(b"x" * 100)

    assert inside(tmp_path) == []


# ---- JSON ---------------------------------------------------------------------------------------------------------


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1, "ä": [0.1]})
    write_json(tmp_path / "b", {"ä": [0.1], "x": 1})

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a", "fetch") == {"x": 1, "ä": [0.1]}


def test_a_value_that_is_not_json_leaves_the_previous_file(old_file: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(old_file, float("nan"))

    assert old_file.read_text() == "old"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"PAR1" + bytes(100)])
def test_a_damaged_file_names_the_command_that_creates_it(old_file: Path, content: bytes) -> None:
    old_file.write_bytes(content)

    with pytest.raises(ExternalError, match="cannot be read") as caught:
        read_json(old_file, "screen")

    assert caught.value.hint == "stargaze screen creates it again"


def test_a_missing_file_names_the_command_that_creates_it(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="does not exist yet") as caught:
        read_json(tmp_path / "gone", "screen")

    assert caught.value.hint == "stargaze screen"


def test_a_folder_in_place_of_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="cannot be read"):
        read_json(tmp_path, "screen")


def test_sha256_is_computed_of_the_bytes(old_file: Path) -> None:
    assert sha256(old_file) == hashlib.sha256(b"old").hexdigest()

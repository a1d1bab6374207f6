"""One at a time, and what a killed one left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.store import Store, lock_store
from stargaze.system.files import atomic_write, scratch_folder
from stargaze.system.locks import STALE_AFTER, TEMPORARY_NAME, file_lock


def test_a_second_at_work_in_a_store_is_told_who_is_there(store: Store) -> None:
    with (
        lock_store(store),
        pytest.raises(ExternalError, match=rf"another command .*\(process {os.getpid()}\)") as caught,
    ):
        enter(store)
    assert caught.value.hint == "wait for it, or stargaze status"
    enter(store)


def test_another_store_is_no_hindrance(store: Store, tmp_path: Path) -> None:
    with lock_store(store):
        enter(Store(tmp_path / "other"))


def test_a_lock_says_nobody_once_it_is_free(tmp_path: Path) -> None:
    with file_lock(tmp_path / "a.lock"):
        assert (tmp_path / "a.lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "a.lock").read_text() == ""


@pytest.mark.parametrize(("age", "stays"), [(STALE_AFTER + 60.0, False), (0.0, True)])
def test_what_was_left_half_made_goes_after_a_while(store: Store, age: float, stays: bool) -> None:
    """Not at once: a deploy or the hook may be writing it."""
    left = [*(left_by_replacing(path) for path in nouns(store)), store.root / ".screen-abcdefg1"]
    with scratch_folder(store.bundles) as folder:
        left.append(folder.rename(folder.with_name(".making-abcdefg1")))
    left[-2].mkdir()
    (left[-1] / "model.txt").touch()
    for path in left:
        os.utime(path, (time.time() - age,) * 2)

    enter(store)

    assert [path.exists() for path in left] == [stays] * len(left)


def test_files_of_others_in_the_folder_stay(store: Store) -> None:
    """``store.path`` may be the folder of a project."""
    store.root.mkdir()
    others = [store.root / name for name in (".env.template", ".gitignore", ".making-of", "a.json", ".a.json.abcdefgh")]
    for path in others:
        path.touch()
        os.utime(path, (0, 0))

    enter(store)

    assert all(path.exists() for path in others)


def enter(store: Store) -> None:
    with lock_store(store):
        pass


def nouns(store: Store) -> list[Path]:
    top = [store.repositories, store.features, store.selection, store.selection_plot, store.leaderboard]
    return [*top, store.trials, store.journal, store.latest, store.latest_growth]


def left_by_replacing(path: Path) -> Path:
    """Return a temporary file as one that was killed leaves it."""
    with atomic_write(path) as temporary:
        pass
    path.unlink()
    assert TEMPORARY_NAME.fullmatch(temporary.name)
    temporary.touch()
    return temporary

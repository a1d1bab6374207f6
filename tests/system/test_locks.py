"""Locks of a store, and the temporary files of killed processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.store import Store, lock_store
from stargaze.system.files import atomic_write, scratch_folder
from stargaze.system.locks import STALE_AFTER, TEMPORARY_NAME, file_lock


def test_a_second_command_gets_the_process_id_of_the_lock_holder(store: Store) -> None:
    with (
        lock_store(store),
        pytest.raises(ExternalError, match=rf"another command .*\(process {os.getpid()}\)") as caught,
    ):
        enter(store)
    assert caught.value.hint == "wait for it, or stargaze status"
    enter(store)


def test_locks_of_different_stores_are_independent(store: Store, tmp_path: Path) -> None:
    with lock_store(store):
        enter(Store(tmp_path / "other"))


def test_a_released_lock_contains_no_process_id(tmp_path: Path) -> None:
    with file_lock(tmp_path / "a.lock"):
        assert (tmp_path / "a.lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "a.lock").read_text() == ""


@pytest.mark.parametrize(("age", "stays"), [(STALE_AFTER + 60.0, False), (0.0, True)])
def test_stale_temporary_files_are_deleted(store: Store, age: float, stays: bool) -> None:
    """Recent files stay: a deploy or a hook may be writing them."""
    stale = [*(stale_file(path) for path in artifacts(store)), store.root / ".screen-abcdefg1"]
    with scratch_folder(store.bundles) as folder:
        stale.append(folder.rename(folder.with_name(".partial-abcdefg1")))
    stale[-2].mkdir()
    (stale[-1] / "model.txt").touch()
    for path in stale:
        os.utime(path, (time.time() - age,) * 2)

    enter(store)

    assert [path.exists() for path in stale] == [stays] * len(stale)


def test_files_of_other_programs_stay(store: Store) -> None:
    """``store.path`` may be a project folder with other files."""
    store.root.mkdir()
    others = [
        store.root / name for name in (".env.template", ".gitignore", ".partial-of", "a.json", ".a.json.abcdefgh")
    ]
    for path in others:
        path.touch()
        os.utime(path, (0, 0))

    enter(store)

    assert all(path.exists() for path in others)


def enter(store: Store) -> None:
    with lock_store(store):
        pass


def artifacts(store: Store) -> list[Path]:
    top = [store.repositories, store.features, store.selection, store.selection_plot, store.leaderboard]
    return [*top, store.trials, store.journal, store.latest, store.latest_growth]


def stale_file(path: Path) -> Path:
    """Return a temporary file as a killed process leaves it."""
    with atomic_write(path) as temporary:
        pass
    path.unlink()
    assert TEMPORARY_NAME.fullmatch(temporary.name)
    temporary.touch()
    return temporary

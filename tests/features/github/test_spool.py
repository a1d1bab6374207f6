"""What was answered stays, whole or not at all; a file that cannot be used says so and what to do."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stargaze.errors import OutsideError
from stargaze.features.github import spool
from stargaze.features.github.spool import Kept

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "github.sqlite"


def test_a_page_is_there_after_the_file_was_closed(path: Path) -> None:
    with spool.opened(path) as first:
        gather = first.begin("aim", lambda: NOW, update=False)
        first.keep(gather, {"search 1": Kept(NOW, '"mark"', b'{"items": []}')})
    with spool.opened(path) as again:
        gather = again.begin("aim", lambda: datetime(2027, 1, 1, tzinfo=UTC), update=False)
        assert again.page(gather, "search 1") == Kept(NOW, '"mark"', b'{"items": []}')
        assert gather.began == NOW


def test_an_update_begins_a_generation_only_after_one_that_was_finished(path: Path) -> None:
    with spool.opened(path) as kept:
        first = kept.begin("aim", lambda: NOW, update=False)
        assert kept.begin("aim", lambda: NOW, update=True).generation == first.generation
        kept.finish(first)
        second = kept.begin("aim", lambda: NOW, update=True)
        assert second.generation == first.generation + 1
        assert kept.begin("aim", lambda: NOW, update=True) == second


def test_the_generation_before_is_kept_until_the_next_is_finished(path: Path) -> None:
    with spool.opened(path) as kept:
        first = kept.begin("aim", lambda: NOW, update=False)
        kept.keep(first, {"a": Kept(NOW, "", b"1")})
        kept.finish(first)
        second = kept.begin("aim", lambda: NOW, update=True)
        assert kept.page(second, "a") is None
        assert kept.page_before(second, "a") is not None
        kept.finish(second)
        assert kept.page_before(second, "a") is None


def test_details_of_a_repository_are_found_by_many(path: Path) -> None:
    with spool.opened(path) as kept:
        kept.keep_details("counts", [(number, "s", {"releases": number}) for number in range(2_000)], NOW)
        kept.keep_details("commits", [(7, "s", {"commits": 5})], NOW)
        found = kept.details(["counts", "commits"], list(range(5_000)))
        assert len(found) == 2_000
        assert found[7] == {"releases": 7, "commits": 5}
        assert kept.stamps("commits") == {7: "s"}


@pytest.mark.parametrize(("layout", "words"), [(99, "a newer stargaze"), (-3, "an older stargaze")])
def test_a_file_of_another_layout_is_refused_and_left_alone(path: Path, layout: int, words: str) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {layout}")
        database.execute("CREATE TABLE precious (x)")
    before = path.read_bytes()
    with pytest.raises(OutsideError, match=words) as caught, spool.opened(path):
        pass
    assert "mv" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 100, b"<html>"])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(OutsideError, match="cannot be read"), spool.opened(path):
        pass


def test_a_full_disk_keeps_what_was_stored(
    path: Path, small_disk: Callable[[int], contextlib.AbstractContextManager[None]]
) -> None:
    with spool.opened(path) as kept:
        gather = kept.begin("aim", lambda: NOW, update=False)
        kept.keep(gather, {"a": Kept(NOW, "", b"1")})
        with small_disk(200_000), pytest.raises(OutsideError, match="full"):
            kept.keep(gather, {"b": Kept(NOW, "", os.urandom(1_000_000))})
        assert kept.page(gather, "a") is not None
        assert kept.page(gather, "b") is None
    with spool.opened(path) as again:
        assert again.asks(again.begin("aim", lambda: NOW, update=False)) == ["a"]


def test_a_folder_in_its_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(OutsideError, match=r"github\.sqlite"), spool.opened(path):
        pass

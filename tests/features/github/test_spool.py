"""What was answered stays, whole or not at all; a file that cannot be used says so and what to do."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stargaze.errors import OutsideError
from stargaze.features.github import spool
from stargaze.features.github.spool import Kept

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER = "https://github.example"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "github.sqlite"


def test_a_page_is_there_after_the_file_was_closed(path: Path) -> None:
    with spool.opened(path, SERVER) as first:
        gather = first.begin("aim", lambda: NOW, update=False)
        first.keep(gather, {"search 1": Kept(NOW, '"mark"', b'{"items": []}')})
    with spool.opened(path, SERVER) as again:
        gather = again.begin("aim", lambda: datetime(2027, 1, 1, tzinfo=UTC), update=False)
        assert again.page(gather, "search 1") == Kept(NOW, '"mark"', b'{"items": []}')
        assert gather.began == NOW


def test_an_update_begins_a_generation_only_after_one_that_was_finished(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        first = kept.begin("aim", lambda: NOW, update=False)
        assert kept.begin("aim", lambda: NOW, update=True).generation == first.generation
        kept.finish(first)
        second = kept.begin("aim", lambda: NOW, update=True)
        assert second.generation == first.generation + 1
        assert kept.begin("aim", lambda: NOW, update=True) == second


def test_the_generation_before_is_kept_until_the_next_is_finished(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        first = kept.begin("aim", lambda: NOW, update=False)
        kept.keep(first, {"a": Kept(NOW, "", b"1")})
        kept.finish(first)
        second = kept.begin("aim", lambda: NOW, update=True)
        assert kept.page(second, "a") is None
        assert kept.page_before(second, "a") is not None
        kept.finish(second)
        assert kept.page_before(second, "a") is None


def test_details_of_a_repository_are_found_by_many(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        kept.keep_details("counts", [(number, "s", {"releases": number}) for number in range(2_000)], NOW)
        kept.keep_details("commits", [(7, "s", {"commits": 5})], NOW)
        found = kept.details(["counts", "commits"], dict.fromkeys(range(5_000), "s"))
        assert len(found) == 2_000
        assert found[7] == {"releases": 7, "commits": 5}
        assert kept.stamps("commits") == {7: "s"}


def test_details_hold_for_the_state_in_which_they_were_learned_and_no_other(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        kept.keep_details("counts", [(1, "before", {"releases": 3})], NOW)
        assert kept.details(["counts"], {1: "after"}) == {}
        assert kept.stamps("counts", NOW + timedelta(seconds=1)) == {}


def test_a_later_kind_stands_over_an_earlier_one(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        kept.keep_details("b", [(1, "s", {"x": "b"})], NOW)
        kept.keep_details("a", [(1, "s", {"x": "a"})], NOW)
        assert kept.details(["b", "a"], {1: "s"}) == {1: {"x": "a"}}
        assert kept.details(["a", "b"], {1: "s"}) == {1: {"x": "b"}}


def test_another_server_has_other_repositories_under_the_same_numbers(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        kept.keep_details("counts", [(1, "s", {"releases": 3})], NOW)
    with spool.opened(path, "https://other.example/api/v3") as other:
        assert other.stamps("counts") == {}
        assert other.details(["counts"], {1: "s"}) == {}


def test_an_update_begins_anew_what_was_left_unfinished_long_ago(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        first = kept.begin("aim", lambda: NOW, update=False)
        kept.keep(first, {"a": Kept(NOW, "", b"1")})
        second = kept.begin("aim", lambda: NOW + timedelta(days=8), update=True)
        assert second.generation == first.generation + 1
        assert kept.page_before(second, "a") is not None


def test_what_is_foreseen_begins_nothing_and_serves_a_gather_that_follows_soon(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        foreseen = kept.foresee("aim", lambda: NOW, update=False)
        kept.keep(foreseen, {"a": Kept(NOW, "", b"1")})
        later = NOW + timedelta(minutes=59)
        gather = kept.begin("aim", lambda: later, update=False)
        assert gather.began == later
        assert kept.asks(gather) == ["a"]


def test_what_was_foreseen_long_ago_is_asked_again(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        kept.keep(kept.foresee("aim", lambda: NOW, update=False), {"a": Kept(NOW, "", b"1")})
        assert kept.asks(kept.begin("aim", lambda: NOW + timedelta(hours=2), update=False)) == []


def test_a_gather_that_is_forgotten_begins_anew(path: Path) -> None:
    with spool.opened(path, SERVER) as kept:
        gather = kept.begin("aim", lambda: NOW, update=False)
        kept.keep(gather, {"a": Kept(NOW, "", b"1")})
        kept.forget(gather)
        again = kept.begin("aim", lambda: NOW + timedelta(minutes=1), update=False)
        assert again.began > gather.began
        assert kept.asks(again) == []


@pytest.mark.parametrize(
    ("layout", "words"), [(99, "a newer stargaze"), (1, "an older stargaze"), (0, "of something else")]
)
def test_a_file_of_another_layout_is_refused_and_left_alone(path: Path, layout: int, words: str) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {layout}")
        database.execute("CREATE TABLE precious (x)")
    before = path.read_bytes()
    with pytest.raises(OutsideError, match=words) as caught, spool.opened(path, SERVER):
        pass
    assert "mv" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 100, b"<html>"])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(OutsideError, match="cannot be read"), spool.opened(path, SERVER):
        pass


def test_a_full_disk_keeps_what_was_stored(
    path: Path, small_disk: Callable[[int], contextlib.AbstractContextManager[None]]
) -> None:
    with spool.opened(path, SERVER) as kept:
        gather = kept.begin("aim", lambda: NOW, update=False)
        kept.keep(gather, {"a": Kept(NOW, "", b"1")})
        with small_disk(200_000), pytest.raises(OutsideError, match="full"):
            kept.keep(gather, {"b": Kept(NOW, "", os.urandom(1_000_000))})
        assert kept.page(gather, "a") is not None
        assert kept.page(gather, "b") is None
    with spool.opened(path, SERVER) as again:
        assert again.asks(again.begin("aim", lambda: NOW, update=False)) == ["a"]


def test_a_folder_in_its_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(OutsideError, match=r"github\.sqlite"), spool.opened(path, SERVER):
        pass

"""What was answered stays, whole or not at all; a file that cannot be used says so and what to do."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.features.github.api import response_cache
from stargaze.features.github.api.response_cache import CachedResponse

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER = "https://github.example"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "github.sqlite"


def test_a_page_is_there_after_the_file_was_closed(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as first:
        run = first.start_run("aim", lambda: NOW, update=False)
        first.store_pages(run, {"search 1": CachedResponse(NOW, '"mark"', b'{"items": []}')})
    with response_cache.open_response_cache(path, SERVER) as again:
        run = again.start_run("aim", lambda: datetime(2027, 1, 1, tzinfo=UTC), update=False)
        assert again.get_page(run, "search 1") == CachedResponse(NOW, '"mark"', b'{"items": []}')
        assert run.began == NOW


def test_an_update_begins_a_generation_only_after_one_that_was_finished(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        first = kept.start_run("aim", lambda: NOW, update=False)
        assert kept.start_run("aim", lambda: NOW, update=True).generation == first.generation
        kept.finish_run(first)
        second = kept.start_run("aim", lambda: NOW, update=True)
        assert second.generation == first.generation + 1
        assert kept.start_run("aim", lambda: NOW, update=True) == second


def test_the_generation_before_is_kept_until_the_next_is_finished(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        first = kept.start_run("aim", lambda: NOW, update=False)
        kept.store_pages(first, {"search a": CachedResponse(NOW, "", b"1")})
        kept.finish_run(first)
        second = kept.start_run("aim", lambda: NOW, update=True)
        assert kept.get_page(second, "search a") is None
        assert kept.get_previous(second, "search a") is not None
        kept.finish_run(second)
        assert kept.get_previous(second, "search a") is None


def test_details_of_a_repository_are_found_by_many(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        kept.store_details("counts", [(number, "s", {"releases": number}) for number in range(2_000)], NOW)
        kept.store_details("commits", [(7, "s", {"commits": 5})], NOW)
        found = kept.get_details(["counts", "commits"], dict.fromkeys(range(5_000), "s"))
        assert len(found) == 2_000
        assert found[7] == {"releases": 7, "commits": 5}
        assert kept.get_stamps("commits") == {7: "s"}


def test_details_hold_for_the_state_in_which_they_were_learned_and_no_other(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        kept.store_details("counts", [(1, "before", {"releases": 3})], NOW)
        assert kept.get_details(["counts"], {1: "after"}) == {}
        assert kept.get_stamps("counts", NOW + timedelta(seconds=1)) == {}


def test_a_later_kind_stands_over_an_earlier_one(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        kept.store_details("b", [(1, "s", {"x": "b"})], NOW)
        kept.store_details("a", [(1, "s", {"x": "a"})], NOW)
        assert kept.get_details(["b", "a"], {1: "s"}) == {1: {"x": "a"}}
        assert kept.get_details(["a", "b"], {1: "s"}) == {1: {"x": "b"}}


def test_another_server_has_other_repositories_under_the_same_numbers(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        kept.store_details("counts", [(1, "s", {"releases": 3})], NOW)
    with response_cache.open_response_cache(path, "https://other.example/api/v3") as other:
        assert other.get_stamps("counts") == {}
        assert other.get_details(["counts"], {1: "s"}) == {}


def test_an_update_begins_anew_what_was_left_unfinished_long_ago(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        first = kept.start_run("aim", lambda: NOW, update=False)
        kept.store_pages(first, {"search a": CachedResponse(NOW, "", b"1")})
        second = kept.start_run("aim", lambda: NOW + timedelta(days=8), update=True)
        assert second.generation == first.generation + 1
        assert kept.get_previous(second, "search a") is not None


def test_what_is_foreseen_begins_nothing_and_serves_a_gather_that_follows_soon(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        foreseen = kept.plan_run("aim", lambda: NOW, update=False)
        kept.store_pages(foreseen, {"search a": CachedResponse(NOW, "", b"1")})
        later = NOW + timedelta(minutes=59)
        run = kept.start_run("aim", lambda: later, update=False)
        assert run.began == later
        assert kept.count_search_pages(run) == 1


def test_what_was_foreseen_long_ago_is_asked_again(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        kept.store_pages(kept.plan_run("aim", lambda: NOW, update=False), {"search a": CachedResponse(NOW, "", b"1")})
        assert kept.count_search_pages(kept.start_run("aim", lambda: NOW + timedelta(hours=2), update=False)) == 0


def test_a_gather_that_is_forgotten_begins_anew(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        run = kept.start_run("aim", lambda: NOW, update=False)
        kept.store_pages(run, {"search a": CachedResponse(NOW, "", b"1")})
        kept.delete_run(run, [])
        again = kept.start_run("aim", lambda: NOW + timedelta(minutes=1), update=False)
        assert again.began > run.began
        assert kept.count_search_pages(again) == 0


@pytest.mark.parametrize(
    ("layout", "words"), [(99, "a newer stargaze"), (1, "an older stargaze"), (0, "of another program")]
)
def test_a_file_of_another_layout_is_refused_and_left_alone(path: Path, layout: int, words: str) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {layout}")
        database.execute("CREATE TABLE precious (x)")
    before = path.read_bytes()
    with pytest.raises(ExternalError, match=words) as caught, response_cache.open_response_cache(path, SERVER):
        pass
    assert "mv" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 100, b"<html>"])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ExternalError, match="cannot be read"), response_cache.open_response_cache(path, SERVER):
        pass


def test_a_full_disk_keeps_what_was_stored(
    path: Path, small_disk: Callable[[int], contextlib.AbstractContextManager[None]]
) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        run = kept.start_run("aim", lambda: NOW, update=False)
        kept.store_pages(run, {"search a": CachedResponse(NOW, "", b"1")})
        with small_disk(200_000), pytest.raises(ExternalError, match="full"):
            kept.store_pages(run, {"search b": CachedResponse(NOW, "", os.urandom(1_000_000))})
        assert kept.get_page(run, "search a") is not None
        assert kept.get_page(run, "search b") is None
    with response_cache.open_response_cache(path, SERVER) as again:
        assert again.count_search_pages(again.start_run("aim", lambda: NOW, update=False)) == 1


def test_a_folder_in_its_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ExternalError, match=r"github\.sqlite"), response_cache.open_response_cache(path, SERVER):
        pass


def test_an_update_that_finds_nothing_leaves_what_was_found_before(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        first = kept.start_run("aim", lambda: NOW, update=False)
        kept.store_pages(first, {"search a": CachedResponse(NOW, "", b"1")})
        kept.finish_run(first)
        kept.delete_run(kept.start_run("aim", lambda: NOW + timedelta(days=2), update=True), [])
        assert kept.start_run("aim", lambda: NOW, update=False) == replace(first, done=True)
        assert kept.get_page(first, "search a") is not None


def test_an_answer_about_a_repository_serves_every_gather_of_its_day(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        kept.store_pages(kept.start_run("one", lambda: NOW, update=False), {"repo a/b": CachedResponse(NOW, "x", b"1")})
        other = kept.start_run("other", lambda: NOW + timedelta(hours=20), update=False)
        assert kept.get_page(other, "repo a/b") is not None
        late = kept.start_run("late", lambda: NOW + timedelta(hours=30), update=False)
        assert kept.get_page(late, "repo a/b") is None
        assert kept.get_previous(late, "repo a/b") == CachedResponse(NOW, "x", b"1")
        assert kept.count_shared_pages(other, "repo ") == 1
        assert kept.count_shared_pages(late, "repo ") == 0


def test_an_update_asks_anew_what_another_gather_has_asked_before_it(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        kept.finish_run(kept.start_run("one", lambda: NOW, update=False))
        kept.store_pages(kept.start_run("two", lambda: NOW, update=False), {"repo a/b": CachedResponse(NOW, "x", b"1")})
        later = NOW + timedelta(hours=1)
        update = kept.start_run("one", lambda: later, update=True)
        assert kept.get_page(update, "repo a/b") is None
        kept.store_pages(update, {"repo a/b": CachedResponse(later, "x", b"2")})
        assert kept.get_page(kept.start_run("one", lambda: later, update=True), "repo a/b") is not None


def test_what_is_foreseen_of_an_update_is_the_update(path: Path) -> None:
    with response_cache.open_response_cache(path, SERVER) as kept:
        kept.start_run("aim", lambda: NOW, update=False)
        for days in (1, 8):
            later = NOW + timedelta(days=days)
            foreseen = kept.plan_run("aim", lambda later=later: later, update=True)
            assert foreseen == kept.start_run("aim", lambda later=later: later, update=True)
            assert foreseen.generation == (1 if days == 1 else 2)

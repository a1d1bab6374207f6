"""Responses are stored completely or not at all; an unusable file raises an error with a hint."""

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
from stargaze.features.github.api.response_cache import CachedResponse, open_response_cache

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER = "https://github.example"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "github.sqlite"


def test_a_page_persists_after_the_file_is_closed(path: Path) -> None:
    with open_response_cache(path, SERVER) as first:
        run = first.start_run("digest", lambda: NOW, update=False)
        first.store_pages(run, {"search 1": CachedResponse(NOW, '"mark"', b'{"items": []}')})
    with open_response_cache(path, SERVER) as again:
        run = again.start_run("digest", lambda: datetime(2027, 1, 1, tzinfo=UTC), update=False)
        assert again.get_page(run, "search 1") == CachedResponse(NOW, '"mark"', b'{"items": []}')
        assert run.began == NOW


def test_an_update_starts_a_new_generation_only_after_a_finished_one(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        first = cache.start_run("digest", lambda: NOW, update=False)
        assert cache.start_run("digest", lambda: NOW, update=True).generation == first.generation
        cache.finish_run(first)
        second = cache.start_run("digest", lambda: NOW, update=True)
        assert second.generation == first.generation + 1
        assert cache.start_run("digest", lambda: NOW, update=True) == second


def test_the_previous_generation_is_deleted_when_the_next_is_finished(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        first = cache.start_run("digest", lambda: NOW, update=False)
        cache.store_pages(first, {"search a": CachedResponse(NOW, "", b"1")})
        cache.finish_run(first)
        second = cache.start_run("digest", lambda: NOW, update=True)
        assert cache.get_page(second, "search a") is None
        assert cache.get_previous(second, "search a") is not None
        cache.finish_run(second)
        assert cache.get_previous(second, "search a") is None


def test_details_of_thousands_of_repositories_are_returned(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        cache.store_details("counts", [(number, "s", {"releases": number}) for number in range(2_000)], NOW)
        cache.store_details("commits", [(7, "s", {"commits": 5})], NOW)
        details = cache.get_details(["counts", "commits"], dict.fromkeys(range(5_000), "s"))
        assert len(details) == 2_000
        assert details[7] == {"releases": 7, "commits": 5}
        assert cache.get_stamps("commits") == {7: "s"}


def test_details_are_valid_for_the_stored_state_only(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        cache.store_details("counts", [(1, "before", {"releases": 3})], NOW)
        assert cache.get_details(["counts"], {1: "after"}) == {}
        assert cache.get_stamps("counts", NOW + timedelta(seconds=1)) == {}


def test_later_kinds_take_precedence(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        cache.store_details("b", [(1, "s", {"x": "b"})], NOW)
        cache.store_details("a", [(1, "s", {"x": "a"})], NOW)
        assert cache.get_details(["b", "a"], {1: "s"}) == {1: {"x": "a"}}
        assert cache.get_details(["a", "b"], {1: "s"}) == {1: {"x": "b"}}


def test_details_of_another_server_are_separate(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        cache.store_details("counts", [(1, "s", {"releases": 3})], NOW)
    with open_response_cache(path, "https://other.example/api/v3") as other:
        assert other.get_stamps("counts") == {}
        assert other.get_details(["counts"], {1: "s"}) == {}


def test_an_update_restarts_an_old_unfinished_run(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        first = cache.start_run("digest", lambda: NOW, update=False)
        cache.store_pages(first, {"search a": CachedResponse(NOW, "", b"1")})
        second = cache.start_run("digest", lambda: NOW + timedelta(days=8), update=True)
        assert second.generation == first.generation + 1
        assert cache.get_previous(second, "search a") is not None


def test_pages_of_a_plan_are_used_by_a_run_that_follows_soon(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        planned = cache.plan_run("digest", lambda: NOW, update=False)
        cache.store_pages(planned, {"search a": CachedResponse(NOW, "", b"1")})
        later = NOW + timedelta(minutes=59)
        run = cache.start_run("digest", lambda: later, update=False)
        assert run.began == later
        assert cache.count_search_pages(run) == 1


def test_pages_of_an_old_plan_are_not_used(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        cache.store_pages(
            cache.plan_run("digest", lambda: NOW, update=False), {"search a": CachedResponse(NOW, "", b"1")}
        )
        assert cache.count_search_pages(cache.start_run("digest", lambda: NOW + timedelta(hours=2), update=False)) == 0


def test_a_deleted_run_starts_anew(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        run = cache.start_run("digest", lambda: NOW, update=False)
        cache.store_pages(run, {"search a": CachedResponse(NOW, "", b"1")})
        cache.delete_run(run, [])
        again = cache.start_run("digest", lambda: NOW + timedelta(minutes=1), update=False)
        assert again.began > run.began
        assert cache.count_search_pages(again) == 0


@pytest.mark.parametrize(
    ("version", "message"), [(99, "a newer stargaze"), (1, "an older stargaze"), (0, "of another program")]
)
def test_a_file_of_another_version_is_rejected_and_unchanged(path: Path, version: int, message: str) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {version}")
        database.execute("CREATE TABLE other (x)")
    before = path.read_bytes()
    with pytest.raises(ExternalError, match=message) as caught, open_response_cache(path, SERVER):
        pass
    assert "mv" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 100, b"<html>"])
def test_a_file_that_is_not_a_database_is_moved_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with open_response_cache(path, SERVER) as cache:
        cache.start_run("digest", lambda: NOW, update=False)
    (kept,) = path.parent.glob("github.sqlite.damaged-*")
    assert kept.read_bytes() == content


def test_damage_that_is_noticed_during_a_crawl_is_one_error_and_the_next_one_starts(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        run = cache.start_run("digest", lambda: NOW, update=False)
        cache.store_pages(run, {f"search {n}": CachedResponse(NOW, "", os.urandom(3000)) for n in range(100)})
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))

    with pytest.raises(ExternalError, match="was damaged"), open_response_cache(path, SERVER) as cache:
        cache.store_pages(run, {f"search {n}": CachedResponse(NOW, "", b"2") for n in range(200)})
    with open_response_cache(path, SERVER) as cache:
        cache.start_run("digest", lambda: NOW, update=False)


def test_stored_pages_survive_a_full_disk(
    path: Path, small_disk: Callable[[int], contextlib.AbstractContextManager[None]]
) -> None:
    with open_response_cache(path, SERVER) as cache:
        run = cache.start_run("digest", lambda: NOW, update=False)
        cache.store_pages(run, {"search a": CachedResponse(NOW, "", b"1")})
        with small_disk(200_000), pytest.raises(ExternalError, match="full"):
            cache.store_pages(run, {"search b": CachedResponse(NOW, "", os.urandom(1_000_000))})
        assert cache.get_page(run, "search a") is not None
        assert cache.get_page(run, "search b") is None
    with open_response_cache(path, SERVER) as again:
        assert again.count_search_pages(again.start_run("digest", lambda: NOW, update=False)) == 1


def test_a_folder_instead_of_the_file_is_moved_aside(path: Path) -> None:
    path.mkdir(parents=True)
    with open_response_cache(path, SERVER):
        assert path.is_file()


def test_an_update_without_results_keeps_the_previous_generation(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        first = cache.start_run("digest", lambda: NOW, update=False)
        cache.store_pages(first, {"search a": CachedResponse(NOW, "", b"1")})
        cache.finish_run(first)
        cache.delete_run(cache.start_run("digest", lambda: NOW + timedelta(days=2), update=True), [])
        assert cache.start_run("digest", lambda: NOW, update=False) == replace(first, done=True)
        assert cache.get_page(first, "search a") is not None


def test_a_page_of_a_repository_is_shared_by_all_runs_for_a_day(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        cache.store_pages(
            cache.start_run("one", lambda: NOW, update=False), {"repo a/b": CachedResponse(NOW, "x", b"1")}
        )
        other = cache.start_run("other", lambda: NOW + timedelta(hours=20), update=False)
        assert cache.get_page(other, "repo a/b") is not None
        late = cache.start_run("late", lambda: NOW + timedelta(hours=30), update=False)
        assert cache.get_page(late, "repo a/b") is None
        assert cache.get_previous(late, "repo a/b") == CachedResponse(NOW, "x", b"1")
        assert cache.count_shared_pages(other, "repo ") == 1
        assert cache.count_shared_pages(late, "repo ") == 0


def test_an_update_ignores_earlier_shared_pages(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        cache.finish_run(cache.start_run("one", lambda: NOW, update=False))
        cache.store_pages(
            cache.start_run("two", lambda: NOW, update=False), {"repo a/b": CachedResponse(NOW, "x", b"1")}
        )
        later = NOW + timedelta(hours=1)
        update = cache.start_run("one", lambda: later, update=True)
        assert cache.get_page(update, "repo a/b") is None
        cache.store_pages(update, {"repo a/b": CachedResponse(later, "x", b"2")})
        assert cache.get_page(cache.start_run("one", lambda: later, update=True), "repo a/b") is not None


def test_the_plan_of_an_update_equals_the_update(path: Path) -> None:
    with open_response_cache(path, SERVER) as cache:
        cache.start_run("digest", lambda: NOW, update=False)
        for days in (1, 8):
            later = NOW + timedelta(days=days)
            planned = cache.plan_run("digest", lambda later=later: later, update=True)
            assert planned == cache.start_run("digest", lambda later=later: later, update=True)
            assert planned.generation == (1 if days == 1 else 2)

"""``stargaze report`` as it is typed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stargaze.pipeline.status import list_artifacts
from stargaze.report.write import bundle_of
from stargaze.store import Store
from tests.conftest import Ended

pytestmark = pytest.mark.thorough

Run = Callable[..., Ended]


@pytest.fixture
def here(run: Run, finished: Store) -> Store:
    """The finished store below the empty folder."""
    return Store(shutil.copytree(finished.root, Path("store")))


def test_it_writes_the_page_into_the_store(run: Run, here: Store) -> None:
    ended = run("report")

    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{here.report}: bundle {bundle_of(here.report)[:12]}")
    assert here.report.read_text().startswith("<!doctype html>")


def test_it_writes_elsewhere_and_prints_the_numbers_as_json(run: Run, here: Store) -> None:
    ended = run("report", "--output", "deep/page.html", "--json")

    told = json.loads(ended.out, parse_constant=pytest.fail)
    assert Path("deep/page.html").exists()
    assert not here.report.exists()
    assert told["headline"]["bundle"] == bundle_of(Path("deep/page.html"))
    assert {row["policy"] for row in told["policies"]} >= {"static", "activity", "all"}
    assert len(told["trials"]) == 4


def test_without_a_bundle_it_says_what_to_type(run: Run, here: Store) -> None:
    here.latest.unlink()

    ended = run("report")

    assert ended.code == 3
    assert "does not exist yet" in ended.error
    assert ended.hint == "stargaze tune"


def test_the_state_says_of_which_bundle_the_page_is(here: Store, page: Path) -> None:
    def holds() -> str:
        return next(row["contents"] for row in list_artifacts(here) if row["artifact"] == "report")

    shutil.copy(page, here.report)
    fresh = holds()
    here.report.write_text(page.read_text().replace(bundle_of(page), "0" * 64))

    assert fresh == f"of bundle {here.latest.read_text()[:12]}"
    assert holds() == "of bundle 000000000000 (not the newest: stargaze report)"

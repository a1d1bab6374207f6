"""A database of the page that is deleted or damaged while visitors send requests: the page goes on with a new one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.live_page import LivePage, Visitors
from tests.faults.outcomes import record
from tests.faults.test_page import LIMIT, ROUNDS, WARM_UP
from tests.system.test_sqlite import FAULTS


@pytest.mark.faults
def test_results_that_are_deleted_or_damaged(serve_page: Callable[..., LivePage], tmp_path: Path) -> None:
    page = serve_page(tmp_path / "page")
    path = page.store.results
    for fault in FAULTS if ROUNDS > 1 else ("deleted", "other content"):
        with Visitors(page, threads=4) as load:
            time.sleep(WARM_UP)
            FAULTS[fault](path)
            seconds = page.seconds_until_answered([])
            load.accepted.clear()  # answers of the deleted file must be requested again
            time.sleep(WARM_UP)
        lost = load.count_lost()
        record(f"results: {fault}", recovered=seconds <= LIMIT, lost=lost, seconds=seconds)
        assert lost == 0, fault
        assert seconds <= LIMIT, fault
        assert page.is_ready(), fault


@pytest.mark.faults
def test_serving_starts_with_a_damaged_database_and_says_so(
    serve_page: Callable[..., LivePage], tmp_path: Path
) -> None:
    page = serve_page(tmp_path / "page")
    page.stop()
    (tmp_path / "page" / "store" / "results.sqlite").write_bytes(b"not a database " * 1000)

    page.start()

    assert page.seconds_until_answered([]) <= LIMIT
    assert "results.sqlite was damaged: it is now results.sqlite.damaged-" in (tmp_path / "page.log").read_text()

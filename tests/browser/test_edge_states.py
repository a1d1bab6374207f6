"""States that need a fake queue: a pending job, a history, a warning, a script in a text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from werkzeug.serving import make_server

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.serve.prediction_request import JobState, PredictionJob, PredictionRequest
from stargaze.serve.web.app import make_web
from stargaze.store import Store
from tests.browser.conftest import DARK, PHONE, TIMEOUT, WITHOUT_JAVASCRIPT, Visit, take_screenshot
from tests.serve.fake_queue import FakePredictionQueue

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAME = "pallets/flask"
SCRIPT = "<script>document.title = 'taken over'</script>"
FACTORS = [
    ("contributors", "412", 4.2),
    ("description; as text", SCRIPT, 1.6),
    ("open issues", "unknown", 0.7),
    ("age", "2,300 days", 1.3),
]
CONTROLS = [
    ("readme_length", "number", 3_100.0),
    ("topic_count", "number", 3.0),
    ("license", "choice", "mit"),
    ("latest_release_at", "date", "2025-12-01"),
]


def full_prediction() -> dict[str, Any]:
    """A prediction with all fields."""
    days = [date(2025, 3, 1) + timedelta(days=step * 7) for step in range(52)]
    forecast = [
        {
            "days": n,
            "date": (days[-1] + timedelta(days=n)).isoformat(),
            "stars": 900 + n,
            "low": 890.0,
            "high": 900 + 3 * n,
        }
        for n in (30, 90, 180, 365)
    ]
    return {
        "rank": 1, "source": "github", "full_name": NAME, "expected_stars": 430.0, "interval_low": 61.0,
        "interval_high": 2_900.0, "coverage": 0.9, "percentile": 96.2, "actual_stars": 896.0, "ratio": 2.08,
        "inside_interval": True, "decade_coverage": {"decade": "100–999", "n": 812, "coverage": 0.91},
        "enough_data": True, "missing_fields": [], "fetched_at": "2026-02-21", "in_training_data": False,
        "policy": "all", "notes": ["was renamed from mitsuhiko/flask", f"is a fork of {SCRIPT}"],
        "explanation": {
            "method": "exact", "baseline_stars": 6.2, "other_factors": 8.1,
            "factors": [{"feature": "x", "label": a, "value": b, "factor": c} for a, b, c in FACTORS],
        },
        "without_popularity": None,
        "similar": [{"full_name": "pallets/click", "actual_stars": 410, "similarity": 0.81}],
        "out_of_range": [{"label": "contributors", "value": "412", "low": "0", "high": "360"}],
        "controls": [
            {"field": name, "label": name, "kind": kind, "unit": "", "value": value, "options": None}
            for name, kind, value in CONTROLS
        ],
        "what_if": None,
        "history": {
            "source": "store", "as_of": days[-1].isoformat(), "dates": [day.isoformat() for day in days],
            "stars": [round(8 + step**1.72) for step in range(52)],
        },
        "forecast": forecast, "milestone": None, "history_note": "",
    }  # fmt: skip


@pytest.fixture(scope="module")
def queue(bundle_folder: Path) -> FakePredictionQueue:
    return FakePredictionQueue(Bundle.load(bundle_folder))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path, queue: FakePredictionQueue) -> Iterator[str]:
    store = Store(tmp_path_factory.mktemp("edge_states"))
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    web = make_web(ServeSection(rate_limit=0), store, queue, lambda: NOW)
    server = make_server("127.0.0.1", 0, web, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def set_job(queue: FakePredictionQueue, state: JobState, **changed: Any) -> PredictionJob:
    """Put a job of this state into the queue."""
    job = replace(queue.submit(PredictionRequest((NAME,))), state=state, **changed)
    queue.jobs[job.id] = job
    return job


def finish_job(queue: FakePredictionQueue) -> PredictionJob:
    answer = {"digest": queue.bundle.digest, "answered_at": NOW.isoformat(), "predictions": [full_prediction()]}
    return set_job(queue, "done", answer=answer)


@pytest.mark.parametrize("options", [{}, {**PHONE, **DARK}], ids=["desktop", "dark phone"])
def test_a_result_with_all_fields_is_accessible(
    visit: Visit, queue: FakePredictionQueue, options: dict[str, Any]
) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}", options)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true })")
    take_screenshot(page, "full-phone-dark" if options else "full")

    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert page.get_by_text("Outside the training data").is_visible()
    assert page.get_by_text("was renamed from mitsuhiko/flask").is_visible()


def test_a_script_in_a_description_is_text(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}", {})

    assert page.title() == f"{NAME} · stargaze"
    assert page.get_by_text(SCRIPT).count() >= 2
    assert page.locator("script:not([src])").count() == 0


def test_the_scale_of_the_chart_is_switched_without_javascript(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}", WITHOUT_JAVASCRIPT)
    linear, logarithmic = page.locator("svg.plot.linear"), page.locator("svg.plot.logarithmic")
    assert (linear.is_visible(), logarithmic.is_visible()) == (True, False)

    page.get_by_label("logarithmic", exact=True).check()

    assert (linear.is_visible(), logarithmic.is_visible()) == (False, True)


@pytest.mark.parametrize("options", [{}, WITHOUT_JAVASCRIPT, {**PHONE, **DARK}], ids=["scripts", "plain", "dark phone"])
def test_a_pending_page_shows_the_state_of_the_job(
    visit: Visit, queue: FakePredictionQueue, options: dict[str, Any]
) -> None:
    job = set_job(queue, "queued", answer=None)
    page = visit(f"/repositories/{NAME}", options)
    status = page.locator("[data-status]")
    expect(status).to_have_text("In queue…")
    if "java_script_enabled" not in options:
        assert Axe().run(page).response["violations"] == []
        take_screenshot(page, "queued-phone-dark" if options else "queued")

    set_job(queue, "running", answer=None)
    expect(status).to_have_text("Calculating…", timeout=TIMEOUT)
    finish_job(queue)

    expect(page.locator("#result")).to_have_attribute("data-state", "done", timeout=TIMEOUT)
    assert job.id in queue.jobs
    if "java_script_enabled" not in options:
        assert page.locator("[data-announce]").inner_text().startswith("Done:")
        assert page.evaluate("document.activeElement.tagName") == "H1"


def test_the_printed_page_is_light_and_has_no_navigation(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}", DARK)
    page.emulate_media(media="print")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()

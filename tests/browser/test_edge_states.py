"""States that need a fake queue: a pending job, a history, a warning, a script in a text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
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
from tests.serve.web.views.example_prediction import example_explanation, example_history, example_prediction

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAME = "pallets/flask"
SCRIPT = "<script>document.title = 'taken over'</script>"
TABS = ("Why this estimate", "Without popularity signals")


def full_prediction() -> dict[str, Any]:
    """A prediction with all fields."""
    without = {
        "policy": "activity", "expected_stars": 120.0, "interval_low": 10.0, "interval_high": 900.0,
        "explanation": example_explanation(120.0) | {"method": "sampled"},
    }  # fmt: skip
    return example_prediction(
        explanation=example_explanation(430.0, [("description", SCRIPT, 1.6), ("contributors", "412", 4.2)]),
        without_popularity=without,
        notes=["was renamed from mitsuhiko/flask", f"is a fork of {SCRIPT}"],
        out_of_range=[{"label": "contributors", "value": "412", "low": "0", "high": "360"}],
        **example_history(),
    )


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
    answer = {
        "digest": queue.bundle.digest, "answered_at": NOW.isoformat(), "predictions": [full_prediction()], "errors": [],
    }  # fmt: skip
    return set_job(queue, "done", answer=answer)


@pytest.mark.parametrize(
    "options", [{}, {**PHONE, **DARK}, {"forced_colors": "active"}], ids=["desktop", "dark-phone", "forced-colors"]
)
def test_a_result_with_all_fields_is_accessible(
    visit: Visit, queue: FakePredictionQueue, options: dict[str, Any]
) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}", options)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true })")
    take_screenshot(page, f"full-{'-'.join(options) or 'desktop'}")

    assert Axe().run(page).response["violations"] == []
    page.get_by_role("tab", name=TABS[1]).click()
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert page.get_by_text("Outside the training data").is_visible()
    assert page.get_by_text("was renamed from mitsuhiko/flask").is_visible()


def test_a_forecast_of_millions_of_stars_fits_on_the_smallest_screen(visit: Visit, queue: FakePredictionQueue) -> None:
    """The page of 320 pixels (WCAG 1.4.10) scrolls no table but its own."""
    point = {
        "days": 365,
        "date": "2027-02-21",
        "stars": 1_400_000.0,
        "low": 1_300_000.0,
        "high": 1_500_000.0,
        "coverage": 0.9,
    }
    answer = {
        "digest": queue.bundle.digest, "answered_at": NOW.isoformat(), "errors": [],
        "predictions": [full_prediction() | {"forecast": [point]}],
    }  # fmt: skip
    job = set_job(queue, "done", answer=answer)

    page = visit(f"/predictions/{job.id}", {**PHONE, "viewport": {"width": 320, "height": 640}})

    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert Axe().run(page).response["violations"] == []


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_the_longest_names_fit_in_a_comparison(
    visit: Visit, queue: FakePredictionQueue, options: dict[str, Any]
) -> None:
    answered, failed = (tuple(f"{letter * 39}/{number}{'x' * 99}" for number in range(2)) for letter in "ab")
    answer = {
        "digest": queue.bundle.digest, "answered_at": NOW.isoformat(), "errors": [],
        "predictions": [full_prediction() | {"full_name": name} for name in answered],
    }  # fmt: skip
    error = {"code": "unknown_repository", "message": f"{', '.join(failed)}: not known", "hint": ""}
    for names, state, changed in ((answered, "done", {"answer": answer}), (failed, "failed", {"error": error})):
        job = queue.submit(PredictionRequest(names))
        queue.jobs[job.id] = replace(job, state=state, **changed)

        page = visit(f"/compare/{'...'.join(names)}", options)

        expect(page.locator("#result")).to_have_attribute("data-state", state)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        if state == "done":
            assert page.locator(".compared").evaluate("(table) => table.scrollWidth <= table.parentElement.clientWidth")


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


def test_tabs_are_selected_by_click_and_by_arrow_keys(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}")
    first, second = (page.get_by_role("tabpanel", name=name) for name in TABS)
    assert (first.is_visible(), second.is_visible()) == (True, False)

    page.get_by_role("tab", name=TABS[1]).click()
    assert (first.is_visible(), second.is_visible()) == (False, True)
    page.keyboard.press("ArrowRight")

    assert (first.is_visible(), second.is_visible()) == (True, False)
    expect(page.get_by_role("tab", name=TABS[0])).to_be_focused()


def test_both_explanations_are_shown_without_javascript(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}", WITHOUT_JAVASCRIPT)

    assert [page.get_by_role("heading", name=name).is_visible() for name in TABS] == [True, True]
    assert page.locator(".panel table:visible").count() == 2
    assert not page.get_by_role("tablist").is_visible()


def test_the_chart_shows_the_counts_below_the_pointer(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}")
    plot, tooltip = page.locator("svg.plot.linear"), page.locator(".tooltip")
    assert not tooltip.is_visible()

    plot.hover(position={"x": 2, "y": 100})
    expect(tooltip).to_have_text("2025-03-01: 8 stars")
    box = plot.bounding_box()
    assert box
    plot.hover(position={"x": box["width"] - 2, "y": 100})

    expect(tooltip).to_have_text("2027-02-21: 1,265 (890–1,995) stars")
    page.get_by_role("heading", level=1).hover()
    expect(tooltip).not_to_be_visible()


def test_the_printed_page_is_light_and_has_no_navigation(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}", DARK)
    page.emulate_media(media="print")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()


def test_the_printed_page_has_both_explanations_and_no_controls(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}")
    page.emulate_media(media="print")

    assert page.locator(".panel table:visible").count() == 2
    assert page.get_by_text("pallets/click").is_visible()
    assert not page.get_by_role("button", name="Recalculate").is_visible()
    assert not page.get_by_role("tablist").is_visible()


def test_the_rate_limit_is_shown_beside_the_control(visit: Visit, queue: FakePredictionQueue) -> None:
    page = visit(f"/predictions/{finish_job(queue).id}")
    page.route("**/api/v1/predictions", lambda route: route.fulfill(status=429, headers={"Retry-After": "7"}, json={}))
    page.get_by_text("What if…?").click()

    page.get_by_label("README length").fill("12")

    expect(page.locator(".field-error:not(:empty)")).to_have_text("Too many requests: try again in 7 s")
    expect(page.get_by_label("README length")).to_have_value("12")

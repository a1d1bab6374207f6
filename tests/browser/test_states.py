"""Every state of the page: as people with a screen reader, a phone or without JavaScript meet it, and what it costs to see it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from stargaze.config import ServeSection
from stargaze.serve.supervisor.supervise import serving
from stargaze.store import Store
from tests.browser.conftest import DARK, PATIENCE, PHONE, WITHOUT_JAVASCRIPT, Visit, picture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]
MOST_BYTES = 100_000
"""Of the first view, all told."""
SHIFTS = """() => new Promise((done) => {
  let shift = 0;
  new PerformanceObserver((list) => { for (const one of list.getEntries()) if (!one.hadRecentInput) shift += one.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(shift), 300);
})"""
SIZES = (
    "['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind).map((one) => one.transferSize))"
)
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path) -> Iterator[str]:
    store = Store(tmp_path_factory.mktemp("states"))
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    with serving(ServeSection(port=0, github_lookup=False, rate_limit=0), store) as url:
        yield url


@pytest.fixture(scope="module")
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[900, 0, 300, 40, 1500]])


def answered(page: Page) -> Page:
    """Wait for the answer and open all of it."""
    expect(page.locator("#answer")).to_have_attribute("data-state", "done", timeout=PATIENCE)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    return page


def five(page: Page, names: list[str]) -> Page:
    page.get_by_label("Repositories").fill("\n".join(names))
    page.get_by_role("button", name="Predict the stars").click()
    return answered(page)


def state(visit: Visit, names: list[str], name: str, kind: dict[str, Any]) -> Page:
    """Bring the page into one of its states."""
    if name == "one":
        return answered(visit(f"/of/{names[0]}", kind))
    if name == "five":
        return five(visit("/", kind), names)
    if name == "failed":
        page = visit("/of/no/such-one", kind)
        expect(page.get_by_role("alert")).to_be_visible(timeout=PATIENCE)
        return page
    if name == "figures":
        page = visit("/figures", kind)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        return page
    if name == "refused":
        page = visit("/", kind)
        page.get_by_label("Repositories").fill("../etc")
        page.get_by_role("button", name="Predict the stars").click()
        return page
    return visit({"form": "/", "model": "/model", "try": "/try", "lost": "/predictions/none"}[name], kind)


STATES = ("form", "one", "five", "failed", "refused", "figures", "model", "try", "lost")


@pytest.mark.parametrize("kind", [{}, DARK, {**PHONE, **DARK}], ids=["desktop", "dark", "dark phone"])
@pytest.mark.parametrize("name", STATES)
def test_axe_finds_nothing(visit: Visit, names: list[str], name: str, kind: dict[str, Any]) -> None:
    page = state(visit, names, name, kind)
    words = "-".join([name, *(["phone"] if "is_mobile" in kind else []), *(["dark"] if "color_scheme" in kind else [])])
    picture(page, words)

    found = Axe().run(page)

    assert found.response["violations"] == []
    overhang = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overhang) == 0


@pytest.mark.parametrize("path", ["/", "/model"])
def test_the_first_view_is_small_and_stands_still(visit: Visit, path: str) -> None:
    page = visit(path)
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate(SIZES)

    paint = float(page.evaluate(PAINT))
    print(f"\n{path}: {sum(sizes):,} bytes, first contentful paint after {paint:.0f} ms")  # noqa: T201 - a figure to read
    assert 0 < sum(sizes) < MOST_BYTES
    assert page.evaluate(SHIFTS) == 0


def test_an_answer_stands_still(visit: Visit, names: list[str]) -> None:
    page = visit(f"/of/{names[1]}")
    expect(page.locator("#answer")).to_have_attribute("data-state", "done", timeout=PATIENCE)
    page.reload()

    assert page.evaluate(SHIFTS) == 0


def test_a_second_click_on_the_button_asks_nothing_more(visit: Visit, names: list[str]) -> None:
    page = visit("/")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if one.method == "POST" else None)
    page.get_by_label("Repositories").fill(names[2])

    page.get_by_role("button", name="Predict the stars").dblclick()

    answered(page)
    assert len(asked) == 1


def test_a_lever_moves_the_number_without_a_reload(visit: Visit, names: list[str]) -> None:
    page = answered(visit(f"/of/{names[0]}"))
    page.evaluate("window.sameDocument = true")

    page.get_by_label("Licence").fill("mit")
    page.get_by_label("Topics").fill("12")
    page.get_by_role("button", name="See the difference").click()

    expect(page.locator("[data-difference]")).to_contain_text("stars", timeout=PATIENCE)
    assert "→" in page.locator("[data-difference]").inner_text()
    assert page.evaluate("window.sameDocument") is True


def test_a_lever_moves_the_number_without_javascript(visit: Visit, names: list[str]) -> None:
    page = visit(f"/of/{names[0]}", WITHOUT_JAVASCRIPT)
    expect(page.locator("#answer")).to_have_attribute("data-state", "done", timeout=PATIENCE)
    page.get_by_text("What if it were otherwise?").click()
    page.get_by_label("Topics").fill("12")
    page.get_by_role("button", name="See the difference").click()

    expect(page.locator("[data-difference]")).to_contain_text("→", timeout=PATIENCE)


def test_a_lever_that_cannot_be_is_explained(visit: Visit, names: list[str]) -> None:
    page = answered(visit(f"/of/{names[0]}"))

    page.get_by_label("Latest release").fill("soon")
    page.get_by_role("button", name="See the difference").click()

    expect(page.locator("[data-difference]")).to_contain_text("soon", timeout=PATIENCE)


def test_an_unknown_repository_leads_to_its_figures(visit: Visit) -> None:
    page = visit("/of/no/such-one")
    expect(page.get_by_role("alert")).to_be_visible(timeout=PATIENCE)

    page.get_by_role("link", name="type those of no/such-one").click()

    expect(page.get_by_label("Name")).to_have_value("no/such-one")


def test_the_api_is_tried_in_the_page(visit: Visit) -> None:
    page = visit("/try")

    page.get_by_role("button", name="Send it").click()

    expect(page.locator("[data-said]")).to_contain_text("Answered after", timeout=PATIENCE)
    expect(page.get_by_role("region", name="The answer")).to_contain_text('"state": "done"')


def test_an_answer_that_has_expired_shows_a_way_on(visit: Visit) -> None:
    page = visit("/predictions/00000000-0000-4000-8000-000000000000")

    expect(page.get_by_role("heading")).to_contain_text("Not Found")
    page.get_by_role("link", name="Ask for a prediction").click()
    expect(page.get_by_label("Repositories")).to_be_visible()

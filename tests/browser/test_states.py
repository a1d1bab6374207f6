"""Every state of the page: accessibility, layout, size, and use without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from stargaze.config import ServeSection
from stargaze.serve.supervisor.supervise import serving
from stargaze.store import Store
from tests.browser.conftest import DARK, PHONE, TIMEOUT, WITHOUT_JAVASCRIPT, Visit, take_screenshot

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]
MAX_BYTES = 100_000
"""Maximum size of the first view with all its files."""
SHIFTS = """() => new Promise((done) => {
  let shift = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift += entry.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(shift), 300);
})"""
SIZES = "['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind).map((entry) => entry.transferSize))"
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


def finished(page: Page) -> Page:
    """Wait for the result and open all details."""
    expect(page.locator("#result")).to_have_attribute("data-state", "done", timeout=TIMEOUT)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true })")
    return page


def submit_names(page: Page, names: list[str]) -> Page:
    page.get_by_label("Repositories").fill("\n".join(names))
    page.get_by_role("button", name="Estimate stars").click()
    return finished(page)


def open_state(visit: Visit, names: list[str], name: str, options: dict[str, Any]) -> Page:
    """Open the page in one of its states."""
    if name == "one":
        return finished(visit(f"/repositories/{names[0]}", options))
    if name == "five":
        return submit_names(visit("/", options), names)
    if name == "failed":
        page = visit("/repositories/no/such-one", options)
        expect(page.get_by_role("alert")).to_be_visible(timeout=TIMEOUT)
        return page
    if name == "figures":
        page = visit("/figures", options)
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true })")
        return page
    if name == "invalid":
        page = visit("/", options)
        page.get_by_label("Repositories").fill("../etc")
        page.get_by_role("button", name="Estimate stars").click()
        return page
    return visit({"form": "/", "model": "/model", "try": "/try", "expired": "/predictions/none"}[name], options)


STATES = ("form", "one", "five", "failed", "invalid", "figures", "model", "try", "expired")


@pytest.mark.parametrize("options", [{}, DARK, {**PHONE, **DARK}], ids=["desktop", "dark", "dark phone"])
@pytest.mark.parametrize("name", STATES)
def test_axe_finds_no_violation(visit: Visit, names: list[str], name: str, options: dict[str, Any]) -> None:
    page = open_state(visit, names, name, options)
    filename = "-".join(
        [name, *(["phone"] if "is_mobile" in options else []), *(["dark"] if "color_scheme" in options else [])]
    )
    take_screenshot(page, filename)

    result = Axe().run(page)

    assert result.response["violations"] == []
    overhang = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overhang) == 0


@pytest.mark.parametrize("path", ["/", "/model"])
def test_the_first_view_is_small_and_has_no_layout_shift(visit: Visit, path: str) -> None:
    page = visit(path)
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate(SIZES)

    paint = float(page.evaluate(PAINT))
    print(f"\n{path}: {sum(sizes):,} bytes, first contentful paint after {paint:.0f} ms")  # noqa: T201 - a figure to read
    assert 0 < sum(sizes) < MAX_BYTES
    assert page.evaluate(SHIFTS) == 0


def test_a_result_has_no_layout_shift(visit: Visit, names: list[str]) -> None:
    page = visit(f"/repositories/{names[1]}")
    expect(page.locator("#result")).to_have_attribute("data-state", "done", timeout=TIMEOUT)
    page.reload()

    assert page.evaluate(SHIFTS) == 0


def test_a_double_click_submits_once(visit: Visit, names: list[str]) -> None:
    page = visit("/")
    posted: list[str] = []
    page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
    page.get_by_label("Repositories").fill(names[2])

    page.get_by_role("button", name="Estimate stars").dblclick()

    finished(page)
    assert len(posted) == 1


def number_control(page: Page) -> Locator:
    """Return the first number of the what-if."""
    return page.locator("[data-what-if] input[inputmode=numeric]").first


def test_a_what_if_follows_the_control_and_is_in_the_address(visit: Visit, names: list[str]) -> None:
    page = finished(visit(f"/repositories/{names[0]}"))
    page.evaluate("window.sameDocument = true")
    control, difference = number_control(page), page.locator("[data-difference]")
    original = control.input_value()

    control.fill("12")

    expect(difference).to_contain_text("→ 12", timeout=TIMEOUT)
    assert urlsplit(page.url).query == f"{control.get_attribute('name')}=12"
    assert page.evaluate("window.sameDocument") is True

    page.reload()
    expect(finished(page).locator("[data-difference]")).to_contain_text("→ 12")

    page.get_by_role("link", name="Reset").click()
    expect(control).to_have_value(original)
    expect(difference).to_have_text("")
    assert urlsplit(page.url).query == ""

    control.fill("12")
    control.fill(original)
    expect(difference).to_have_text("No change.")


def test_back_leaves_the_page_of_a_what_if_and_forward_returns_to_it(visit: Visit, names: list[str]) -> None:
    page = visit("/model")
    page.goto(urljoin(page.url, f"/repositories/{names[0]}"))
    number_control(finished(page)).fill("12")
    expect(page.locator("[data-difference]")).to_contain_text("→ 12", timeout=TIMEOUT)

    page.go_back()
    assert urlsplit(page.url).path == "/model"
    page.go_forward()

    expect(number_control(page)).to_have_value("12")
    expect(page.locator("[data-difference]")).to_contain_text("→ 12")


def test_an_invalid_value_is_kept_with_the_reason_beside_it(visit: Visit, names: list[str]) -> None:
    page = finished(visit(f"/repositories/{names[0]}"))
    control = number_control(page)

    control.fill("many")

    error = page.locator(f"[id='{control.get_attribute('id')}-error']")
    expect(error).to_contain_text("many", timeout=TIMEOUT)
    expect(control).to_have_value("many")
    expect(control).to_have_attribute("aria-invalid", "true")
    assert Axe().run(page).response["violations"] == []
    page.reload()  # the address has the invalid value, so there is an alert too
    expect(finished(page).get_by_role("alert")).to_contain_text("was not recalculated")

    control.fill("12")
    expect(page.locator("[data-difference]")).to_contain_text("→ 12", timeout=TIMEOUT)
    expect(error).to_have_text("")
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(("value", "shown"), [("12", "[data-difference]"), ("many", ".field-error:not(:empty)")])
def test_a_what_if_works_without_javascript(visit: Visit, names: list[str], value: str, shown: str) -> None:
    page = visit(f"/repositories/{names[0]}", WITHOUT_JAVASCRIPT)
    expect(page.locator("#result")).to_have_attribute("data-state", "done", timeout=TIMEOUT)
    page.get_by_text("What if…?").click()
    number_control(page).fill(value)
    page.get_by_role("button", name="Recalculate").click()

    expect(page.locator(shown)).to_contain_text(value, timeout=TIMEOUT)
    expect(number_control(page)).to_have_value(value)


def test_entered_figures_have_a_what_if(visit: Visit) -> None:
    page = visit("/model")
    body = {"figures": [{"full_name": "me/mine", "forks": 12, "subscribers": 3}]}
    job = page.request.post(urljoin(page.url, "/api/v1/predictions"), data=body, headers={"Prefer": "wait=10"}).json()
    page.goto(urljoin(page.url, job["page"]))

    number_control(finished(page)).fill("700")

    expect(page.locator("[data-difference]")).to_contain_text("→ 700", timeout=TIMEOUT)
    assert urlsplit(page.url).path == job["page"]


def test_an_unknown_repository_links_the_figures_form(visit: Visit) -> None:
    page = visit("/repositories/no/such-one")
    expect(page.get_by_role("alert")).to_be_visible(timeout=TIMEOUT)

    page.get_by_role("link", name="Enter its metrics instead").click()

    expect(page.get_by_label("Name")).to_have_value("no/such-one")


def test_the_api_page_sends_a_request(visit: Visit) -> None:
    page = visit("/try")

    page.get_by_role("button", name="Send").click()

    expect(page.locator("[data-status]")).to_contain_text("Finished after", timeout=TIMEOUT)
    expect(page.get_by_role("region", name="Response")).to_contain_text('"state": "done"')


def test_an_expired_result_links_the_form(visit: Visit) -> None:
    page = visit("/predictions/00000000-0000-4000-8000-000000000000")

    expect(page.get_by_role("heading")).to_contain_text("Page not found")
    page.get_by_role("link", name="Estimate stars").click()
    expect(page.get_by_label("Repositories")).to_be_visible()

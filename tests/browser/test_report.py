"""The report in headless Chromium: without JavaScript, on a phone, in dark mode, printed, and without network requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.conftest import DARK, PHONE, WITHOUT_JAVASCRIPT
from tests.report.conftest import HOSTILE, finished_store, page

REPORT = os.environ.get("STARGAZE_REPORT", "")
"""A report to test instead of the small one that is created here."""

__all__ = ["finished_store", "page"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]


@pytest.fixture
def report(browser: Browser, page: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page as a reader sees it; there must be no console message and no request but that of the file."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **getattr(request, "param", {})})
    address = Path(REPORT or page).resolve().as_uri()
    noted: list[str] = []
    tab = context.new_page()
    tab.on("console", lambda message: noted.append(message.text))
    tab.on("pageerror", lambda error: noted.append(str(error)))
    tab.on("request", lambda requests: noted.append(requests.url) if requests.url != address else None)
    tab.on("dialog", lambda dialog: noted.append(dialog.message))
    tab.goto(address)
    yield tab
    context.close()
    assert noted == []


VISITORS = [{}, WITHOUT_JAVASCRIPT, PHONE, DARK, {**PHONE, **DARK}]


@pytest.mark.parametrize("report", VISITORS, indirect=True, ids=str)
def test_the_report_is_complete_without_network_requests(report: Page) -> None:
    figures = report.locator("figure")

    assert figures.count() >= 11
    for place in range(figures.count()):
        svg = figures.nth(place).locator("svg")
        box = svg.bounding_box()
        assert box is not None
        assert box["width"] > 250
        assert svg.get_attribute("aria-label")
        assert figures.nth(place).locator("figcaption").inner_text().strip()
    assert report.get_by_role("heading", name="Model card").is_visible()


@pytest.mark.parametrize("report", [{}, WITHOUT_JAVASCRIPT], indirect=True, ids=str)
def test_the_numbers_of_a_chart_can_be_expanded(report: Page) -> None:
    numbers = report.locator("#chart-calibration table")
    assert not numbers.is_visible()

    report.locator("#chart-calibration summary").click()

    assert numbers.is_visible()
    assert numbers.locator("tbody tr").count() > 2


@pytest.mark.parametrize("report", [{}, PHONE], indirect=True, ids=str)
def test_nothing_is_wider_than_the_page(report: Page) -> None:
    report.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")

    assert report.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


@pytest.mark.parametrize("report", [{}, {**PHONE, **DARK}], indirect=True, ids=str)
def test_the_report_is_accessible(report: Page) -> None:
    report.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")

    assert Axe().run(report).response["violations"] == []


@pytest.mark.parametrize("report", [{}, DARK], indirect=True, ids=str)
def test_text_in_charts_has_sufficient_contrast(report: Page) -> None:
    """WCAG requires a contrast of 4.5 to 1."""
    ratio = report.evaluate(
        """() => {
            const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number).map((channel) => {
                const share = channel / 255;
                return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            }).reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
            const paper = light(getComputedStyle(document.querySelector('figure')).backgroundColor);
            const inks = [...document.querySelectorAll('figure svg text')].map((text) => light(getComputedStyle(text).fill));
            return Math.min(...inks.map((ink) => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)));
        }"""
    )

    assert ratio >= 4.5


def test_the_printed_report_is_light_and_has_no_navigation(report: Page) -> None:
    report.emulate_media(media="print", color_scheme="dark")

    assert report.evaluate("getComputedStyle(document.querySelector('figure')).backgroundColor") == "rgb(255, 255, 255)"
    assert not report.locator("nav").is_visible()


@pytest.mark.skipif(bool(REPORT), reason="the report does not contain the hostile name")
def test_a_script_in_a_name_is_escaped(report: Page) -> None:
    assert report.get_by_text(HOSTILE).count() > 0
    assert report.locator("script").count() == 0

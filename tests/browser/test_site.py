"""The pages around the results in headless Chromium: landing page, forms, comparison, search, privacy."""

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
from tests.browser.conftest import DARK, PHONE, TIMEOUT, WITHOUT_JAVASCRIPT, Visit, take_screenshot

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]
UNKNOWN = "no/such-one"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path) -> Iterator[str]:
    store = Store(tmp_path_factory.mktemp("site"))
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    with serving(ServeSection(port=0, github_lookup=False, rate_limit=0), store) as url:
        yield url


@pytest.fixture(scope="module")
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[0, 300, 900]])


def submit(page: Page, text: str) -> None:
    page.get_by_label("Repositories").fill(text)
    page.get_by_role("button", name="Estimate stars").click()


def wait_for_result(page: Page) -> Page:
    expect(page.locator("#result")).to_have_attribute("data-state", "done", timeout=TIMEOUT)
    page.wait_for_load_state()  # its style sheets too
    return page


def open_state(visit: Visit, names: list[str], name: str, options: dict[str, Any]) -> Page:
    """Open one of the pages in one of its states."""
    if name == "landing":
        page = visit("/", options)
        if options.get("java_script_enabled", True):
            expect(page.locator("#example .scale")).to_be_visible(timeout=TIMEOUT)
        return page
    if name == "compare":
        page = visit(f"/compare/{names[0]}...{UNKNOWN}...{names[1]}...{names[2]}", options)
        return wait_for_result(page)
    if name == "figures-invalid":
        page = visit("/figures", options)
        fill_invalid(page)
        return page
    return visit(
        {"search": "/search?query=electron", "privacy": "/privacy", "compare-invalid": "/compare/a/b/c"}[name], options
    )


def fill_invalid(page: Page) -> None:
    page.get_by_label("Name").fill("me/mine")
    page.get_by_label("Forks").fill("12")
    page.get_by_label("Language").fill("Zig" * 100)
    page.get_by_role("button", name="Estimate stars").click()
    expect(page.get_by_role("alert")).to_be_visible()


STATES = ("landing", "compare", "figures-invalid", "search", "privacy", "compare-invalid")


@pytest.mark.parametrize(
    "options", [{}, WITHOUT_JAVASCRIPT, {**PHONE, **DARK}], ids=["desktop", "without javascript", "dark phone"]
)
@pytest.mark.parametrize("name", STATES)
def test_each_page_is_accessible_and_fits(visit: Visit, names: list[str], name: str, options: dict[str, Any]) -> None:
    page = open_state(visit, names, name, options)
    if "java_script_enabled" in options:  # axe is a script
        assert page.locator("h1").count() == 1
        return
    take_screenshot(page, f"site-{name}" + ("-phone-dark" if "is_mobile" in options else ""))

    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


@pytest.mark.parametrize("options", [{}, WITHOUT_JAVASCRIPT], ids=["scripts", "plain"])
def test_invalid_metrics_are_kept_with_the_reason_beside_the_field(visit: Visit, options: dict[str, Any]) -> None:
    page = visit("/figures", options)

    with page.expect_response("**/figures") as answer:
        fill_invalid(page)

    assert answer.value.status == 400
    language = page.get_by_label("Language")
    expect(language).to_have_value("Zig" * 100)
    expect(language).to_have_attribute("aria-invalid", "true")
    expect(language).to_have_accessible_description("Longer than 255 characters primary language")
    expect(page.get_by_label("Name")).to_have_value("me/mine")
    expect(page.get_by_label("Forks")).to_have_value("12")


@pytest.mark.parametrize("options", [{}, WITHOUT_JAVASCRIPT], ids=["scripts", "plain"])
def test_going_back_keeps_the_input(visit: Visit, names: list[str], options: dict[str, Any]) -> None:
    page = visit("/", options)
    submit(page, f"{names[0]}\n{names[1]}")
    page.wait_for_url("**/compare/**")

    page.go_back()

    expect(page.get_by_label("Repositories")).to_have_value(f"{names[0]}\n{names[1]}")


def test_going_back_keeps_the_metrics(visit: Visit) -> None:
    page = visit("/figures")
    page.get_by_label("Forks").fill("12")
    page.get_by_label("Language").fill("Rust")
    page.get_by_role("button", name="Estimate stars").click()
    page.wait_for_url("**/predictions/**")

    page.go_back()

    expect(page.get_by_label("Forks")).to_have_value("12")
    expect(page.get_by_label("Language")).to_have_value("Rust")


@pytest.mark.parametrize("options", [{}, WITHOUT_JAVASCRIPT], ids=["scripts", "plain"])
def test_going_back_to_a_refused_form_keeps_the_input(visit: Visit, options: dict[str, Any]) -> None:
    """It is the answer to a POST, which browsers request again unless they may keep it."""
    page = visit("/figures", options)
    page.get_by_label("Forks").fill("12")
    page.get_by_label("Name", exact=True).fill("no name")
    page.get_by_role("button", name="Estimate stars").click()
    page.get_by_label("Name", exact=True).fill("me/mine")
    page.get_by_role("button", name="Estimate stars").click()
    page.wait_for_url("**/predictions/**")

    page.go_back()

    expect(page.get_by_label("Forks")).to_have_value("12")


def test_edit_keeps_the_input(visit: Visit, names: list[str]) -> None:
    page = visit("/")
    submit(page, f"{names[0]}\n{names[1]}")
    wait_for_result(page)

    page.get_by_role("link", name="Edit").click()

    expect(page.get_by_label("Repositories")).to_have_value(f"{names[0]}\n{names[1]}")


def test_edit_keeps_the_metrics(visit: Visit) -> None:
    page = visit("/figures")
    page.get_by_label("Forks").fill("12")
    page.get_by_role("button", name="Estimate stars").click()
    wait_for_result(page)

    page.get_by_role("link", name="Edit").click()

    expect(page.get_by_label("Forks")).to_have_value("12")


@pytest.mark.parametrize("options", [{}, WITHOUT_JAVASCRIPT], ids=["scripts", "plain"])
def test_an_unknown_repository_fails_alone(visit: Visit, names: list[str], options: dict[str, Any]) -> None:
    page = visit("/", options)

    submit(page, f"{names[0]}\n{UNKNOWN}\nhttps://github.com/{names[1]}.git")
    wait_for_result(page)

    assert sorted(page.locator(".compared tbody th a").all_inner_texts()) == sorted(names[:2])
    failed = page.locator(".compared tr.failed")
    expect(failed).to_contain_text("Not among the")
    failed.get_by_role("link", name="Enter its metrics instead").click()
    expect(page.get_by_label("Name")).to_have_value(UNKNOWN)


def test_the_comparison_is_printed_as_a_light_table(visit: Visit, names: list[str]) -> None:
    page = wait_for_result(visit(f"/compare/{names[0]}...{names[1]}", DARK))
    page.emulate_media(media="print")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".compared thead").is_visible()
    take_screenshot(page, "site-compare-print")


def test_typing_suggests_known_names_and_the_search(visit: Visit, names: list[str]) -> None:
    page = visit("/")
    field = page.get_by_label("Repositories")
    field.press_sequentially(f"{names[1]}\n{names[0][:6]}")

    page.get_by_role("button", name=names[0], exact=True).click()

    expect(field).to_have_value(f"{names[1]}\n{names[0]}\n")
    field.press_sequentially("electr")
    page.get_by_role("link", name="Search GitHub for “electr”").click()
    expect(page.get_by_role("searchbox")).to_have_value("electr")
    expect(page.locator(".found li").first).to_be_visible()


def test_the_suggestions_are_closed_by_escape(visit: Visit, names: list[str]) -> None:
    page = visit("/")
    field = page.get_by_label("Repositories")
    field.press_sequentially(names[0][:4])
    expect(page.locator("[data-suggestions]")).to_be_visible()

    page.keyboard.press("Escape")

    expect(page.locator("[data-suggestions]")).to_be_hidden()
    expect(field).to_be_focused()


def test_the_footer_links_the_privacy_page(visit: Visit) -> None:
    page = visit("/", WITHOUT_JAVASCRIPT)

    page.get_by_role("link", name="Privacy").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Privacy")

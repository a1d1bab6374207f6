"""The page in headless Chromium, with the real processes and a real bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from stargaze.config import ServeSection
from stargaze.serve.supervisor.supervise import serving
from stargaze.store import Store
from tests.browser.conftest import DARK, PHONE, TIMEOUT, WITHOUT_JAVASCRIPT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path) -> Iterator[str]:
    store = Store(tmp_path_factory.mktemp("page"))
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    with serving(ServeSection(port=0, github_lookup=False), store) as url:
        yield url


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A new browser context; a test passes other options by ``indirect``."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **getattr(request, "param", {})})
    context.set_default_timeout(TIMEOUT)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, url: str) -> Iterator[Page]:
    """The form; there must be no console message and no request to another host."""
    problems: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if _is_problem(message) else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if _is_foreign(request.url, url) else None)
    page.goto(url)
    yield page
    assert problems == []


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[900, 0, 300, 40, 1500]])


def _is_problem(message: ConsoleMessage) -> bool:
    """Return whether a message is an error; Chromium also reports every response with status 400 or 404."""
    return message.type in ("error", "warning") and "status of 40" not in message.text


def _is_foreign(requested: str, own: str) -> bool:
    return urlsplit(requested).netloc != urlsplit(own).netloc


def submit(page: Page, text: str) -> None:
    page.get_by_label("Repositories").fill(text)
    page.get_by_role("button", name="Estimate stars").click()


def stars(page: Page) -> list[int]:
    """Return the estimates of the comparison, in their order."""
    return [
        int(text.replace(",", "")) for text in page.locator('.compared td[data-label="Expected"]').all_text_contents()
    ]


@pytest.mark.parametrize("context", [{}, WITHOUT_JAVASCRIPT, PHONE, DARK], indirect=True, ids=str)
def test_five_repositories_are_ranked(page: Page, names: list[str]) -> None:
    submit(page, "\n".join(names))

    expect(page.locator(".compared tbody tr")).to_have_count(5, timeout=TIMEOUT)
    assert len(stars(page)) == 5
    assert stars(page) == sorted(stars(page), reverse=True)
    assert set(page.locator(".compared tbody th").all_inner_texts()) == set(names)


def test_the_result_appears_without_a_reload(page: Page, names: list[str]) -> None:
    submit(page, names[0])
    page.wait_for_url("**/repositories/*/*")
    page.evaluate("window.sameDocument = true")

    expect(page.locator(".card")).to_have_count(1, timeout=TIMEOUT)

    assert page.evaluate("window.sameDocument") is True
    expect(page.locator("#result")).to_have_attribute("data-state", "done")


def test_the_url_of_a_result_stays_valid(page: Page, names: list[str]) -> None:
    submit(page, names[0])
    expect(page.locator(".card")).to_have_count(1, timeout=TIMEOUT)

    page.reload()

    expect(page.locator(".card .name")).to_have_text(names[0])


def test_factors_are_shown_as_bars_and_numbers(page: Page, names: list[str]) -> None:
    submit(page, names[1])

    rows = page.locator(".waterfall tbody tr")
    expect(rows.first).to_be_visible()
    bars = page.locator(".waterfall tbody .effect rect").all()

    assert len(bars) == rows.count()
    assert all(text.startswith("× ") for text in page.locator(".card td.factor").all_inner_texts()[1:-1])
    assert (bars[0].bounding_box() or {"width": 0})["width"] > 10


def test_an_invalid_name_shows_a_message_and_keeps_the_input(page: Page) -> None:
    with page.expect_response("**/") as answer:
        submit(page, "../etc")

    assert answer.value.status == 400
    expect(page.get_by_role("alert")).to_contain_text("is not the name of a repository")
    expect(page.get_by_label("Repositories")).to_have_value("../etc")


@pytest.mark.parametrize("context", [{}, WITHOUT_JAVASCRIPT], indirect=True, ids=str)
def test_an_unknown_repository_shows_a_message(page: Page) -> None:
    submit(page, "no/such-one")

    expect(page.get_by_role("alert")).to_contain_text("no/such-one", timeout=TIMEOUT)
    expect(page.get_by_label("Repositories")).to_have_value("no/such-one")


def test_a_script_in_a_name_is_escaped(page: Page) -> None:
    submit(page, "<img/src=x onerror=window.broken=1>")

    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate("window.broken") is None


@pytest.mark.parametrize("context", [{}, WITHOUT_JAVASCRIPT], indirect=True, ids=str)
def test_entered_figures_are_compared_with_a_known_repository(page: Page, names: list[str]) -> None:
    page.get_by_role("link", name="Custom", exact=True).click()
    page.get_by_label("Name").fill("me/mine")
    page.get_by_label("Forks").fill("12")
    page.get_by_label("Watchers (subscribers)").fill("3")
    page.get_by_label("Compare with").fill(names[1])
    page.get_by_role("button", name="Estimate stars").click()

    expect(page.locator(".card")).to_have_count(2, timeout=TIMEOUT)
    assert page.locator(".card .name").all_inner_texts() == [names[1], "me/mine"]


def test_an_example_is_added_by_a_click(page: Page) -> None:
    example = page.locator("[data-add]").first

    example.click()

    expect(page.get_by_label("Repositories")).to_have_value(example.inner_text() + "\n")


@pytest.mark.parametrize("context", [WITHOUT_JAVASCRIPT], indirect=True, ids=str)
def test_an_example_is_added_by_a_click_without_javascript(page: Page) -> None:
    example = page.locator("[data-add]").first
    name = example.inner_text()

    example.click()

    expect(page.get_by_label("Repositories")).to_have_value(name)


def test_the_form_works_with_the_keyboard(page: Page, names: list[str]) -> None:
    page.get_by_label("Repositories").focus()
    page.keyboard.type(names[0])
    page.get_by_role("button", name="Estimate stars").press("Enter")

    expect(page.locator(".card")).to_have_count(1, timeout=TIMEOUT)


@pytest.mark.parametrize("context", [PHONE], indirect=True, ids=str)
def test_nothing_is_wider_than_a_phone(page: Page, url: str, names: list[str]) -> None:
    def overhang() -> int:
        page.wait_for_load_state()  # without its style sheets a page is wider
        return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    widths = [overhang()]
    submit(page, "\n".join(names))
    expect(page.locator(".compared tbody tr")).to_have_count(5, timeout=TIMEOUT)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true })")
    widths.append(overhang())
    page.goto(f"{url}/figures")
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true })")
    widths.append(overhang())

    assert widths == [0, 0, 0]

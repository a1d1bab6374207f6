"""The page in headless Chromium, before the real processes and a real bundle."""

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
from tests.browser.conftest import DARK, PATIENCE, PHONE, WITHOUT_JAVASCRIPT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path) -> Iterator[str]:
    store = Store(tmp_path_factory.mktemp("page"))
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    with serving(ServeSection(port=0), store) as url:
        yield url


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A fresh visitor; a test that wants another kind gives its options by ``indirect``."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **getattr(request, "param", {})})
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, url: str) -> Iterator[Page]:
    """The form; whatever the test does, nothing is complained about and no other host is asked."""
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if _complains(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if _foreign(request.url, url) else None)
    page.goto(url)
    yield page
    assert complaints == []


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[900, 0, 300, 40, 1500]])


def _complains(message: ConsoleMessage) -> bool:
    """Chromium notes every refused question in the console; that is no fault of the page."""
    return message.type in ("error", "warning") and "status of 400" not in message.text


def _foreign(asked: str, ours: str) -> bool:
    return urlsplit(asked).netloc != urlsplit(ours).netloc


def ask(page: Page, text: str) -> None:
    page.get_by_label("Repositories").fill(text)
    page.get_by_role("button", name="Predict the stars").click()


def stars(page: Page) -> list[int]:
    """Read the predictions off the page, in their order."""
    return [int(text.replace(",", "")) for text in page.locator(".card .stars b").all_inner_texts()]


@pytest.mark.parametrize("context", [{}, WITHOUT_JAVASCRIPT, PHONE, DARK], indirect=True, ids=str)
def test_five_repositories_come_back_ranked(page: Page, names: list[str]) -> None:
    ask(page, "\n".join(names))

    expect(page.locator(".card")).to_have_count(5, timeout=PATIENCE)
    assert stars(page) == sorted(stars(page), reverse=True)
    assert set(page.locator(".card .name").all_inner_texts()) == set(names)


def test_the_answer_arrives_without_a_reload(page: Page, names: list[str]) -> None:
    ask(page, names[0])
    page.wait_for_url("**/predictions/*")
    page.evaluate("window.sameDocument = true")

    expect(page.locator(".card")).to_have_count(1, timeout=PATIENCE)

    assert page.evaluate("window.sameDocument") is True
    expect(page.locator("#answer")).to_have_attribute("data-state", "done")


def test_the_address_of_an_answer_stays_valid(page: Page, names: list[str]) -> None:
    ask(page, names[0])
    expect(page.locator(".card")).to_have_count(1, timeout=PATIENCE)

    page.reload()

    expect(page.locator(".card .name")).to_have_text(names[0])


def test_the_factors_are_drawn_and_written(page: Page, names: list[str]) -> None:
    ask(page, names[1])

    rows = page.locator(".waterfall tbody tr")
    expect(rows.first).to_be_visible()
    drawn = page.locator(".waterfall tbody .drawn rect").all()

    assert len(drawn) == rows.count()
    assert all(text.startswith("× ") for text in page.locator(".card td.factor").all_inner_texts()[1:-1])
    assert (drawn[0].bounding_box() or {"width": 0})["width"] > 10


def test_a_bad_name_is_explained_beside_what_was_typed(page: Page) -> None:
    with page.expect_response("**/") as answer:
        ask(page, "../etc")

    assert answer.value.status == 400
    expect(page.get_by_role("alert")).to_contain_text("is not the name of a repository")
    expect(page.get_by_label("Repositories")).to_have_value("../etc")


@pytest.mark.parametrize("context", [{}, WITHOUT_JAVASCRIPT], indirect=True, ids=str)
def test_an_unknown_name_is_explained(page: Page) -> None:
    ask(page, "no/such-one")

    expect(page.get_by_role("alert")).to_contain_text("no/such-one", timeout=PATIENCE)
    expect(page.get_by_label("Repositories")).to_have_value("no/such-one")


def test_a_script_in_a_name_stays_text(page: Page) -> None:
    ask(page, "<img/src=x onerror=window.broken=1>")

    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate("window.broken") is None


@pytest.mark.parametrize("context", [{}, WITHOUT_JAVASCRIPT], indirect=True, ids=str)
def test_typed_figures_are_ranked_with_a_known_repository(page: Page, names: list[str]) -> None:
    page.get_by_role("link", name="Figures", exact=True).click()
    page.get_by_label("Name").fill("me/mine")
    page.get_by_label("Forks").fill("12")
    page.get_by_label("Subscribers").fill("3")
    page.get_by_label("Compare with").fill(names[1])
    page.get_by_role("button", name="Predict the stars").click()

    expect(page.locator(".card")).to_have_count(2, timeout=PATIENCE)
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


def test_a_known_name_is_found_by_a_part_of_it(page: Page, names: list[str]) -> None:
    page.get_by_label("Find one that it knows").fill(names[1][:6])
    expect(page.locator(f'#found option[value="{names[1]}"]')).to_have_count(1)

    page.get_by_label("Find one that it knows").fill(names[1])

    expect(page.get_by_label("Repositories")).to_have_value(names[1] + "\n")


def test_the_keyboard_is_enough(page: Page, names: list[str]) -> None:
    page.get_by_label("Repositories").focus()
    page.keyboard.type(names[0])
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator(".card")).to_have_count(1, timeout=PATIENCE)


@pytest.mark.parametrize("context", [PHONE], indirect=True, ids=str)
def test_nothing_is_wider_than_a_phone(page: Page, url: str, names: list[str]) -> None:
    def overhang() -> int:
        return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    widths = [overhang()]
    ask(page, "\n".join(names))
    expect(page.locator(".card")).to_have_count(5, timeout=PATIENCE)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    widths.append(overhang())
    page.goto(f"{url}/figures")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    widths.append(overhang())

    assert widths == [0, 0, 0]

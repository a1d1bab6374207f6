"""Search, privacy page, model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
from flask.testing import FlaskClient

from stargaze.config import ServeSection
from stargaze.serve.lookup.github_search import FoundRepository, SearchResult
from stargaze.serve.web.app import make_web
from stargaze.serve.web.pages.routes import format_duration
from stargaze.store import Store

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

FOUND = (FoundRepository("new/electron-thing", 12_345, "<b>bold</b>"), FoundRepository("electron/electron", 9, ""))


@pytest.fixture
def searched() -> list[str]:
    return []


@pytest.fixture
def site(released_store: Store, queue: FakePredictionQueue, searched: list[str]) -> FlaskClient:
    def search(query: str) -> SearchResult:
        searched.append(query)
        return SearchResult(FOUND) if query == "electron" else SearchResult((), "GitHub did not answer in time")

    return make_web(ServeSection(), released_store, queue, search_github=search).test_client()


def test_search_lists_known_names_and_then_those_of_github(site: FlaskClient, sample: pd.DataFrame) -> None:
    html = site.get("/search?query=electron").text

    known = next(name for name in sample["full_name"] if "electron" in name.lower())
    assert html.index(f'href="/repositories/{known}"') < html.index('href="/repositories/new/electron-thing"')
    assert "12,345 stars" in html
    assert "&lt;b&gt;bold" in html


def test_a_search_that_github_does_not_answer_says_so(site: FlaskClient) -> None:
    html = site.get("/search", query_string={"query": '"><script>'}).text

    assert "GitHub did not answer in time" in html
    assert "<script>&" not in html
    assert "None of the 2,000 known repositories contains" in html


def test_an_empty_search_asks_nobody(site: FlaskClient, searched: list[str]) -> None:
    assert site.get("/search?query=+").status_code == 200
    assert searched == []


def test_a_word_that_is_not_a_name_leads_to_the_search(page: FlaskClient) -> None:
    page.get("/")
    with page.session_transaction() as session:
        form = session["token"]

    answer = page.post("/", data={"token": form, "repositories": "electron"})

    assert answer.status_code == 400
    assert "electron</textarea>" in answer.text
    assert 'href="/search?query=electron"' in answer.text


def test_every_page_links_the_privacy_page(page: FlaskClient) -> None:
    for path in ("/", "/figures", "/model", "/try", "/search", "/privacy", "/predictions/none"):
        assert 'href="/privacy"' in page.get(path).text


def test_the_privacy_page_states_what_this_server_keeps(
    released_store: Store, queue: FakePredictionQueue, page: FlaskClient
) -> None:
    section = ServeSection(track_record=False, github_lookup=False, rate_limit=0, results_ttl=7200)
    other = make_web(section, released_store, queue).test_client()

    texts = [client.get("/privacy").text for client in (page, other)]

    assert ["24 hours" in text for text in texts] == [True, False]
    assert ["2 hours" in text for text in texts] == [False, True]
    for words in ("Track record", "keyed hash of the address", "GitHub learns the name"):
        assert [words in text for text in texts] == [True, False]


def test_the_model_card_has_coverage_by_expected_and_by_actual_stars(
    page: FlaskClient, monkeypatch: pytest.MonkeyPatch, queue: FakePredictionQueue
) -> None:
    html = page.get("/model").text

    assert "Trained on 2,000 public repositories, January 2017" in html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (86_400, "24 hours"),
        (7200, "2 hours"),
        (172_800, "2 days"),
        (5400, "90 minutes"),
        (60, "60 seconds"),
        (90, "90 seconds"),
    ],
)
def test_durations_are_whole_numbers_of_a_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text

"""Excluded repositories are on no page, in no export and in no log, also if their results were computed before."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.serve.web.app import make_web
from stargaze.serve.web.excluded_results import hide_excluded
from stargaze.serve.web.views.bundle_view import load_bundle_view
from stargaze.store import Store
from tests.serve.fake_queue import NOW, FakePredictionQueue


@pytest.fixture
def names(queue: FakePredictionQueue) -> tuple[str, str]:
    """An excluded repository and another one."""
    known = queue.bundle.known["full_name"]
    return str(known.iloc[0]), str(known.iloc[900])


@pytest.fixture
def open_page(released_store: Store, queue: FakePredictionQueue) -> Callable[..., Any]:
    """Return a function that opens the page with exclusions."""
    return lambda *exclude: make_web(
        ServeSection(exclude=list(exclude)), released_store, queue, lambda: NOW
    ).test_client()


def test_results_of_before_are_shown_without_it(
    queue: FakePredictionQueue, names: tuple[str, str], open_page: Callable[..., Any]
) -> None:
    queue.is_instant = True
    excluded, shown = names
    both, alone = queue.submit(PredictionRequest(names)), queue.submit(PredictionRequest((excluded,)))
    page = open_page(excluded)

    assert "This server does not answer for this repository" in page.get(f"/predictions/{alone.id}").text
    for address in ("/predictions/{}.json", "/predictions/{}.csv"):
        assert page.get(address.format(alone.id)).status_code >= 400
        assert shown in page.get(address.format(both.id), follow_redirects=True).text
    answer = page.get(f"/api/v1/predictions/{both.id}").json
    assert [row["full_name"] for row in answer["predictions"]] == [shown]
    assert [(error["name"], error["code"]) for error in answer["errors"]] == [(excluded, "excluded_repository")]


def test_no_page_of_an_excluded_repository_leads_to_a_form_that_is_refused_too(
    open_page: Callable[..., Any], queue: FakePredictionQueue, names: tuple[str, str]
) -> None:
    queue.is_instant = True
    page = open_page(*names)

    texts = [page.get(path).text for path in (f"/repositories/{names[0]}", f"/compare/{names[0]}...{names[1]}")]

    assert all("This server does not answer" in text for text in texts)
    assert not any("/figures?" in text for text in texts)


def test_an_excluded_repository_is_similar_to_none(queue: FakePredictionQueue, names: tuple[str, str]) -> None:
    queue.is_instant = True
    job = queue.submit(PredictionRequest(names[1:]))
    assert job.answer is not None
    similar = [item["full_name"] for item in job.answer["predictions"][0]["similar"]]

    filtered = hide_excluded(queue, Exclusions.parse(similar[:2])).get(job.id)

    assert filtered is not None
    assert filtered.answer is not None
    assert [item["full_name"] for item in filtered.answer["predictions"][0]["similar"]] == similar[2:]


def test_names_examples_and_outliers_are_shown_without_it(bundle_folder: Any, names: tuple[str, str]) -> None:
    view = load_bundle_view(bundle_folder, Exclusions.parse([names[0]]))

    assert names[0] not in view.names
    assert names[0] not in view.examples
    assert names[0] not in json.dumps(view.meta["outliers"])
    assert len(view.names) == len(Bundle.load(bundle_folder).known) - 1


def test_its_name_is_on_no_page_and_not_in_the_log(
    queue: FakePredictionQueue, names: tuple[str, str], open_page: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    queue.is_instant = True
    excluded, shown = names
    page = open_page(excluded)
    text = page.get("/").text + page.get("/search", query_string={"query": excluded.partition("/")[2]}).text
    assert f"{excluded}<" not in text

    with caplog.at_level(logging.INFO, "stargaze.requests"):
        for address in (
            f"/repositories/{excluded}",
            f"/api/v1/repositories/{excluded}",
            f"/compare/{shown}...{excluded}",
        ):
            page.get(address)
        page.get(f"/repositories/{shown}")

    paths = [record.path for record in caplog.records]
    assert not any(excluded in path for path in paths)
    assert paths[-1] == f"/repositories/{shown}"


def test_its_name_is_in_no_stored_request(
    queue: FakePredictionQueue, names: tuple[str, str], open_page: Callable[..., Any]
) -> None:
    queue.is_instant = True
    excluded, shown = names
    page = open_page(excluded)

    alone = page.get(f"/api/v1/repositories/{excluded}")
    compared = page.get(f"/compare/{excluded}...{shown}")
    bodies = ({"repositories": [shown, excluded]}, {"figures": [{"full_name": excluded, "forks": 7}]})
    jobs = [page.get(page.post("/api/v1/predictions", json=body).json["url"]).json for body in bodies]

    assert (alone.status_code, alone.json["code"]) == (404, "excluded_repository")
    assert f">{excluded}</th>" in compared.text  # as in the address
    assert [row["full_name"] for row in jobs[0]["predictions"]] == [shown]
    assert [error["code"] for error in jobs[0]["errors"]] == ["excluded_repository"]
    assert jobs[1]["error"]["code"] == "excluded_repository"
    stored = json.dumps([job.to_json() for job in queue.jobs.values()])
    assert shown in stored
    assert excluded.lower() not in stored.lower()

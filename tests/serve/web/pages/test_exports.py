"""Files, badges and social cards of a result."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from flask.testing import FlaskClient
from PIL import Image

from stargaze.serve.web.pages import exports
from stargaze.serve.web.request_parsing import parse_request
from stargaze.serve.web.views.images import render_badge, render_card
from tests.serve.fake_queue import NOW
from tests.waiting import acting_when

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATH = "/api/v1/predictions"


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[0, 300, 900]])


def test_a_result_is_exported_as_csv(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    job = page.post(PATH, json={"repositories": names}).json
    queue.work()

    answer = page.get(f"/predictions/{job['id']}.csv")

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["full_name"] for row in rows} == set(names)
    assert all(float(row["interval_low"]) <= float(row["expected_stars"]) for row in rows)
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_a_repository_without_an_answer_is_a_row_with_its_error(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    queue.is_instant = True
    job = page.post(PATH, json={"repositories": [names[0], "no/such-one"]}).json

    rows = list(csv.DictReader(io.StringIO(page.get(f"/predictions/{job['id']}.csv").text)))

    assert [row["full_name"] for row in rows] == [names[0], "no/such-one"]
    assert "no/such-one" in rows[1]["error"]
    assert rows[1]["expected_stars"] == ""


def test_a_formula_in_a_name_is_escaped(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    job = page.post(PATH, json={"repositories": names[:1]}).json
    queue.work()
    queue.jobs[job["id"]].answer["predictions"][0]["full_name"] = "=HYPERLINK(1)"

    assert "'=HYPERLINK(1)" in page.get(f"/predictions/{job['id']}.csv").text


def test_a_result_is_exported_as_json(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    job = page.post(PATH, json={"repositories": names}).json
    queue.work()

    assert page.get(f"/predictions/{job['id']}.json").json == page.get(job["url"]).json


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_pending_job_has_no_file(page: FlaskClient, names: list[str], suffix: str) -> None:
    job = page.post(PATH, json={"repositories": names}).json

    assert page.get(f"/predictions/{job['id']}.{suffix}").status_code == 404


def test_the_permalink_submits_once_and_shows_the_result(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    first, again = (page.get(f"/repositories/{names[0]}") for _ in range(2))
    assert [first.status_code, again.status_code, len(queue.jobs)] == [200, 200, 1]
    queue.work()

    html = page.get(f"/repositories/{names[0]}").text

    assert re.search(rf"<h1[^>]*>{names[0]}: about [\d,]+ stars expected", html)
    assert f'<link rel="canonical" href="http://localhost/repositories/{names[0]}">' in html
    assert f'content="http://localhost/card/{names[0]}.png"' in html


def test_a_badge_shows_the_expected_stars(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    queue.is_instant = True

    answered = page.get(f"/badge/{names[0]}.svg")

    assert ET.fromstring(answered.text).tag.endswith("svg")
    assert re.search(r"expected stars: [0-9.]+[kM]?", answered.text)
    assert answered.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "max-age=3600" in answered.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["badge/{}.svg", "card/{}.png"])
def test_the_first_picture_of_a_repository_shows_the_result(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str], path: str
) -> None:
    """It waits for the worker."""
    with acting_when(lambda: queue.jobs, queue.work):
        first = page.get(f"/{path.format(names[0])}")

    assert "max-age=3600" in first.headers["Cache-Control"]
    assert page.get(f"/{path.format(names[0])}").data == first.data


@pytest.mark.parametrize(("seconds", "age"), [(None, 3600), (90_000, 3600), (60, 60)])
def test_a_picture_is_cached_no_longer_than_its_answer_is_used(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str], seconds: int | None, age: int
) -> None:
    queue.submit(parse_request([names[0]], max_repositories=1, now=NOW))
    queue.work()
    expires_at = seconds and (NOW + timedelta(seconds=seconds)).isoformat()
    for job in queue.jobs.values():
        job.answer["expires_at"] = expires_at

    for path in (f"/badge/{names[0]}.svg", f"/card/{names[0]}.png"):
        assert page.get(path).headers["Cache-Control"] == f"public, max-age={age}"


def test_a_picture_without_a_result_is_neutral_and_cached_briefly(
    page: FlaskClient, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MAX_WAIT", 0.05)

    badge, card = page.get(f"/badge/{names[0]}.svg"), page.get(f"/card/{names[0]}.png")

    assert "expected stars: see page" in badge.text
    assert card.data == render_card(None, names[0])
    assert all(answer.headers["Cache-Control"] == "public, max-age=5" for answer in (badge, card))


@pytest.mark.parametrize("path", ["badge/{}.svg", "card/{}.png"])
def test_an_outage_is_no_unknown_repository(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str], path: str
) -> None:
    queue.closed = True

    answer = page.get(f"/{path.format(names[0])}")

    assert (answer.status_code, answer.mimetype.partition("/")[0]) == (503, "image")
    assert b"unknown" not in answer.data


@pytest.mark.parametrize("name", ["no/such-one", "a/..", "%3Cscript%3E/x"])
def test_an_unknown_repository_has_no_badge(page: FlaskClient, queue: FakePredictionQueue, name: str) -> None:
    queue.is_instant = True

    answer = page.get(f"/badge/{name}.svg")

    assert answer.status_code == 404
    assert "<script" not in answer.text


def test_a_social_card_has_the_standard_size(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    queue.is_instant = True

    answer = page.get(f"/card/{names[0]}.png")

    for data in (answer.data, render_card(None, names[0])):
        picture = Image.open(io.BytesIO(data))
        assert (picture.format, picture.size) == ("PNG", (1200, 630))
        assert len(data) < 60_000


def test_a_long_name_is_shortened_on_the_card(page: FlaskClient) -> None:
    assert render_card(None, "a" * 39 + "/" + "b" * 100).startswith(b"\x89PNG")


def test_a_badge_is_well_formed_xml_with_any_text() -> None:
    assert ET.fromstring(render_badge("<&\"'>")).tag.endswith("svg")


def test_the_model_card_shows_accuracy_and_limitations(page: FlaskClient) -> None:
    html = page.get("/model").text

    assert "RMSLE" in html
    assert "Limitations" in html
    assert "No live estimate has been checked yet." in html


def test_the_api_page_links_the_openapi_document(page: FlaskClient) -> None:
    assert "/api/v1/openapi.json" in page.get("/try").text

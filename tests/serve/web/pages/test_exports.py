"""Files, badges and social cards of a result."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from flask.testing import FlaskClient
from PIL import Image

from stargaze.serve.web.pages.exports import render_badge, render_card

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
    assert answer.headers["Content-Disposition"].startswith("attachment")


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

    assert "stars expected</h1>" in html
    assert f'<link rel="canonical" href="http://localhost/repositories/{names[0]}">' in html
    assert f'content="http://localhost/card/{names[0]}.png"' in html


def test_a_badge_shows_the_expected_stars(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    waiting = page.get(f"/badge/{names[0]}.svg")
    queue.work()
    answered = page.get(f"/badge/{names[0]}.svg")

    assert "…" in waiting.text
    assert ET.fromstring(answered.text).tag.endswith("svg")
    assert re.search(r"expected stars: [0-9.]+[kM]?", answered.text)
    assert answered.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "max-age=3600" in answered.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["no/such-one", "a/..", "%3Cscript%3E/x"])
def test_an_unknown_repository_has_no_badge(page: FlaskClient, queue: FakePredictionQueue, name: str) -> None:
    page.get(f"/badge/{name}.svg")
    queue.work()

    answer = page.get(f"/badge/{name}.svg")

    assert answer.status_code == 404
    assert "<script" not in answer.text


def test_a_social_card_has_the_standard_size(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    pending = page.get(f"/card/{names[0]}.png")
    queue.work()
    finished = page.get(f"/card/{names[0]}.png")

    for answer in (pending, finished):
        picture = Image.open(io.BytesIO(answer.data))
        assert (picture.format, picture.size) == ("PNG", (1200, 630))
        assert len(answer.data) < 60_000
    assert pending.data != finished.data


def test_a_long_name_is_shortened_on_the_card(page: FlaskClient) -> None:
    assert render_card(None, "a" * 39 + "/" + "b" * 100).startswith(b"\x89PNG")


def test_a_badge_is_well_formed_xml_with_any_text() -> None:
    assert ET.fromstring(render_badge("<&\"'>")).tag.endswith("svg")


def test_a_what_if_shows_both_estimates(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    job = page.post(PATH, json={"repositories": names}).json
    queue.work()
    html = page.get(job["page"]).text
    token = re.search(r'name="token" value="([^"]+)"', html)
    assert token
    form = {"token": token[1], "job": job["id"], "repository": names[1], "readme_length": "90000"}

    location = page.post("/what-if", data=form).location
    queue.work()

    html = page.get(location).text
    assert html.count('class="card"') == 1
    assert re.search(r"[\d,]+ → [\d,]+ stars", html)
    assert "Correlation, not advice" in html


def test_the_model_card_shows_accuracy_and_limitations(page: FlaskClient) -> None:
    html = page.get("/model").text

    assert "RMSLE" in html
    assert "Limitations" in html
    assert "No live estimate has been checked yet." in html


def test_the_api_page_links_the_openapi_document(page: FlaskClient) -> None:
    assert "/api/v1/openapi.json" in page.get("/try").text

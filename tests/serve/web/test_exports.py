"""An answer for other places."""

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

from stargaze.serve.web.images import badge, card

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATH = "/api/v1/predictions"


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[0, 300, 900]])


def test_an_answer_is_a_table(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    job = page.post(PATH, json={"repositories": names}).json
    queue.work()

    answer = page.get(f"/predictions/{job['id']}.csv")

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["full_name"] for row in rows} == set(names)
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_a_formula_in_a_name_stays_text_in_a_spreadsheet(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    job = page.post(PATH, json={"repositories": names[:1]}).json
    queue.work()
    queue.jobs[job["id"]].answer["predictions"][0]["full_name"] = "=HYPERLINK(1)"

    assert "'=HYPERLINK(1)" in page.get(f"/predictions/{job['id']}.csv").text


def test_an_answer_is_a_file_of_json(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    job = page.post(PATH, json={"repositories": names}).json
    queue.work()

    assert page.get(f"/predictions/{job['id']}.json").json == page.get(job["url"]).json


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_what_is_not_answered_yet_is_no_file(page: FlaskClient, names: list[str], suffix: str) -> None:
    job = page.post(PATH, json={"repositories": names}).json

    assert page.get(f"/predictions/{job['id']}.{suffix}").status_code == 404


def test_the_address_of_a_repository_asks_once_and_shows_the_answer(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    first, again = (page.get(f"/of/{names[0]}") for _ in range(2))
    assert [first.status_code, again.status_code, len(queue.jobs)] == [200, 200, 1]
    queue.work()

    html = page.get(f"/of/{names[0]}").text

    assert "stars, most likely" in html
    assert f'<link rel="canonical" href="http://localhost/of/{names[0]}">' in html
    assert f'content="http://localhost/card/{names[0]}.png"' in html


def test_a_badge_tells_what_is_expected(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    waiting = page.get(f"/badge/{names[0]}.svg")
    queue.work()
    answered = page.get(f"/badge/{names[0]}.svg")

    assert "…" in waiting.text
    assert ET.fromstring(answered.text).tag.endswith("svg")
    assert re.search(r"stars expected: [0-9.]+[kM]?", answered.text)
    assert answered.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "max-age=3600" in answered.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["no/such-one", "a/..", "%3Cscript%3E/x"])
def test_a_repository_that_nobody_knows_has_no_badge(page: FlaskClient, queue: FakePredictionQueue, name: str) -> None:
    page.get(f"/badge/{name}.svg")
    queue.work()

    answer = page.get(f"/badge/{name}.svg")

    assert answer.status_code == 404
    assert "<script" not in answer.text


def test_a_card_is_a_picture_of_the_size_that_is_asked_for(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    early = page.get(f"/card/{names[0]}.png")
    queue.work()
    found = page.get(f"/card/{names[0]}.png")

    for answer in (early, found):
        picture = Image.open(io.BytesIO(answer.data))
        assert (picture.format, picture.size) == ("PNG", (1200, 630))
        assert len(answer.data) < 60_000
    assert early.data != found.data


def test_a_name_that_is_too_long_for_a_card_is_cut(page: FlaskClient) -> None:
    assert card(None, "a" * 39 + "/" + "b" * 100).startswith(b"\x89PNG")


def test_a_badge_is_well_formed_whatever_it_says() -> None:
    assert ET.fromstring(badge("<&\"'>")).tag.endswith("svg")


def test_what_if_leads_to_an_answer_with_both_numbers(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    job = page.post(PATH, json={"repositories": names}).json
    queue.work()
    html = page.get(job["page"]).text
    token = re.search(r'name="token" value="([^"]+)"', html)
    assert token
    form = {"token": token[1], "job": job["id"], "repository": names[1], "readme_length": "90000"}

    there = page.post("/what-if", data=form).location
    queue.work()

    html = page.get(there).text
    assert html.count('class="card"') == 1
    assert re.search(r"[\d,]+ → [\d,]+ stars", html)
    assert "An association in the data, not advice" in html


def test_the_model_tells_how_good_it_is_and_its_limits(page: FlaskClient) -> None:
    html = page.get("/model").text

    assert "RMSLE" in html
    assert "Its limits" in html
    assert "No prediction of it was seen again yet." in html


def test_the_api_can_be_tried(page: FlaskClient) -> None:
    assert "/api/v1/openapi.json" in page.get("/try").text

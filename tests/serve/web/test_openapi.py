"""The description of the API and what the API says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import pandas as pd
import pytest
from flask.testing import FlaskClient

from stargaze.features.ingest.user_input import FORM_FIELDS

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue


@pytest.fixture
def described(page: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = page.get("/api/v1/openapi.json").json
    return found


def test_all_that_is_answered_is_described_and_the_reverse(
    page: FlaskClient, queue: FakePredictionQueue, described: dict[str, Any], sample: pd.DataFrame
) -> None:
    name = sample["full_name"].iloc[300]
    asked = {"repositories": [name], "what_if": {"license": "mit"}}
    url = page.post("/api/v1/predictions", json=asked).json["url"]
    queue.work()
    job = page.get(url).json
    schemas = described["components"]["schemas"]

    assert set(job) == set(schemas["Job"]["properties"])
    prediction = job["predictions"][0]
    assert set(prediction) == set(schemas["Prediction"]["properties"])
    for name in ("factors", "similar"):
        assert set(prediction[name][0]) == set(schemas["Prediction"]["properties"][name]["items"]["properties"])
    assert set(prediction["what_if"]) == set(schemas["Prediction"]["properties"]["what_if"]["properties"])


def test_every_figure_that_can_be_typed_is_described(described: dict[str, Any]) -> None:
    figures = described["components"]["schemas"]["Question"]["properties"]["figures"]["items"]["properties"]

    assert set(figures) == {field.name for field in FORM_FIELDS}


def test_every_refusal_has_one_shape(page: FlaskClient, described: dict[str, Any]) -> None:
    answers = [
        page.get("/api/v1/predictions/none"),
        page.get("/api/v1/nothing"),
        page.put("/api/v1/predictions"),
        page.post("/api/v1/predictions", data="x"),
        page.post("/api/v1/predictions", data="x", content_type="application/json"),
        page.post("/api/v1/predictions", data=b" " * 70_000, content_type="application/json"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 405, 415, 400, 413]
    assert all(set(answer.json["error"]) == {"message", "hint"} for answer in answers)


@pytest.mark.parametrize(
    ("names", "figures", "fits"), [(5, 0, True), (0, 5, True), (2, 3, True), (3, 3, False), (0, 0, False)]
)
def test_what_is_too_much_is_too_much_for_the_description_as_well(
    page: FlaskClient, described: dict[str, Any], names: int, figures: int, fits: bool
) -> None:
    body = {
        "repositories": [f"a/b{number}" for number in range(names)],
        "figures": [{"full_name": f"c/d{number}"} for number in range(figures)],
    }
    schemas = {**described["components"]["schemas"]["Question"], "components": described["components"]}

    assert jsonschema.Draft202012Validator(schemas).is_valid(body) is fits
    assert (page.post("/api/v1/predictions", json=body).status_code == 202) is fits


def test_the_example_of_the_description_can_be_asked(page: FlaskClient, described: dict[str, Any]) -> None:
    example = described["paths"]["/api/v1/predictions"]["post"]["requestBody"]["content"]["application/json"]["example"]

    assert page.post("/api/v1/predictions", json=example).status_code == 202


def test_an_answer_is_valid_by_its_own_description(
    page: FlaskClient, queue: FakePredictionQueue, described: dict[str, Any], sample: pd.DataFrame
) -> None:
    url = page.post("/api/v1/predictions", json={"repositories": [sample["full_name"].iloc[300]]}).json["url"]
    schema = {"$ref": "#/components/schemas/Job", "components": described["components"]}
    validator = jsonschema.Draft202012Validator(schema)

    validator.validate(page.get(url).json)
    queue.work()
    validator.validate(page.get(url).json)

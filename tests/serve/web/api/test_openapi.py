"""The OpenAPI document agrees with the responses."""

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
def document(page: FlaskClient) -> dict[str, Any]:
    body: dict[str, Any] = page.get("/api/v1/openapi.json").json
    return body


def test_the_document_has_exactly_the_fields_of_the_responses(
    page: FlaskClient, queue: FakePredictionQueue, document: dict[str, Any], sample: pd.DataFrame
) -> None:
    name = sample["full_name"].iloc[300]
    body = {"repositories": [name], "what_if": {"license": "mit"}}
    url = page.post("/api/v1/predictions", json=body).json["url"]
    queue.work()
    job = page.get(url).json
    schemas = document["components"]["schemas"]

    assert set(job) == set(schemas["PredictionJob"]["properties"])
    prediction = job["predictions"][0]
    assert set(prediction) == set(schemas["Prediction"]["properties"])
    properties = schemas["Prediction"]["properties"]
    for name in ("similar", "controls"):
        assert set(prediction[name][0]) == set(properties[name]["items"]["properties"])
    explanation = properties["explanation"]["properties"]
    assert set(prediction["explanation"]) == set(explanation)
    assert set(prediction["explanation"]["factors"][0]) == set(explanation["factors"]["items"]["properties"])
    assert set(prediction["what_if"]) == set(schemas["Prediction"]["properties"]["what_if"]["properties"])


def test_the_document_has_all_form_fields(document: dict[str, Any]) -> None:
    figures = document["components"]["schemas"]["PredictionRequest"]["properties"]["figures"]["items"]["properties"]

    assert set(figures) == {field.name for field in FORM_FIELDS}


def test_all_errors_have_the_same_form(page: FlaskClient, document: dict[str, Any]) -> None:
    answers = [
        page.get("/api/v1/predictions/none"),
        page.get("/api/v1/nothing"),
        page.put("/api/v1/predictions"),
        page.post("/api/v1/predictions", data="x"),
        page.post("/api/v1/predictions", data="x", content_type="application/json"),
        page.post("/api/v1/predictions", data=b" " * 70_000, content_type="application/json"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 405, 415, 400, 413]
    codes = [
        *(
            "not_found",
            "not_found",
            "method_not_allowed",
            "unsupported_media_type",
            "invalid_request",
            "body_too_large",
        ),
    ]
    assert [answer.json["code"] for answer in answers] == codes
    for answer in answers:
        assert answer.mimetype == "application/problem+json"
        assert set(answer.json) == {"type", "title", "status", "detail", "code", "hint", "request_id"}
        assert answer.json["status"] == answer.status_code
        assert answer.json["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("names", "figures", "is_valid"), [(5, 0, True), (0, 5, True), (2, 3, True), (3, 3, False), (0, 0, False)]
)
def test_the_document_has_the_limit_of_repositories(
    page: FlaskClient, document: dict[str, Any], names: int, figures: int, is_valid: bool
) -> None:
    body = {
        "repositories": [f"a/b{number}" for number in range(names)],
        "figures": [{"full_name": f"c/d{number}"} for number in range(figures)],
    }
    schemas = {**document["components"]["schemas"]["PredictionRequest"], "components": document["components"]}

    assert jsonschema.Draft202012Validator(schemas).is_valid(body) is is_valid
    assert (page.post("/api/v1/predictions", json=body).status_code == 202) is is_valid


def test_the_example_is_accepted(page: FlaskClient, document: dict[str, Any]) -> None:
    example = document["paths"]["/api/v1/predictions"]["post"]["requestBody"]["content"]["application/json"]["example"]

    assert page.post("/api/v1/predictions", json=example).status_code == 202


def test_responses_match_the_document(
    page: FlaskClient, queue: FakePredictionQueue, document: dict[str, Any], sample: pd.DataFrame
) -> None:
    url = page.post("/api/v1/predictions", json={"repositories": [sample["full_name"].iloc[300]]}).json["url"]
    schema = {"$ref": "#/components/schemas/PredictionJob", "components": document["components"]}
    validator = jsonschema.Draft202012Validator(schema)

    validator.validate(page.get(url).json)
    queue.work()
    validator.validate(page.get(url).json)

"""Real responses of each kind have exactly the headers, media types and fields of the OpenAPI document."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jsonschema
import pandas as pd
import pytest
from flask.testing import FlaskClient

from stargaze.serve.web.problems import PROBLEMS

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

GET, POST = "/api/v1/repositories/{owner}/{name}", "/api/v1/predictions"
JOB = "/api/v1/predictions/{id}"


@pytest.fixture
def document(page: FlaskClient) -> dict[str, Any]:
    body: dict[str, Any] = page.get("/api/v1/openapi.json").json
    return body


def check_response(document: dict[str, Any], path: str, method: str, answer: Any) -> None:
    """Compare a response with its description."""
    described = document["paths"][path][method]["responses"][str(answer.status_code)]
    for name, header in described["headers"].items():
        is_required = document["components"]["headers"][header["$ref"].rpartition("/")[2]].get("required", False)
        assert name in answer.headers or not is_required, name
    for name in ("ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "Preference-Applied"):
        assert name in described["headers"] or name not in answer.headers, name
    if answer.status_code == 304:
        return
    (media_type,) = described["content"]
    assert answer.mimetype == media_type
    schema = described["content"][media_type]["schema"] | {"components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json)


def test_each_response_is_as_described(
    page: FlaskClient, queue: FakePredictionQueue, document: dict[str, Any], sample: pd.DataFrame
) -> None:
    name = sample["full_name"].iloc[300]
    address, waits = f"/api/v1/repositories/{name}", {"Prefer": "wait=1"}
    answers = [(GET, "get", page.get(address, headers={"Prefer": "wait=0"}))]
    queue.work()
    answers += [(GET, "get", page.get(address, headers=waits)), (GET, "get", page.get(f"{address}?stars=1"))]
    tag = answers[1][2].headers["ETag"]
    answers += [(GET, "get", page.get(address, headers={"If-None-Match": tag}))]
    queue.is_instant = True
    answers += [(GET, "get", page.get("/api/v1/repositories/no/such-one"))]
    answers += [(POST, "post", page.post(POST, json={"repositories": [name]}, headers=waits))]
    answers += [(POST, "post", page.post(POST, json={"repositories": [name]}))]
    answers += [(POST, "post", page.post(POST, json={})), (POST, "post", page.post(POST, data="x"))]
    job = answers[-3][2].json["url"]
    answers += [(JOB, "get", page.get(job)), (JOB, "get", page.get(f"{POST}/none"))]
    queue.closed = True
    answers += [(GET, "get", page.get(address)), (POST, "post", page.post(POST, json={"repositories": [name]}))]
    answers += [(JOB, "get", page.get(job))]

    statuses = [answer.status_code for _, _, answer in answers]
    assert statuses == [202, 200, 400, 304, 404, 200, 202, 400, 415, 200, 404, 503, 503, 503]
    for path, method, answer in answers:
        check_response(document, path, method, answer)


@pytest.mark.parametrize(
    "code", [code for code, (status, _) in PROBLEMS.items() if status in (400, 404, 500, 502, 503)]
)
def test_a_failed_job_of_each_kind_is_as_described(
    page: FlaskClient, queue: FakePredictionQueue, document: dict[str, Any], code: str
) -> None:
    page.get("/api/v1/repositories/a/b", headers={"Prefer": "wait=0"})
    (job,) = queue.jobs.values()
    error = {"code": code, "message": "a test", "hint": ""}
    queue.jobs[job.id] = dataclasses.replace(job, state="failed", error=error)

    check_response(document, JOB, "get", page.get(f"/api/v1/predictions/{job.id}"))
    check_response(document, GET, "get", page.get("/api/v1/repositories/a/b", headers={"Prefer": "wait=0"}))


def test_each_example_is_valid(document: dict[str, Any]) -> None:
    count = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            contents = [operation.get("requestBody", {}).get("content", {})]
            contents += [response.get("content", {}) for response in operation["responses"].values()]
            for content in contents:
                for described in content.values():
                    if "example" in described:
                        schema = described["schema"] | {"components": document["components"]}
                        jsonschema.Draft202012Validator(schema).validate(described["example"])
                        count += 1
    assert count > 15


def test_all_references_exist(document: dict[str, Any]) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for item in value.values() for found in references(item)]
        return [found for item in value for found in references(item)] if isinstance(value, list) else []

    for reference in references(document):
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]

"""The JSON API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from stargaze.serve.web.api.routes import MAX_WAIT, preferred_wait

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATH = "/api/v1/predictions"


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[0, 300, 900]])


def test_an_accepted_request_returns_a_job_with_its_url(page: FlaskClient, names: list[str]) -> None:
    answer = page.post(PATH, json={"repositories": names})

    assert answer.status_code == 202
    assert answer.json["state"] == "queued"
    assert answer.headers["Location"] == answer.json["url"] == f"{PATH}/{answer.json['id']}"


def test_predictions_are_ranked(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    url = page.post(PATH, json={"repositories": names}).json["url"]
    queue.work()

    answer = page.get(url).json

    assert answer["state"] == "done"
    assert [row["rank"] for row in answer["predictions"]] == [1, 2, 3]
    assert set(names) == {row["full_name"] for row in answer["predictions"]}


def test_figures_can_be_submitted(page: FlaskClient, queue: FakePredictionQueue) -> None:
    url = page.post(PATH, json={"figures": [{"full_name": "me/mine", "forks": 12}]}).json["url"]
    queue.work()

    assert page.get(url).json["predictions"][0]["full_name"] == "me/mine"


@pytest.mark.parametrize("topics", ["web, http", ["web", "http"], []])
def test_topics_are_a_text_or_a_list(page: FlaskClient, queue: FakePredictionQueue, topics: Any) -> None:
    body = {"figures": [{"forks": 12, "topics": topics}], "what_if": {"topics": topics}}
    answer = page.post(PATH, json=body)
    queue.work()

    assert page.get(answer.json["url"]).json["state"] == "done"


@pytest.mark.parametrize("values", [{"topics": [1]}, {"language": ["C"]}, {"forks": [1]}])
def test_other_lists_are_refused_with_what_is_accepted(page: FlaskClient, values: Any) -> None:
    answer = page.post(PATH, json={"figures": [values]})

    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert "topics may be a list of texts" in answer.json["detail"]


def test_a_github_url_is_accepted_as_a_name(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    url = page.post(PATH, json={"repositories": [f"https://github.com/{names[0]}/issues"]}).json["url"]
    queue.work()

    assert page.get(url).json["predictions"][0]["full_name"] == names[0]


def test_an_unknown_repository_fails_with_a_message(page: FlaskClient, queue: FakePredictionQueue) -> None:
    url = page.post(PATH, json={"repositories": ["no/such-one"]}).json["url"]
    queue.work()

    answer = page.get(url).json

    assert answer["state"] == "failed"
    assert "no/such-one" in answer["error"]["message"]
    assert answer["predictions"] is None


@pytest.mark.thorough
@pytest.mark.parametrize(
    "body",
    [
        [],
        "a/b",
        None,
        {},
        {"repositories": []},
        {"repositories": "a/b"},
        {"repositories": [1]},
        {"repositories": [None]},
        {"repositories": ["../etc"]},
        {"repositories": ["a/b/../../etc"]},
        {"repositories": ["a/" + "b" * 10_000]},
        {"repositories": ["<script>alert(1)</script>"]},
        {"repositories": ["https://evil.example/a/b"]},
        {"repositories": ["a/b\u0000"]},
        {"repositories": [f"a/b{number}" for number in range(6)]},
        {"figures": {}},
        {"figures": [3]},
        {"figures": [{}]},
        {"figures": [{"full_name": "a/b", "forks": -1}]},
        {"figures": [{"full_name": "a/b", "forks": 1e400}]},
        {"figures": [{"full_name": "a/b", "created_at": "2999-01-01"}]},
        {"figures": [{"full_name": "a/b", "forsk": 1}]},
        {"figures": [{"full_name": "a/b", "forks": {"deep": []}}]},
        {"figures": [{"full_name": "a/b", "language": 3}]},
        {"figures": [{"full_name": "a/b", "license": ["mit"]}]},
        {"repository": ["a/b"]},
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_an_invalid_request_is_400_with_message_and_hint(
    page: FlaskClient, queue: FakePredictionQueue, body: Any
) -> None:
    answer = page.post(PATH, data=json.dumps(body), content_type="application/json")

    assert answer.status_code == 400
    assert answer.json["detail"]
    assert answer.json["hint"]
    assert len(answer.text) < 2_000
    assert queue.jobs == {}


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 50_000, '{"repositories": ["a/b"]}x', b"\xff\xfe"])
def test_a_body_that_is_not_json_is_400(page: FlaskClient, text: str | bytes) -> None:
    assert page.post(PATH, data=text, content_type="application/json").status_code == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"])
def test_another_content_type_is_415(page: FlaskClient, kind: str) -> None:
    """Browsers let forms of other sites send these without a preflight request."""
    answer = page.post(PATH, data='{"repositories": ["a/b"]}', content_type=kind)

    assert answer.status_code == 415
    assert "application/json" in answer.json["hint"]


@pytest.mark.parametrize(
    "wrong", ["00000000-0000-4000-8000-000000000000", "readiness", "x", "..%2F..%2Fx", "%00", "a" * 1_000]
)
def test_an_unknown_job_is_404(page: FlaskClient, wrong: str) -> None:
    answer = page.get(f"{PATH}/{wrong}")

    assert answer.status_code == 404
    assert answer.json["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_405(page: FlaskClient, method: str) -> None:
    answer = page.open(PATH, method=method)

    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.json["detail"]


def test_an_unavailable_queue_is_503_with_retry_after(page: FlaskClient, queue: FakePredictionQueue) -> None:
    queue.closed = True

    answer = page.post(PATH, json={"repositories": ["a/b"]})

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json["code"] == "queue_unavailable"


def test_a_repeated_idempotency_key_returns_the_same_job(page: FlaskClient, names: list[str]) -> None:
    headers = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}

    first, again = (page.post(PATH, json={"repositories": names}, headers=headers) for _ in range(2))

    assert first.json["id"] == again.json["id"]


def test_an_idempotency_key_with_a_different_request_is_422(page: FlaskClient, names: list[str]) -> None:
    headers = {"Idempotency-Key": "mine"}
    page.post(PATH, json={"repositories": names[:1]}, headers=headers)

    assert page.post(PATH, json={"repositories": names}, headers=headers).status_code == 422


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9"])
def test_an_invalid_idempotency_key_is_400(page: FlaskClient, names: list[str], key: str) -> None:
    answer = page.post(PATH, json={"repositories": names}, headers={"Idempotency-Key": key})

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json["detail"]


def test_a_what_if_is_a_separate_job(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    without = page.post(PATH, json={"repositories": names[:1]}).json
    changed = page.post(PATH, json={"repositories": names[:1], "what_if": {"license": "mit"}}).json
    queue.work()

    assert changed["id"] != without["id"]
    assert page.get(without["url"]).json["predictions"][0]["what_if"] is None
    assert page.get(changed["url"]).json["predictions"][0]["what_if"]["changes"][0]["field"] == "license"


@pytest.mark.parametrize(
    "what_if", [{"stars": 1}, {"readme_length": -1}, {"readme_length": "many"}, {"license": 3}, [], "mit"]
)
def test_an_invalid_what_if_is_400(page: FlaskClient, names: list[str], what_if: Any) -> None:
    assert page.post(PATH, json={"repositories": names[:1], "what_if": what_if}).status_code == 400


def test_the_explanation_can_be_omitted(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    url = page.post(PATH, json={"repositories": names[:1], "explain": False}).json["url"]
    queue.work()

    answer = page.get(url).json["predictions"][0]

    assert answer["explanation"] is None
    assert answer["expected_stars"] >= 0


def test_an_unchanged_result_is_304(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    url = page.post(PATH, json={"repositories": names[:1]}).json["url"]
    queue.work()
    tag = page.get(url).headers["ETag"]

    again = page.get(url, headers={"If-None-Match": tag})

    assert (again.status_code, again.data) == (304, b"")


def test_a_client_that_waits_gets_the_job_in_its_present_state(page: FlaskClient, names: list[str]) -> None:
    url = page.post(PATH, json={"repositories": names[:1]}).json["url"]

    answers = page.get(url, headers={"Prefer": "wait=0"}), page.get(url, headers={"Prefer": "wait=1"})

    assert [answer.json["state"] for answer in answers] == ["queued", "queued"]
    assert answers[1].headers["Preference-Applied"] == "wait=1"


@given(st.text(max_size=60))
def test_the_wait_is_limited_to_ten_seconds(text: str) -> None:
    assert 0.0 <= preferred_wait(text) <= MAX_WAIT
    assert 0.0 <= preferred_wait(f"wait={text}") <= MAX_WAIT


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_outside_json_are_rejected(page: FlaskClient, number: str) -> None:
    body = f'{{"figures": [{{"full_name": "me/mine", "forks": {number}}}]}}'

    assert page.post(PATH, data=body, content_type="application/json").status_code == 400

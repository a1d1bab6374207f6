"""The pages without JavaScript."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue


def token(page: FlaskClient, path: str = "/") -> str:
    result = re.search(r'name="token" value="([^"]+)"', page.get(path).text)
    assert result
    return result[1]


def send(page: FlaskClient, text: str) -> TestResponse:
    return page.post("/", data={"token": token(page), "repositories": text})


def send_figures(page: FlaskClient, **figures: str) -> TestResponse:
    return page.post("/figures", data={"token": token(page, "/figures"), **figures})


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[0, 300, 900]])


def test_the_form_redirects_to_the_job(page: FlaskClient, names: list[str]) -> None:
    answer = send(page, "\n".join(names))

    assert answer.status_code == 303
    assert re.fullmatch(r"/predictions/[0-9a-f-]{36}", answer.location)


def test_a_pending_page_refreshes_itself(page: FlaskClient, names: list[str]) -> None:
    html = page.get(send(page, names[0]).location).text

    assert '<noscript><meta http-equiv="refresh"' in html
    assert 'data-poll="/api/v1/predictions/' in html
    assert 'role="status"' in html


def test_the_result_shows_ranking_interval_actual_stars_and_factors(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    url = send(page, "\n".join(names)).location
    queue.work()

    html = page.get(url).text

    assert html.count('class="card"') == 3
    assert f'href="https://github.com/{names[0]}"' in html
    assert "90% prediction interval: " in html
    assert re.search(r"(more than|less than|about as) expected", html)
    assert "× " in html
    assert "refresh" not in html


def test_the_footer_shows_the_release_and_its_accuracy(page: FlaskClient, queue: FakePredictionQueue) -> None:
    html = page.get("/").text

    assert queue.bundle.digest[:12] in html
    assert "2017-01-20" in html
    assert "RMSLE&nbsp;0.50" in html
    assert "90% of cases" in html


def test_the_examples_are_known_repositories(page: FlaskClient, names: list[str]) -> None:
    assert f'data-add="{names[0]}"' in page.get("/").text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "enter at least one repository"),
        (" \n \r\n", "enter at least one repository"),
        ("../etc", "is not the name of a repository"),
        ("a/" + "b" * 10_000, "too long"),
        ("\n".join(f"a/b{number}" for number in range(6)), "6 repositories are too many"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("https://evil.example/a/b", "is not on github.com"),
    ],
)
def test_an_invalid_name_shows_the_form_with_a_message(
    page: FlaskClient, queue: FakePredictionQueue, text: str, reason: str
) -> None:
    answer = send(page, text)

    assert answer.status_code == 400
    assert reason in answer.text
    assert 'role="alert"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert "<script>alert" not in answer.text
    assert queue.jobs == {}


def test_the_form_keeps_its_input(page: FlaskClient) -> None:
    assert "../etc</textarea>" in send(page, "../etc").text


def test_an_unknown_repository_shows_the_filled_form_with_a_message(
    page: FlaskClient, queue: FakePredictionQueue
) -> None:
    url = send(page, "no/such-one").location
    queue.work()

    html = page.get(url).text

    assert "not among the" in html
    assert "no/such-one</textarea>" in html


@pytest.mark.thorough
@pytest.mark.parametrize("path", ["/", "/figures"])
@pytest.mark.parametrize("sent", [None, "", "wrong", "ü"])
def test_a_form_without_the_csrf_token_is_rejected(
    page: FlaskClient, queue: FakePredictionQueue, path: str, sent: str | None
) -> None:
    """Another site can submit the form, but cannot read the token."""
    token(page)
    data = {"repositories": "a/b"} | ({} if sent is None else {"token": sent})

    answer = page.post(path, data=data)

    assert answer.status_code == 400
    assert queue.jobs == {}


def test_a_csrf_token_without_its_cookie_is_rejected(page: FlaskClient, queue: FakePredictionQueue) -> None:
    stolen = token(page)
    page.delete_cookie("stargaze")

    assert page.post("/", data={"token": stolen, "repositories": "a/b"}).status_code == 400
    assert queue.jobs == {}


def test_entered_figures_are_compared_with_a_known_repository(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    url = send_figures(page, full_name="me/mine", forks="12", repositories=names[0]).location
    queue.work()

    html = page.get(url).text

    assert html.count('class="card"') == 2
    assert 'href="https://github.com/me/mine"' not in html


@pytest.mark.parametrize(
    "figures",
    [
        {"forks": "12"},
        {"full_name": "me/mine", "forks": "-1"},
        {"full_name": "me/mine", "forks": "a few"},
        {"full_name": "me/mine", "created_at": "2999-01-01"},
        {"full_name": '"><script>alert(1)</script>'},
    ],
)
def test_impossible_figures_show_the_form_with_a_message(
    page: FlaskClient, queue: FakePredictionQueue, figures: dict[str, str]
) -> None:
    answer = send_figures(page, **figures)

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert "<script>alert" not in answer.text
    assert queue.jobs == {}


def test_every_control_has_a_label(page: FlaskClient) -> None:
    html = page.get("/figures").text
    controls = re.findall(r'<(?:input|select|textarea)[^>]* id="([^"]+)"', html)

    assert len(controls) > 10
    assert all(f'<label for="{control}"' in html for control in controls)


def test_the_form_keeps_its_input_when_the_queue_is_unavailable(page: FlaskClient, queue: FakePredictionQueue) -> None:
    form = token(page)
    queue.closed = True

    answer = page.post("/", data={"token": form, "repositories": "a/b"})

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "a/b</textarea>" in answer.text


@pytest.mark.parametrize("wrong", ["00000000-0000-4000-8000-000000000000", "x", "..%2F..%2Fx"])
def test_an_unknown_job_is_404(page: FlaskClient, wrong: str) -> None:
    assert page.get(f"/predictions/{wrong}").status_code == 404


def test_search_finds_names_by_a_part(page: FlaskClient, names: list[str]) -> None:
    assert names[0] in page.get("/repositories", query_string={"query": names[0][:6]}).json


def test_an_empty_search_finds_nothing(page: FlaskClient) -> None:
    assert page.get("/repositories").json == []


def test_an_invalid_what_if_shows_the_result_with_a_message(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    url = send(page, names[0]).location
    queue.work()
    data = {"token": token(page), "job": url.rpartition("/")[2], "repository": names[0], "latest_release_at": "soon"}

    answer = page.post("/what-if", data=data)

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert answer.text.count('class="card"') == 1


def test_the_form_has_only_fields_that_the_bundle_uses(page: FlaskClient) -> None:
    """The small bundle does not use the wiki or the downloads."""
    html = page.get("/figures").text

    assert 'name="forks"' in html
    assert 'name="has_wiki"' not in html
    assert 'name="downloads"' not in html


def test_a_pending_permalink_refreshes_to_the_job(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    html = page.get(f"/repositories/{names[0]}").text

    assert f"url=/predictions/{next(iter(queue.jobs))}" in html
    assert f'property="og:image" content="http://localhost/card/{names[0]}.png"' in html

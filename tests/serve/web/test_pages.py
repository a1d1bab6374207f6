"""The page as a browser without JavaScript sees it."""

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
    found = re.search(r'name="token" value="([^"]+)"', page.get(path).text)
    assert found
    return found[1]


def send(page: FlaskClient, text: str) -> TestResponse:
    return page.post("/", data={"token": token(page), "repositories": text})


def send_figures(page: FlaskClient, **figures: str) -> TestResponse:
    return page.post("/figures", data={"token": token(page, "/figures"), **figures})


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[0, 300, 900]])


def test_the_form_leads_to_a_permanent_address(page: FlaskClient, names: list[str]) -> None:
    answer = send(page, "\n".join(names))

    assert answer.status_code == 303
    assert re.fullmatch(r"/predictions/[0-9a-f-]{36}", answer.location)


def test_while_it_waits_the_page_refreshes_itself_without_javascript(page: FlaskClient, names: list[str]) -> None:
    html = page.get(send(page, names[0]).location).text

    assert '<noscript><meta http-equiv="refresh"' in html
    assert 'data-poll="/api/v1/predictions/' in html
    assert 'role="status"' in html


def test_the_answer_ranks_with_range_truth_and_factors(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    url = send(page, "\n".join(names)).location
    queue.work()

    html = page.get(url).text

    assert html.count('class="card"') == 3
    assert f'href="https://github.com/{names[0]}"' in html
    assert "In 90 of 100 cases the true count lies between" in html
    assert "expected for such a repository" in html
    assert "× " in html
    assert "refresh" not in html


def test_the_page_says_which_release_answers_and_how_good_it_is(page: FlaskClient, queue: FakePredictionQueue) -> None:
    html = page.get("/").text

    assert queue.bundle.digest[:12] in html
    assert "2017-01-20" in html
    assert "RMSLE&nbsp;0.50" in html
    assert "90&nbsp;of 100" in html


def test_the_examples_exist(page: FlaskClient, names: list[str]) -> None:
    assert f'data-add="{names[0]}"' in page.get("/").text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing to predict yet"),
        (" \n \r\n", "nothing to predict yet"),
        ("../etc", "is not the name of a repository"),
        ("a/" + "b" * 10_000, "too long"),
        ("\n".join(f"a/b{number}" for number in range(6)), "6 repositories are too many"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("https://evil.example/a/b", "is not on github.com"),
    ],
)
def test_a_wrong_name_shows_the_form_again_with_the_reason(
    page: FlaskClient, queue: FakePredictionQueue, text: str, reason: str
) -> None:
    answer = send(page, text)

    assert answer.status_code == 400
    assert reason in answer.text
    assert 'role="alert"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert "<script>alert" not in answer.text
    assert queue.jobs == {}


def test_what_was_typed_stays(page: FlaskClient) -> None:
    assert "../etc</textarea>" in send(page, "../etc").text


def test_an_unknown_name_is_named_beside_the_filled_form(page: FlaskClient, queue: FakePredictionQueue) -> None:
    url = send(page, "no/such-one").location
    queue.work()

    html = page.get(url).text

    assert "not among the" in html
    assert "no/such-one</textarea>" in html


@pytest.mark.parametrize("path", ["/", "/figures"])
@pytest.mark.parametrize("sent", [None, "", "wrong", "ü"])
def test_a_form_without_the_right_token_is_refused(
    page: FlaskClient, queue: FakePredictionQueue, path: str, sent: str | None
) -> None:
    """Another site can make a browser send the form, but cannot read the token."""
    token(page)
    data = {"repositories": "a/b"} | ({} if sent is None else {"token": sent})

    answer = page.post(path, data=data)

    assert answer.status_code == 400
    assert queue.jobs == {}


def test_a_token_without_its_cookie_is_refused(page: FlaskClient, queue: FakePredictionQueue) -> None:
    stolen = token(page)
    page.delete_cookie("stargaze")

    assert page.post("/", data={"token": stolen, "repositories": "a/b"}).status_code == 400
    assert queue.jobs == {}


def test_typed_figures_are_predicted_beside_a_known_repository(
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
def test_figures_that_cannot_be_true_show_the_form_again(
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


def test_a_closed_queue_keeps_what_was_typed(page: FlaskClient, queue: FakePredictionQueue) -> None:
    form = token(page)
    queue.closed = True

    answer = page.post("/", data={"token": form, "repositories": "a/b"})

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "a/b</textarea>" in answer.text


@pytest.mark.parametrize("wrong", ["00000000-0000-4000-8000-000000000000", "x", "..%2F..%2Fx"])
def test_an_unknown_job_is_404(page: FlaskClient, wrong: str) -> None:
    assert page.get(f"/predictions/{wrong}").status_code == 404


def test_names_are_found_by_a_part_of_them(page: FlaskClient, names: list[str]) -> None:
    assert names[0] in page.get("/repositories", query_string={"like": names[0][:6]}).json


def test_nothing_typed_finds_nothing(page: FlaskClient) -> None:
    assert page.get("/repositories").json == []


def test_a_lever_that_cannot_be_is_explained_beside_the_answer(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    url = send(page, names[0]).location
    queue.work()
    data = {"token": token(page), "job": url.rpartition("/")[2], "repository": names[0], "latest_release_at": "soon"}

    answer = page.post("/what-if", data=data)

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert answer.text.count('class="card"') == 1


def test_the_form_asks_only_for_what_the_bundle_looks_at(page: FlaskClient) -> None:
    """The small bundle never looks at the wiki or the downloads."""
    html = page.get("/figures").text

    assert 'name="forks"' in html
    assert 'name="has_wiki"' not in html
    assert 'name="downloads"' not in html


def test_who_waits_is_led_to_the_job_and_never_asks_again(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    html = page.get(f"/of/{names[0]}").text

    assert f"url=/predictions/{next(iter(queue.jobs))}" in html
    assert f'property="og:image" content="http://localhost/card/{names[0]}.png"' in html

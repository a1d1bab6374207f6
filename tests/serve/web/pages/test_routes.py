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


def test_one_name_leads_to_the_page_of_the_repository(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    answer = send(page, f"<https://github.com/{names[0]}.git>, {names[0]}/")

    assert (answer.status_code, answer.location) == (303, f"/repositories/{names[0]}")
    assert len(queue.jobs) == 1


def test_a_pending_page_refreshes_itself(page: FlaskClient, names: list[str]) -> None:
    html = page.get(send(page, names[0]).location).text

    assert '<noscript><meta http-equiv="refresh"' in html
    assert 'data-poll="/api/v1/predictions/' in html
    assert 'role="status"' in html


def test_the_footer_shows_the_release_and_its_accuracy(page: FlaskClient, queue: FakePredictionQueue) -> None:
    html = page.get("/").text

    assert queue.bundle.digest[:12] in html
    assert "2017-01-20" in html
    assert "Trained on 2,000 public repositories, January 2017." in html
    assert "RMSLE&nbsp;0.50" in html
    assert "90% of cases" in html


def test_the_examples_are_known_repositories(page: FlaskClient, names: list[str]) -> None:
    assert f'data-add="{names[0]}"' in page.get("/").text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Enter at least one repository"),
        (" \n \r\n", "Enter at least one repository"),
        ("../etc", "is not the name of a repository"),
        ("a/" + "b" * 10_000, "too long"),
        ("\n".join(f"a/b{number}" for number in range(6)), "6 repositories are too many"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("https://evil.example/a/b", "is not on github.com"),
        ("a/b\nc/d/e\nhttps://gitlab.com/f/g", "is not on github.com"),
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
    job_page = f"/predictions/{next(iter(queue.jobs))}"
    queue.work()

    html = page.get(job_page).text

    assert url == "/repositories/no/such-one"
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
        {},
        {"full_name": "me/mine", "forks": "-1"},
        {"forks": "1", "repositories": "../etc"},
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


def test_invalid_figures_are_kept_with_the_reason_beside_each_field(
    page: FlaskClient, queue: FakePredictionQueue
) -> None:
    entered = {"full_name": "me/mine", "forks": "a few", "subscribers": "-3", "owner_type": "Robot", "language": "Zig"}

    answer = send_figures(page, **entered, repositories="a/b")

    assert answer.status_code == 400
    assert answer.headers["Cache-Control"] == "private, no-cache"  # for the button Back
    assert queue.jobs == {}
    assert "2 values are not valid" in answer.text
    for name, reason in (("forks", "Not a whole number"), ("subscribers", "A count cannot be negative")):
        control = re.search(rf'<input id="f-{name}"[^>]*>', answer.text)
        assert control
        assert 'aria-invalid="true"' in control[0]
        assert f'aria-describedby="e-{name}' in control[0]
        assert f'value="{entered[name]}"' in control[0]
        assert f'id="e-{name}">{reason}</p>' in answer.text
    assert 'value="Zig"' in answer.text
    assert '<option value="Robot" selected>' in answer.text
    assert "a/b</textarea>" in answer.text


def test_the_form_of_metrics_keeps_its_input_when_the_queue_is_unavailable(
    page: FlaskClient, queue: FakePredictionQueue
) -> None:
    form = token(page, "/figures")
    queue.closed = True

    answer = page.post("/figures", data={"token": form, "forks": "12"})

    assert answer.status_code == 503
    assert 'value="12"' in answer.text


@pytest.mark.parametrize("path", ["/", "/figures"])
def test_browsers_may_keep_a_form_for_the_way_back(page: FlaskClient, path: str) -> None:
    answer = page.get(path)

    assert "no-store" not in answer.headers["Cache-Control"]
    assert 'autocomplete="off"' not in answer.text.replace(
        '<input id="search" type="search" placeholder="e.g. electron" list="suggestions" autocomplete="off"', ""
    )


def test_one_value_without_a_name_is_enough(page: FlaskClient, queue: FakePredictionQueue) -> None:
    url = send_figures(page, forks="12").location
    queue.work()

    html = page.get(url).text

    assert "Custom repository" in html
    assert 'href="/figures?forks=12"' in html


def test_the_metrics_of_a_result_can_be_edited(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    url = send_figures(page, full_name="https://github.com/me/mine/", forks="12", repositories=names[0]).location
    queue.work()
    edit = re.search(r'href="(/figures[^"]+)"', page.get(url).text)
    assert edit

    html = page.get(edit[1].replace("&amp;", "&")).text

    assert 'value="me/mine"' in html
    assert 'value="12"' in html
    assert f"{names[0]}</textarea>" in html


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


def test_several_names_lead_to_the_comparison(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    answer = send(page, "\n".join([*names, names[0].upper()]))

    assert (answer.status_code, answer.location) == (303, f"/compare/{'...'.join(names)}")
    assert len(queue.jobs) == 1


def test_an_empty_search_finds_nothing(page: FlaskClient) -> None:
    assert page.get("/repositories").json == []


def test_the_form_has_only_fields_that_the_bundle_uses(page: FlaskClient) -> None:
    """The small bundle does not use the wiki or the downloads."""
    html = page.get("/figures").text

    assert 'name="forks"' in html
    assert 'name="has_wiki"' not in html
    assert 'name="downloads"' not in html


def test_the_address_of_a_waiting_page_is_valid_when_its_job_is_deleted(
    page: FlaskClient, queue: FakePredictionQueue
) -> None:
    page.get("/repositories/no/such-one")
    queue.work()
    (job,) = queue.jobs

    failed = page.get(f"/repositories/no/such-one?job={job}")
    other = page.get(f"/repositories/no/other?job={job}")

    assert (failed.status_code, "no/such-one: not among" in failed.text) == (404, True)
    assert "no/such-one" not in other.text
    queue.jobs.clear()
    assert page.get(f"/repositories/no/such-one?job={job}").status_code == 200
    assert len(queue.jobs) == 1


def test_a_pending_permalink_refreshes_to_the_job(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    html = page.get(f"/repositories/{names[0]}").text

    assert f"url=/repositories/{names[0]}?job={next(iter(queue.jobs))}" in html
    assert f'property="og:image" content="http://localhost/card/{names[0]}.png"' in html


def test_contradictory_figures_are_marked_with_the_labels_of_the_form(page: FlaskClient) -> None:
    """The bundle of the test uses open issues only, the form of an earlier release may have had the other field."""
    answer = send_figures(page, open_issues="5", issues="3")

    assert answer.status_code == 400
    assert 'id="e-open_issues">Issues must not be less than “Open issues”</p>' in answer.text
    assert "2 values are not valid; issues: issues must not be less than “Open issues”" in answer.text

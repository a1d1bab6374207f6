"""The comparison of several repositories."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from flask.testing import FlaskClient

from stargaze.errors import InvalidInputError
from stargaze.serve.web.pages.addresses import parse_compared

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[0, 300, 900]])


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a/b...c/d", ["a/b", "c/d"]),
        ("a/b....c/d", ["a/b.", "c/d"]),
        ("a/b.js...c/.d...e/f..g", ["a/b.js", "c/.d", "e/f..g"]),
        ("a/x...y...c/d", ["a/x...y", "c/d"]),
        ("a/b...A/B...c/d...a/b.git/", ["a/b", "c/d"]),
        ("a/b", ["a/b"]),
    ],
)
def test_names_may_contain_dots(path: str, names: list[str]) -> None:
    assert parse_compared(path, 5) == names


@pytest.mark.parametrize("path", ["a", "a...b", "...a/b", "a/b..c/d", "a/b...../d", "a/b...c/d/e"])
def test_another_path_is_invalid(path: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_compared(path, 5)


def compare(page: FlaskClient, queue: FakePredictionQueue, path: str) -> str:
    page.get(f"/compare/{path}")
    queue.work()
    answer = page.get(f"/compare/{path}")
    assert answer.status_code == 200
    return answer.text


def test_the_table_has_one_row_for_each_repository(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    html = compare(page, queue, "...".join(names))

    rows = re.findall(r'rowheader"><a href="/repositories/([^"]+)"', html)
    assert sorted(rows) == sorted(names)
    assert html.count('data-label="Main factors"><ul>') == 3
    assert "× " in html
    assert f'rel="canonical" href="http://localhost/compare/{"...".join(names)}"' in html


def test_an_unknown_repository_has_its_reason_and_the_others_their_answers(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    html = compare(page, queue, f"{names[0]}...no/such-one...{names[1]}")

    assert html.count('class="failed"') == 1
    assert "<strong>Not among the" in html
    assert 'href="/figures?full_name=no/such-one"' in html
    assert html.count('rowheader"><a') == 2
    assert "2 of 3 repositories answered, sorted by expected stars." in html


def test_a_repository_entered_by_two_names_is_one_row_that_says_so(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    compare(page, queue, f"{names[0]}...{names[1]}...{names[2]}")
    (job,) = queue.jobs.values()
    assert job.answer
    first, second, _ = job.answer["predictions"]
    second |= {"full_name": first["full_name"], "notes": ["was renamed: you entered an/old-name"]}

    html = page.get(f"/compare/{'...'.join(names)}").text

    assert html.count('rowheader"><a') == 2
    assert "It was renamed: you entered an/old-name." in html
    assert "2 repositories, sorted by expected stars." in html


def test_the_heading_counts_what_was_answered(page: FlaskClient, queue: FakePredictionQueue, names: list[str]) -> None:
    html = compare(page, queue, f"{names[0]}...no/one...no/two")

    assert f"Only estimate: {names[0]}</h1>" in html
    assert "1 of 3 repositories answered." in html


def test_an_estimate_without_enough_data_is_not_compared(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    path = f"{names[0]}...{names[1]}"
    page.get(f"/compare/{path}")
    queue.work()
    (job,) = queue.jobs.values()
    assert job.answer
    job.answer["predictions"][0]["enough_data"] = False

    html = page.get(f"/compare/{path}").text

    cells = re.findall(r'data-label="(?:Expected|Actual)">(.*?)</td>', html)
    assert "not enough data" in cells[0]
    assert "<br>" not in cells[1]
    assert re.search(r"<b>[\d,]+</b>", cells[2])
    assert "<br>" in cells[3]
    assert "Only estimate: " + job.answer["predictions"][1]["full_name"] in html

    job.answer["predictions"][1]["enough_data"] = False

    assert '<h1 tabindex="-1">Not enough data for a useful estimate</h1>' in page.get(f"/compare/{path}").text


@pytest.mark.parametrize(
    ("code", "hint", "is_shown", "has_links"),
    [
        ("unknown_repository", "Did you mean acme/metrics?", True, True),
        ("unknown_repository", "check its spelling, or enter its metrics instead", False, True),
        ("github_unavailable", "enter its metrics instead", False, True),
        ("excluded_repository", "ask who runs it", True, False),
    ],
)
def test_a_failed_row_has_its_hint_unless_the_link_says_the_same(
    page: FlaskClient,
    queue: FakePredictionQueue,
    names: list[str],
    code: str,
    hint: str,
    *,
    is_shown: bool,
    has_links: bool,
) -> None:
    path = f"{names[0]}...no/one"
    page.get(f"/compare/{path}")
    queue.work()
    (job,) = queue.jobs.values()
    assert job.answer
    job.answer["errors"] = [{"name": "no/one", "code": code, "message": "a reason", "hint": hint}]

    html = page.get(f"/compare/{path}").text

    assert (hint[1:] in html.replace(">Enter its metrics instead</a>", "")) == is_shown
    assert ('href="/figures?full_name=no/one"' in html) == has_links


@pytest.mark.parametrize(("by", "other"), [("date", "age"), ("age", "date")])
def test_the_histories_are_in_one_chart_by_date_or_by_age(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str], by: str, other: str
) -> None:
    path = "...".join(names)
    page.get(f"/compare/{path}")
    queue.work()
    (job,) = queue.jobs.values()
    assert job.answer
    for number, prediction in enumerate(job.answer["predictions"][:2]):
        days = [f"20{20 + number}-0{month}-01" for month in range(1, 9)]
        prediction["history"] = {"source": "github", "as_of": days[-1], "dates": days, "stars": list(range(8))}

    html = page.get(f"/compare/{path}?by={by}").text

    assert html.count('class="chart"') == 1
    assert f"Stars by {by}" in html
    assert ("Age counts from the first day of each star history that is known." in html) == (by == "age")
    assert f'href="/compare/{path}?by={other}#histories"' in html
    assert f"Without a star history: {job.answer['predictions'][2]['full_name']}" in html


def test_without_any_answer_the_names_can_be_corrected(page: FlaskClient, queue: FakePredictionQueue) -> None:
    page.get("/compare/no/one...no/two")
    job = next(iter(queue.jobs))
    queue.work()

    answer = page.get(f"/compare/no/one...no/two?job={job}")

    assert answer.status_code == 404
    assert "no/one\nno/two</textarea>" in answer.text
    assert len(queue.jobs) == 1


def test_a_pending_comparison_refreshes_to_its_own_job(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str]
) -> None:
    path = "...".join(names)

    html = page.get(f"/compare/{path}?by=age").text

    assert f"url=/compare/{path}?job={next(iter(queue.jobs))}&amp;by=age" in html
    assert f'data-page="/compare/{path}?job={next(iter(queue.jobs))}&amp;by=age"' in html
    assert "Calculating…</h1>" in html


@pytest.mark.parametrize("job", ["x", "00000000-0000-4000-8000-000000000000"])
def test_the_job_of_something_else_is_not_shown(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str], job: str
) -> None:
    assert page.get(f"/compare/{names[0]}...{names[1]}?job={job}").status_code == 200
    assert len(queue.jobs) == 1


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("a/b...A/B", "/repositories/a/b"),
        ("a/b...c/d...a/B", "/compare/a/b...c/d"),
        ("a/b...c/d.git", "/compare/a/b...c/d"),
        ("a/b...c/d/", "/compare/a/b...c/d"),
        ("a/b...c/d...a/b?by=age&x=1", "/compare/a/b...c/d?by=age"),
    ],
)
def test_duplicates_lead_to_the_canonical_address(page: FlaskClient, path: str, location: str) -> None:
    answer = page.get(f"/compare/{path}")

    assert (answer.status_code, answer.location) == (303, location)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a/b...c/d/e", "is not the name"),
        ("...".join(f"a/b{number}" for number in range(6)), "6 repositories are too many"),
    ],
)
def test_the_names_of_an_invalid_address_can_be_corrected(
    page: FlaskClient, queue: FakePredictionQueue, path: str, reason: str
) -> None:
    answer = page.get(f"/compare/{path}")

    assert answer.status_code == 400
    assert reason in answer.text
    assert path.replace("...", "\n") + "</textarea>" in answer.text
    assert queue.jobs == {}

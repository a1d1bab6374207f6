"""The result pages and the what-if in the address, without JavaScript."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from flask.testing import FlaskClient

from tests.serve.fake_queue import NOW, fail_job

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATH = "/api/v1/predictions"


@pytest.fixture
def name(sample: pd.DataFrame, queue: FakePredictionQueue) -> str:
    queue.is_instant = True
    return str(sample["full_name"].iloc[0])


@pytest.fixture
def control(page: FlaskClient, name: str) -> str:
    """A number that the answering model uses."""
    job = page.post(PATH, json={"repositories": [name]}).json
    return next(item["field"] for item in job["predictions"][0]["controls"] if item["kind"] == "number")


def difference(text: str) -> str:
    """Return the text beside the what-if's form."""
    found = re.search(r"data-difference>(.*?)</p>", text, re.DOTALL)
    assert found
    return html.unescape(re.sub(r"<[^>]+>", "", found[1])).strip()


def field(text: str, name: str) -> tuple[str, str]:
    """Return value and error of a text control."""
    found = re.search(rf'name="{name}"[^>]* value="([^"]*)".*?data-error>(.*?)</p>', text, re.DOTALL)
    assert found
    return html.unescape(found[1]), html.unescape(found[2])


def test_the_explanation_ends_at_the_number_shown(page: FlaskClient, sample: pd.DataFrame, name: str) -> None:
    names = [name, *sample["full_name"].iloc[[40, 300, 900, 1500]]]
    text = page.get(page.post(PATH, json={"repositories": names}).json["page"]).text

    shown = re.findall(r'class="strong[^"]*">([\d,]+) expected<', text)
    tables = re.findall(r"<tbody role.*?</tbody>", text, re.DOTALL)

    assert len(shown) == len(tables) == len(names)
    for expected, table in zip(shown, tables, strict=True):
        values = [float(value.replace(",", "")) for value in re.findall(r">([\d.,]+) stars<", table)]
        factors = [float(value.replace(",", "")) for value in re.findall(r">× ([\d.,]+)<", table)]
        assert round(values[-1]) == int(expected.replace(",", ""))
        assert (values[0] + 1) * math.prod(factors) == pytest.approx(values[-1] + 1, rel=0.006)


def test_the_address_holds_the_values_of_a_what_if(page: FlaskClient, name: str, control: str) -> None:
    answer = page.get(f"/repositories/{name}?{control}=3")

    assert answer.status_code == 200
    assert re.match(r"[\d,]+ → [\d,]+ stars, × ", difference(answer.text))
    assert "→ 3" in difference(answer.text)
    assert field(answer.text, control) == ("3", "")
    assert "Correlation, not advice" in answer.text
    assert f'<link rel="canonical" href="http://localhost/repositories/{name}">' in answer.text


@pytest.mark.parametrize("value", ["many", "-3", "<b>"])
def test_an_invalid_value_is_kept_with_the_reason_beside_it(
    page: FlaskClient, name: str, control: str, value: str
) -> None:
    answer = page.get(f"/repositories/{name}", query_string={control: value})

    assert answer.status_code == 400
    kept, error = field(answer.text, control)
    assert kept == value
    assert error
    assert difference(answer.text) == ""
    assert answer.text.count('class="card"') == 1


def test_a_field_without_effect_is_refused_with_a_reason(page: FlaskClient, name: str) -> None:
    answer = page.get(f"/repositories/{name}?stars=1")

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert answer.text.count('class="card"') == 1


@pytest.mark.parametrize("query", ["", "utm_source=feed", "contributors=", "contributors=%20"])
def test_other_arguments_and_empty_values_change_nothing(
    page: FlaskClient, queue: FakePredictionQueue, name: str, query: str
) -> None:
    answer = page.get(f"/repositories/{name}?{query}")

    assert answer.status_code == 200
    assert [job.request.what_if for job in queue.jobs.values() if job.request] == [{}]


def test_entered_figures_have_a_what_if(page: FlaskClient, name: str, control: str) -> None:
    job = page.post(PATH, json={"figures": [{"full_name": "me/mine", "forks": 12, "subscribers": 3}]}).json

    before = page.get(job["page"]).text
    changed = page.get(f"{job['page']}?{control}=900")

    assert f'action="{job["page"]}#what-if-1"' in before
    assert changed.status_code == 200
    assert re.match(r"[\d,]+ → [\d,]+ stars", difference(changed.text))
    assert f'action="{job["page"]}#what-if-1"' in changed.text


def test_one_of_several_entered_repositories_is_changed(page: FlaskClient, name: str, control: str) -> None:
    rows = [{"full_name": "me/first", "forks": 12}, {"full_name": "me/second", "forks": 700}]
    job = page.post(PATH, json={"figures": rows}).json

    changed = page.get(f"{job['page']}?repository=me/second&{control}=3", follow_redirects=True)

    assert changed.text.count('class="card"') == 1
    assert "me/second: " in changed.text
    assert changed.request.query_string.decode() == f"{control}=3", "the address holds the state"
    again = page.get(f"{changed.request.path}?{control}=4").text
    assert "me/second: " in again, "as the form without JavaScript sends it"
    assert "→ 4" in difference(again)


def test_figures_without_a_name_have_a_what_if(page: FlaskClient, name: str, control: str) -> None:
    job = page.post(PATH, json={"figures": [{"forks": 12}]}).json

    changed = page.get(f"{job['page']}?{control}=900")

    assert changed.status_code == 200
    assert "→ 900" in difference(changed.text)


def test_repositories_of_equal_or_no_names_have_what_ifs_of_their_own(
    page: FlaskClient, name: str, control: str
) -> None:
    figures = [{control: "3"}, {control: "4"}, {"full_name": name, control: "5"}]
    job = page.post(PATH, json={"figures": figures, "repositories": [name]}).json
    text = page.get(job["page"]).text

    assert "data-what-if" not in text, "the address of several repositories holds no what-if"
    links = re.findall(r'<a href="([^"]+)">What if', text)
    forms = [page.get(html.unescape(link), follow_redirects=True) for link in links]
    bodies = [
        json.loads(html.unescape(body)) for form in forms for body in re.findall(r'data-request="([^"]*)"', form.text)
    ]
    assert [form.request.path in form.text for form in forms] == [True] * 4

    sources = [(item["full_name"], item["source"]) for item in job["predictions"]]
    assert len(set(sources)) == 4
    expected = [*({"figures": [row]} for row in figures), {"repositories": [name]}]
    assert len(bodies) == len(expected)
    assert all(body in expected for body in bodies)
    assert all(body in bodies for body in expected)
    second = next(own_name for own_name, _ in sources if own_name.endswith(" 2"))
    query = {"repository": second, control: "9"}
    changed = page.get(job["page"], query_string=query, follow_redirects=True).text
    assert "4 → 9" in difference(changed)


@pytest.mark.parametrize("query", ["", "?license=mit"])
def test_the_page_of_an_unknown_repository_is_404(page: FlaskClient, name: str, query: str) -> None:
    answer = page.get(f"/repositories/no/such-one{query}")

    assert answer.status_code == 404
    assert "no/such-one</textarea>" in answer.text


def test_the_canonical_address_has_the_name_of_the_answer(page: FlaskClient, name: str) -> None:
    text = page.get(f"/repositories/{name.swapcase()}").text

    assert f'<link rel="canonical" href="http://localhost/repositories/{name}">' in text


def test_a_slash_at_the_end_is_accepted(page: FlaskClient, name: str) -> None:
    assert page.get(f"/repositories/{name}/").status_code == 200


def test_failed_metrics_can_be_edited(page: FlaskClient, queue: FakePredictionQueue) -> None:
    queue.is_instant = False
    job = page.post(PATH, json={"figures": [{"full_name": "me/mine", "forks": 12}]}).json
    error = {"code": "worker_died", "message": "a test", "hint": ""}
    queue.jobs[job["id"]] = dataclasses.replace(queue.jobs[job["id"]], state="failed", error=error)

    shown = html.unescape(page.get(job["page"]).text)

    found = re.search(r'<a class="button" href="/figures([^"]+)">Edit</a>', shown)
    assert found
    assert {"full_name=me/mine", "forks=12"} == set(found[1].removeprefix("?").split("&"))


def test_edit_keeps_the_input(page: FlaskClient, name: str) -> None:
    job = page.post(PATH, json={"repositories": [name], "figures": [{"full_name": "me/mine", "forks": 12}]}).json

    found = re.search(r'<a class="button" href="([^"]+)">Edit</a>', page.get(job["page"]).text)
    assert found
    address = html.unescape(found[1])
    form = page.get(address).text

    assert address.startswith("/figures?")
    assert 'value="12"' in form
    assert 'value="me/mine"' in form


def test_an_unknown_name_does_not_hide_the_others(page: FlaskClient, name: str) -> None:
    job = page.post(PATH, json={"repositories": [name, "no/such-one"]}).json

    text = page.get(job["page"]).text

    assert text.count('class="card"') == 1
    assert "no/such-one" in text
    assert 'role="alert"' in text


@pytest.mark.parametrize("address", ["/repositories/a/b", "/compare/a/b...c/d"])
@pytest.mark.parametrize(("seconds", "header"), [(1800.2, "1801"), (None, "5")])
def test_a_temporary_error_says_when_to_retry(
    page: FlaskClient, queue: FakePredictionQueue, address: str, seconds: float | None, header: str
) -> None:
    page.get(address)
    fail_job(queue, "github_rate_limited")
    (job,) = queue.jobs.values()
    assert job.error
    if seconds:
        job.error["expires_at"] = (NOW + timedelta(seconds=seconds)).isoformat()

    answer = page.get(f"{address}?job={job.id}")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, header)
    assert "Retry-After" not in page.get(f"/predictions/{job.id}").headers, "the page of the job itself never changes"

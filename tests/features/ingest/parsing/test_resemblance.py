"""Columns of other tools resemble fields by their words."""

from __future__ import annotations

import pytest

from stargaze.features.ingest.parsing.resemblance import find_unused, list_names, resembled_field, suggest_column


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("star_count", "stars"),
        ("Total Stars", "stars"),
        ("n_contributors", "contributors"),
        ("licnse", "license"),
        ("mainLanguage", "language"),
        ("primaryLang", "language"),
        ("homepage", "has_homepage"),
        ("Created Timestamp", "created_at"),
        ("last_commit", "pushed_at"),
        ("languages_used", "languages"),
        ("prs", "pull_requests"),
        ("Topics List", "topics"),
        ("forks_url", ""),
        ("rank", ""),
        ("x" * 5000, ""),
        ("", ""),
    ],
)
def test_a_column_resembles_a_field(column: str, field: str) -> None:
    assert resembled_field(column) == field


@pytest.mark.parametrize(
    ("field", "header", "column"),
    [
        ("full_name", ["id", "repo_name", "name"], "repo_name"),
        ("stars", ["watch_count", "forks"], "watch_count"),
        ("stars", ["Number of Stars"], "Number of Stars"),
        ("stars", ["rank", "team"], "…"),
    ],
)
def test_a_column_is_suggested_for_a_field(field: str, header: list[str], column: str) -> None:
    assert suggest_column(field, header) == column


def test_a_filled_field_is_resembled_only_by_its_own_names() -> None:
    unused = find_unused(["full_name", "html_url", "stargazers_count", "team"], {"full_name"}, {"full_name", "stars"})

    assert unused == (("html_url", ""), ("stargazers_count", "stars"), ("team", ""))


def test_thousands_of_columns_take_no_time() -> None:
    unused = find_unused([f"{i} columns of a table" for i in range(50_000)], (), ())

    assert len(unused) == 50_000


def test_a_message_lists_some_names_of_a_wide_table() -> None:
    listed = list_names([f"column {i} {'x' * 90}" for i in range(30)])

    assert len(listed) < 350
    assert listed.startswith("column 0 x")
    assert listed.endswith(" more")


def test_quotes_of_a_name_are_listed_as_they_are() -> None:
    assert list_names(["'stars'", '"id"', "it's", "x" * 50]) == f"""'stars', "id", it's, {"x" * 40}"""


@pytest.mark.parametrize(
    ("field", "header", "column"),
    [
        ("stars", ["id", "fields.name", "fields.stars"], "fields.stars"),
        ("stars", ["id", "attributes.stargazers_count"], "attributes.stargazers_count"),
        ("full_name", ["id", "fields.full_name"], "fields.full_name"),
        ("full_name", ["Name", "Organization", "Github Repo"], "Github Repo"),
    ],
)
def test_the_column_of_a_field_may_be_inside_of_an_object(field: str, header: list[str], column: str) -> None:
    assert suggest_column(field, header) == column

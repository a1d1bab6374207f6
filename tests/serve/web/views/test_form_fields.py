"""The form of metrics: which fields it has, in which order."""

from __future__ import annotations

import pytest

from stargaze.features.ingest.user_input import FORM_FIELDS
from stargaze.serve.web.views.form_fields import FormField, form_fields, form_figures, source_fields, split_names

ALL_FIELDS = frozenset(field.name for field in FORM_FIELDS)


def names_of(fields: list[FormField]) -> list[str]:
    return [field.name for field in fields]


@pytest.mark.parametrize(
    "text", ["a/b\nc/d", "a/b\r\n c/d \n\n", "a/b, c/d", "a/b c/d", "a/b;c/d", "- a/b\n- c/d", "1. a/b\n2. c/d"]
)
def test_names_are_split_at_any_separator(text: str) -> None:
    assert split_names(text) == ["a/b", "c/d"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[flask](https://github.com/a/b) and", ["https://github.com/a/b", "and"]),
        ("[![build](https://x.io/y.svg)](https://github.com/a/b/actions)", ["https://github.com/a/b/actions"]),
        ("a / b", ["a/b"]),
        ("| a/b | c/d |", ["a/b", "c/d"]),
        ("git clone https://github.com/a/b.git\n$ gh repo clone c/d", ["https://github.com/a/b.git", "c/d"]),
        ("git clone --depth=1 git@github.com:a/b.git", ["git@github.com:a/b.git"]),
        ("clone/git, gh/repo", ["clone/git", "gh/repo"]),
    ],
)
def test_names_are_found_in_what_people_copy(text: str, names: list[str]) -> None:
    assert split_names(text) == names


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        *(("forks", text, "12345") for text in ("12345", "12,345", "12 345", "12\N{NO-BREAK SPACE}345")),
        *(("forks", text, text) for text in ("12,34", "1,2345", "1.5", "1,234 567", "k", "1.255k", "1.5x", "12.345")),
        *(("forks", text, value) for text, value in [("12.3k", "12300"), ("3K", "3000"), ("1.1M", "1100000")]),
        *(("forks", text, value) for text, value in [("1.25k", "1250"), ("4.321.000", "4321000"), ("12'345", "12345")]),
        ("description", "12,345", "12,345"),
    ],
)
def test_a_count_may_be_written_as_github_or_a_file_shows_it(field: str, text: str, value: str) -> None:
    assert form_figures({field: text}) == {field: value}


def test_an_empty_field_is_unknown() -> None:
    assert form_figures({"full_name": " a/b ", "forks": "", "token": "x", "else": "y"}) == {"full_name": "a/b"}


@pytest.mark.parametrize("importance", [{}, {"forks": 0.9, "language": 0.1}])
def test_every_field_is_in_the_form_once(importance: dict[str, float]) -> None:
    visible, folded = form_fields(ALL_FIELDS, importance, {})

    assert sorted(names_of(visible + folded)) == sorted(ALL_FIELDS)


def test_the_most_important_fields_come_first_and_are_visible() -> None:
    importance = {"subscribers": 0.6, "readme_length": 0.3, "has_wiki": 0.08, "owner_id": 0.02}

    visible, folded = form_fields(ALL_FIELDS, importance, {})

    assert names_of(visible)[:4] == ["full_name", "subscribers", "readme_length", "has_wiki"]
    assert not {"owner_id", "id", "node_id", "stars", "watchers"} & set(names_of(visible + folded))


def test_the_form_has_only_fields_that_the_bundle_uses() -> None:
    used = source_fields({"static": ["has_wiki", "owner_id"], "all": ["forks", "fork_rate"]})

    visible, folded = form_fields(used, {}, {})

    assert sorted(names_of(visible + folded)) == ["created_at", "fetched_at", "forks", "full_name", "has_wiki"]


def test_few_known_values_are_options_and_many_are_suggestions() -> None:
    languages = [f"language {number}" for number in range(9)]
    visible, folded = form_fields(
        frozenset({"owner_type", "language"}), {}, {"owner_type": ["User"], "language": languages}
    )
    fields = {field.name: field for field in visible + folded}

    assert fields["owner_type"].options == (("", "unknown"), ("User", "User"))
    assert fields["language"].suggestions == tuple(languages)


@pytest.mark.parametrize(
    ("control", "value", "shown"),
    [
        *(("number", "12", "number"), ("number", "", "number"), ("number", "a few", "text"), ("number", "-1", "text")),
        *(("date", "2020-01-02", "date"), ("date", "soon", "text"), ("text", "C", "text"), ("select", "1", "select")),
    ],
)
def test_a_value_that_its_control_cannot_show_is_a_text(control: str, value: str, shown: str) -> None:
    assert FormField("x", "X", "", control).control_for(value) == shown

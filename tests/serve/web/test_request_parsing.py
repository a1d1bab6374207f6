"""From what is sent to a question."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stargaze.errors import BadDataError
from stargaze.features.ingest.user_input import FORM_FIELDS
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.serve.web.request_parsing import (
    FIRST,
    figures_in,
    first_fields,
    looked_at,
    names_in,
    other_fields,
    parse_request,
    part_of,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["a/b\nc/d", "a/b\r\n c/d \n\n", "a/b, c/d", "a/b c/d"])
def test_names_are_split_however_they_are_typed(text: str) -> None:
    assert names_in(text) == ["a/b", "c/d"]


def test_a_name_that_is_typed_twice_is_asked_once() -> None:
    question = parse_request(["a/b", "https://github.com/A/B", "c/d"], [], most=5, now=NOW)

    assert len(question.repositories) == 2


def test_names_and_figures_count_together() -> None:
    with pytest.raises(BadDataError, match="2 repositories are too many"):
        parse_request(["a/b"], [{"full_name": "c/d"}], most=1, now=NOW)


def test_an_empty_control_means_not_known() -> None:
    assert figures_in({"full_name": " a/b ", "forks": "", "token": "x", "else": "y"}) == {"full_name": "a/b"}


EVERY = frozenset(field.name for field in FORM_FIELDS)


def test_every_field_is_asked_for_once() -> None:
    asked = [field.name for field in first_fields(EVERY) + other_fields(EVERY)]

    assert sorted(asked) == sorted(field.name for field in FORM_FIELDS)


def test_what_is_asked_first_exists() -> None:
    assert [field.name for field in first_fields(EVERY)] == list(FIRST)


def test_only_what_the_bundle_looks_at_is_asked_for() -> None:
    used = looked_at({"static": ["has_wiki"], "all": ["forks", "fork_rate"]})

    assert [field.name for field in first_fields(used)] == ["full_name", "created_at", "forks"]
    assert [field.name for field in other_fields(used)] == ["fetched_at", "has_wiki"]


def test_a_repository_that_was_renamed_is_asked_for_by_its_new_name() -> None:
    assert part_of(PredictionRequest(("old/name",)), "new/name") == (["new/name"], [])


def test_typed_figures_are_asked_for_again_as_they_were_typed() -> None:
    row = {"full_name": "me/mine", "forks": "3"}

    assert part_of(PredictionRequest(("a/b",), (row,)), "me/mine") == ([], [row])

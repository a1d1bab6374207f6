"""Requests are validated in one place, for forms and API."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stargaze.errors import BadDataError
from stargaze.features.ingest.user_input import FORM_FIELDS
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.serve.web.request_parsing import (
    MAIN_FIELDS,
    form_figures,
    main_fields,
    other_fields,
    parse_request,
    part_of,
    source_fields,
    split_names,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["a/b\nc/d", "a/b\r\n c/d \n\n", "a/b, c/d", "a/b c/d"])
def test_names_are_split_at_any_separator(text: str) -> None:
    assert split_names(text) == ["a/b", "c/d"]


def test_duplicate_names_are_removed() -> None:
    request = parse_request(["a/b", "https://github.com/A/B", "c/d"], max_repositories=5, now=NOW)

    assert len(request.repositories) == 2


def test_names_and_figures_share_the_limit() -> None:
    with pytest.raises(BadDataError, match="2 repositories are too many"):
        parse_request(["a/b"], [{"full_name": "c/d"}], max_repositories=1, now=NOW)


def test_an_empty_field_is_unknown() -> None:
    assert form_figures({"full_name": " a/b ", "forks": "", "token": "x", "else": "y"}) == {"full_name": "a/b"}


ALL_FIELDS = frozenset(field.name for field in FORM_FIELDS)


def test_every_field_is_in_the_form_once() -> None:
    names = [field.name for field in main_fields(ALL_FIELDS) + other_fields(ALL_FIELDS)]

    assert sorted(names) == sorted(field.name for field in FORM_FIELDS)


def test_the_main_fields_exist() -> None:
    assert [field.name for field in main_fields(ALL_FIELDS)] == list(MAIN_FIELDS)


def test_the_form_has_only_fields_that_the_bundle_uses() -> None:
    used = source_fields({"static": ["has_wiki"], "all": ["forks", "fork_rate"]})

    assert [field.name for field in main_fields(used)] == ["full_name", "created_at", "forks"]
    assert [field.name for field in other_fields(used)] == ["fetched_at", "has_wiki"]


def test_a_renamed_repository_is_requested_by_its_new_name() -> None:
    assert part_of(PredictionRequest(("old/name",)), "new/name") == (["new/name"], [])


def test_entered_figures_are_submitted_again_unchanged() -> None:
    row = {"full_name": "me/mine", "forks": "3"}

    assert part_of(PredictionRequest(("a/b",), (row,)), "me/mine") == ([], [row])

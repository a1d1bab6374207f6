"""Requests are validated in one place, for forms and API."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stargaze.errors import BadDataError
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.serve.web.request_parsing import parse_request, part_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_duplicate_names_are_removed() -> None:
    request = parse_request(["a/b", "https://github.com/A/B", "c/d"], max_repositories=5, now=NOW)

    assert len(request.repositories) == 2


def test_names_and_figures_share_the_limit() -> None:
    with pytest.raises(BadDataError, match="2 repositories are too many"):
        parse_request(["a/b"], [{"full_name": "c/d"}], max_repositories=1, now=NOW)


def test_a_renamed_repository_is_requested_by_its_new_name() -> None:
    assert part_of(PredictionRequest(("old/name",)), "new/name") == (["new/name"], [])


def test_entered_figures_are_submitted_again_unchanged() -> None:
    row = {"full_name": "me/mine", "forks": "3"}

    assert part_of(PredictionRequest(("a/b",), (row,)), "me/mine") == ([], [row])

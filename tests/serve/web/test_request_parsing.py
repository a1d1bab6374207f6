"""Requests are validated in one place, for forms and API."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stargaze.errors import BadDataError
from stargaze.serve.web.request_parsing import parse_request

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_duplicate_names_are_removed() -> None:
    request = parse_request(["a/b", "https://github.com/A/B", "c/d"], max_repositories=5, now=NOW)

    assert len(request.repositories) == 2


def test_names_and_figures_share_the_limit() -> None:
    with pytest.raises(BadDataError, match="2 repositories are too many"):
        parse_request(["a/b"], [{"full_name": "c/d"}], max_repositories=1, now=NOW)

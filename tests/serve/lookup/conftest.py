"""Deadlines that a busy machine does not exceed; the tests that measure time set their own."""

from __future__ import annotations

import pytest

from stargaze.serve.lookup import github_history, github_repositories, github_search


@pytest.fixture(autouse=True)
def generous_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each batch of requests a minute."""
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", 60.0)
    monkeypatch.setattr(github_history, "HISTORY_SECONDS", 60.0)
    monkeypatch.setattr(github_search, "SEARCH_SECONDS", 60.0)

"""Exports of GitHub Search (GHS), which have owner/name in ``name``, the stars in ``stargazers``, and ids of their own."""

from __future__ import annotations

from collections.abc import Container

GITHUB_SEARCH_COLUMNS = {
    "full_name": "name",
    "stars": "stargazers",
    "subscribers": "watchers",
    "language": "mainLanguage",
    "issues": "totalIssues",
    "open_issues": "openIssues",
    "pull_requests": "totalPullRequests",
    "open_pull_requests": "openPullRequests",
}
OWN_ID = "id"
"""The number of a row in GHS's database; it is not GitHub's id."""
_SIGNATURE = ("name", "stargazers", "mainLanguage", "isFork")
_GITHUB_NAMES = ("full_name", "fullName", "nameWithOwner", "owner")


def is_github_search(keys: Container[str]) -> bool:
    """Return whether the columns of a table, or the keys of a record, are those of GHS.

    Examples
    --------
    >>> is_github_search(["id", "name", "isFork", "mainLanguage", "stargazers"]), is_github_search(["name", "stargazers"])
    (True, False)
    """
    return all(key in keys for key in _SIGNATURE) and not any(key in keys for key in _GITHUB_NAMES)

"""What GraphQL is asked, in three requests of their own sizes, and how its answers become our fields.

Counts and commits are counted while GitHub answers: too many at once, and it gives up after ten seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stargaze.features import records

CORE = """fragment Core on Repository {
  id databaseId nameWithOwner description createdAt pushedAt updatedAt diskUsage forkCount stargazerCount
  isArchived isDisabled isFork isTemplate isMirror forkingAllowed webCommitSignoffRequired
  hasIssuesEnabled hasProjectsEnabled hasWikiEnabled hasDiscussionsEnabled homepageUrl
  licenseInfo { key } primaryLanguage { name } defaultBranchRef { name }
  owner { __typename login ... on User { databaseId } ... on Organization { databaseId } }
  repositoryTopics(first: 20) { nodes { topic { name } } }
}"""
COUNTS = """query Counts($ids: [ID!]!) {
  nodes(ids: $ids) { ... on Repository {
    id databaseId nameWithOwner
    watchers { totalCount } releases { totalCount } mentionableUsers { totalCount } discussions { totalCount }
    languages { totalCount }
    openIssues: issues(states: OPEN) { totalCount } closedIssues: issues(states: CLOSED) { totalCount }
    pullRequests { totalCount } openPullRequests: pullRequests(states: OPEN) { totalCount }
    mergedPullRequests: pullRequests(states: MERGED) { totalCount }
    latestRelease { publishedAt }
    readme: object(expression: "HEAD:README.md") { ... on Blob { byteSize } }
    owner { ... on User { followers { totalCount } } ... on Organization { membersWithRole { totalCount } } }
  } }
}"""
COMMITS = """query Commits($ids: [ID!]!) {
  nodes(ids: $ids) { ... on Repository {
    id databaseId nameWithOwner
    defaultBranchRef { target { ... on Commit { history { totalCount } } } }
  } }
}"""
ALIVE = """query Alive {
  repository(owner: "octocat", name: "Hello-World") {
    watchers { totalCount } defaultBranchRef { target { ... on Commit { history { totalCount } } } }
  }
}"""
"""Counts of GitHub's own example, which has few of anything; where GitHub Enterprise has none, that is an answer too."""

GONE = {"NOT_FOUND": "Not Found", "FORBIDDEN": "blocked"}
"""Types of errors at a node that say it is not there for us, and what we call that."""


@dataclass(frozen=True)
class Kind:
    """One kind of details: the query, and how many repositories at once to begin with."""

    name: str
    text: str
    first_size: int
    connections: int
    """Lists that GitHub goes to for each repository, which its points count."""


KINDS = (Kind("counts", COUNTS, 40, 12), Kind("commits", COMMITS, 40, 1))


def names_query(count: int) -> str:
    """Write the query for the core of so many repositories by name; renamed ones are found too."""
    arguments = ", ".join(f"$o{place}: String!, $n{place}: String!" for place in range(count))
    fields = "\n  ".join(
        f"r{place}: repository(owner: $o{place}, name: $n{place}) {{ ...Core }}" for place in range(count)
    )
    return f"query Names({arguments}) {{\n  {fields}\n}}\n{CORE}"


def names_variables(names: list[str]) -> dict[str, str]:
    """Give the names that :func:`names_query` asks about."""
    found = {}
    for place, name in enumerate(names):
        found[f"o{place}"], _, found[f"n{place}"] = name.partition("/")
    return found


def is_alive(data: Mapping[str, Any]) -> bool:
    """Tell from the answer to :data:`ALIVE` whether GitHub counts anything at the moment."""
    example = data["data"].get("repository")
    return isinstance(example, dict) or errors_by_place(data).get("repository") in GONE


def fields(node: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a node of :data:`COUNTS` or :data:`COMMITS` into our fields, without those that only name it.

    REST counts pull requests with the open issues; so does this, that a field means one thing.
    """
    row = records.read(dict(node))
    for name in ("id", "node_id", "full_name", "fetched_at", "owner_type", "owner_id"):
        row.pop(name, None)
    if "open_issues" in row:
        row["issues"] = row["open_issues"] + row.get("closed_issues", 0)
        row["open_issues"] += _total(node, "openPullRequests")
    return row


def errors_by_place(data: Mapping[str, Any]) -> dict[int | str, str]:
    """Tell the errors of single nodes: place among ``nodes``, or alias, and GitHub's type of the error."""
    found: dict[int | str, str] = {}
    for error in data.get("errors") or ():
        path = error.get("path") if isinstance(error, dict) else None
        if isinstance(path, list) and path:
            place = path[1] if path[0] == "nodes" and len(path) > 1 else path[0]
            found[place] = str(error.get("type") or error.get("message") or "unknown")
    return found


def _total(node: Mapping[str, Any], name: str) -> int:
    connection = node.get(name)
    count = connection.get("totalCount") if isinstance(connection, dict) else None
    return count if isinstance(count, int) else 0

"""What GraphQL is asked, in three requests of their own sizes, and how its answers become our fields.

Counts and commits are counted while GitHub answers: too many at once, and it gives up after ten seconds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stargaze.features.ingest import field_mapping as records

CORE_FRAGMENT = """fragment Core on Repository {
  id databaseId nameWithOwner description createdAt pushedAt updatedAt diskUsage forkCount stargazerCount
  isArchived isDisabled isFork isTemplate isMirror forkingAllowed webCommitSignoffRequired
  hasIssuesEnabled hasProjectsEnabled hasWikiEnabled hasDiscussionsEnabled homepageUrl
  licenseInfo { key } primaryLanguage { name } defaultBranchRef { name }
  owner { __typename login ... on User { databaseId } ... on Organization { databaseId } }
  repositoryTopics(first: 20) { nodes { topic { name } } }
}"""
COUNT_FIELDS = (
    "watchers { totalCount }",
    "releases { totalCount }",
    "mentionableUsers { totalCount }",
    "discussions { totalCount }",
    "languages { totalCount }",
    "openIssues: issues(states: OPEN) { totalCount }",
    "closedIssues: issues(states: CLOSED) { totalCount }",
    "pullRequests { totalCount }",
    "openPullRequests: pullRequests(states: OPEN) { totalCount }",
    "mergedPullRequests: pullRequests(states: MERGED) { totalCount }",
    "latestRelease { publishedAt }",
    'readme: object(expression: "HEAD:README.md") { ... on Blob { byteSize } }',
    "owner { ... on User { followers { totalCount } } ... on Organization { membersWithRole { totalCount } } }",
)
COMMIT_FIELDS = ("defaultBranchRef { target { ... on Commit { history { totalCount } } } }",)
ALIVE_QUERY = """query Alive {
  repository(owner: "octocat", name: "Hello-World") {
    watchers { totalCount } defaultBranchRef { target { ... on Commit { history { totalCount } } } }
  }
}"""
"""Counts of GitHub's own example, which has few of anything; where GitHub Enterprise has none, that is an answer too."""

GONE = "NOT_FOUND"
REFUSED = (GONE, "FORBIDDEN", "INSUFFICIENT_SCOPES")
"""Types of errors that stay as they are, however often the same is asked with this token."""


@dataclass(frozen=True)
class NodeError:
    """What went wrong at a node, or below it; below one that cannot be null, the whole node is null."""

    type: str
    message: str
    field: str = ""
    """The first below the node, empty where the error is the node's own."""

    @property
    def is_gone(self) -> bool:
        """Whether GitHub says that there is no such node; what it lacks below one is another matter."""
        return self.type == GONE and not self.field


@dataclass(frozen=True)
class Kind:
    """One kind of details: what is asked of each repository, and of how many at once to begin with."""

    name: str
    fields: tuple[str, ...]
    first_size: int
    connections: int
    """Lists that GitHub goes to for each repository, which its points count."""

    @property
    def text(self) -> str:
        """The query for all of it."""
        return self.without()

    @property
    def names(self) -> tuple[str, ...]:
        """What the fields are called in the answer."""
        return tuple(re.split(r"\W", field, maxsplit=1)[0] for field in self.fields)

    def without(self, refused: Collection[str] = ()) -> str:
        """Write the query without the fields of these names: a refused one would take the others with it.

        Examples
        --------
        >>> "membersWithRole" in KINDS[0].without(), "membersWithRole" in KINDS[0].without(["owner"])
        (True, False)
        """
        selected = [field for name, field in zip(self.names, self.fields, strict=True) if name not in refused]
        fields = "\n    ".join(["id databaseId nameWithOwner", *selected])
        title = self.name.capitalize()
        return f"query {title}($ids: [ID!]!) {{\n  nodes(ids: $ids) {{ ... on Repository {{\n    {fields}\n  }} }}\n}}"


KINDS = (Kind("counts", COUNT_FIELDS, 40, 12), Kind("commits", COMMIT_FIELDS, 40, 1))


def names_query(count: int, extra: str = "") -> str:
    """Write the query for the core of so many repositories by name, and fields beside it; renamed ones are found too."""
    arguments = ", ".join(f"$o{index}: String!, $n{index}: String!" for index in range(count))
    fields = "\n  ".join(
        f"r{index}: repository(owner: $o{index}, name: $n{index}) {{ ...Core {extra}}}" for index in range(count)
    )
    return f"query Names({arguments}) {{\n  {fields}\n}}\n{CORE_FRAGMENT}"


def names_variables(names: list[str]) -> dict[str, str]:
    """Give the names that :func:`names_query` asks about."""
    result = {}
    for index, name in enumerate(names):
        result[f"o{index}"], _, result[f"n{index}"] = name.partition("/")
    return result


def fields(node: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a node of one of the :data:`KINDS` into our fields, without those that only name it.

    REST counts pull requests with the open issues; so does this, that a field means one thing.
    """
    row = records.map_record(dict(node))
    for name in ("id", "node_id", "full_name", "fetched_at", "owner_type", "owner_id"):
        row.pop(name, None)
    if "open_issues" in row:
        row["issues"] = row["open_issues"] + row.get("closed_issues", 0)
        row["open_issues"] += _total(node, "openPullRequests")
    return row


def is_alive(data: Mapping[str, Any]) -> bool:
    """Tell from the answer to :data:`ALIVE` whether GitHub counts anything at the moment."""
    errors = errors_by_index(data).get("repository", [])
    answered = isinstance(data["data"].get("repository"), dict) or bool(errors)
    return answered and all(error.type in REFUSED for error in errors)


def errors_by_index(data: Mapping[str, Any]) -> dict[int | str, list[NodeError]]:
    """Tell the errors of single nodes: place among ``nodes``, or alias, and what GitHub says of it."""
    result: dict[int | str, list[NodeError]] = {}
    for error in data.get("errors") or ():
        path = error.get("path") if isinstance(error, dict) else None
        if isinstance(path, list) and path:
            index, *below = path[1:] if path[0] == "nodes" and len(path) > 1 else path
            text, kind = str(error.get("message") or "unknown"), str(error.get("type") or "")
            result.setdefault(index, []).append(NodeError(kind, text, str(below[0]) if below else ""))
    return result


def _total(node: Mapping[str, Any], name: str) -> int:
    connection = node.get(name)
    count = connection.get("totalCount") if isinstance(connection, dict) else None
    return count if isinstance(count, int) else 0

"""GraphQL queries, their adaptive batch size, and the conversion of their responses to feature fields.

GitHub computes counts and commits per query; with too many at once it gives up after ten seconds.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from stargaze.config import GithubSection
from stargaze.errors import ExternalError
from stargaze.features.github.api.client import Client, TooHeavyError
from stargaze.features.github.api.rate_limit import FIRST_RETRY, backoff
from stargaze.features.github.api.replies import RESUME_HINT, Reply
from stargaze.features.ingest.derive import begin_readme
from stargaze.features.ingest.field_mapping import map_record

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
"""Counts of GitHub's small example repository; NOT_FOUND on GitHub Enterprise is a valid response too."""

GONE = "NOT_FOUND"
REFUSED = (GONE, "FORBIDDEN", "INSUFFICIENT_SCOPES")
"""Permanent error types: a retry with the same token does not help."""
MAX_TRIES_ALONE = 3
"""Tries of a single item while GitHub works; some repositories have too many commits to count in ten seconds."""
MAX_TRIES_DOWN = 9
"""Consecutive failures while GitHub is down, over a quarter of an hour, before the command stops."""

T = TypeVar("T")


@dataclass(frozen=True)
class NodeError:
    """An error of a node or of a field below it; for a non-null field the whole node is null."""

    type: str
    message: str
    field: str = ""
    """The first field below the node, empty for an error of the node itself."""

    @property
    def is_gone(self) -> bool:
        """Whether the node itself does not exist."""
        return self.type == GONE and not self.field


@dataclass(frozen=True)
class Kind:
    """A kind of details: the fields per repository and the initial batch size."""

    name: str
    fields: tuple[str, ...]
    first_size: int
    connections: int
    """GraphQL connections per repository, which count as points."""

    @property
    def text(self) -> str:
        """The query with all fields."""
        return self.without()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields in the response."""
        return tuple(re.split(r"\W", field, maxsplit=1)[0] for field in self.fields)

    def without(self, refused: Collection[str] = ()) -> str:
        """Return the query without these fields; a refused field would make the others fail.

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
README = Kind("readmes", ('readme: object(expression: "HEAD:README.md") { ... on Blob { byteSize text } }',), 20, 0)
"""The text of the README, which a crawl fetches if ``github.readme`` is true."""


def names_query(count: int, extra: str = "") -> str:
    """Return the query of core and ``extra`` fields of ``count`` repositories by name; renamed ones are found too."""
    arguments = ", ".join(f"$o{index}: String!, $n{index}: String!" for index in range(count))
    fields = "\n  ".join(
        f"r{index}: repository(owner: $o{index}, name: $n{index}) {{ ...Core {extra}}}" for index in range(count)
    )
    return f"query Names({arguments}) {{\n  {fields}\n}}\n{CORE_FRAGMENT}"


def names_variables(names: list[str]) -> dict[str, str]:
    """Return the variables of :func:`names_query`."""
    result = {}
    for index, name in enumerate(names):
        result[f"o{index}"], _, result[f"n{index}"] = name.partition("/")
    return result


def parse_fields(node: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a node of one of the :data:`KINDS` to feature fields, without its identifiers.

    As in REST, pull requests count as open issues.
    """
    row = map_record(dict(node))
    for name in ("id", "node_id", "full_name", "fetched_at", "owner_type", "owner_id"):
        row.pop(name, None)
    if isinstance(row.get("open_issues"), int) and isinstance(row.get("closed_issues", 0), int):
        row["issues"] = row["open_issues"] + row.get("closed_issues", 0)
        row["open_issues"] += _total(node, "openPullRequests")
    if isinstance(text := row.pop("readme", None), str) and (beginning := begin_readme(text)):
        row["readme"] = beginning
    return row


def kinds_of(section: GithubSection) -> tuple[Kind, ...]:
    """Return the kinds of details that a crawl with a token fetches."""
    return (*KINDS, README) if section.readme else KINDS


def is_alive(data: Mapping[str, Any]) -> bool:
    """Return whether the response to :data:`ALIVE_QUERY` shows that GitHub works."""
    errors = errors_by_index(data).get("repository", [])
    answered = isinstance(data["data"].get("repository"), dict) or bool(errors)
    return answered and all(error.type in REFUSED for error in errors)


def errors_by_index(data: Mapping[str, Any]) -> dict[int | str, list[NodeError]]:
    """Return the errors of single nodes by index in ``nodes`` or by alias."""
    result: dict[int | str, list[NodeError]] = {}
    errors = data.get("errors")
    for error in errors if isinstance(errors, list) else ():
        path = error.get("path") if isinstance(error, dict) else None
        if isinstance(path, list) and path:
            index, *below = path[1:] if path[0] == "nodes" and len(path) > 1 else path
            if not isinstance(index, int | str):
                continue
            text, kind = str(error.get("message") or "unknown"), str(error.get("type") or "")
            result.setdefault(index, []).append(NodeError(kind, text, str(below[0]) if below else ""))
    return result


def _total(node: Mapping[str, Any], name: str) -> int:
    connection = node.get(name)
    count = connection.get("totalCount") if isinstance(connection, dict) else None
    return count if isinstance(count, int) else 0


@dataclass
class BatchSize:
    """The adaptive number of items per query."""

    current: int
    maximum: int = 100
    quick: float = 4.5
    """Seconds; GitHub gives up after ten, and the same query may take twice as long."""
    slow: float = 7.0

    def halve(self, count: int) -> None:
        """Halve the size after a missing or incomplete response."""
        self.current = max(min(self.current, count) // 2, 1)

    def adjust(self, duration: float, count: int) -> None:
        """Grow after a quick response to a full batch, shrink a little after a slow one."""
        if duration > self.slow:
            self.current = max(int(self.current * 0.8), 1)
        elif duration < self.quick and count >= self.current:
            self.current = min(self.current + max(self.current // 4, 1), self.maximum)


def query_in_batches(
    items: Iterable[T],
    size: BatchSize,
    query: Callable[[list[T]], Reply],
    store: Callable[[list[T], Reply], list[T]],
    give_up: Callable[[T], None],
    client: Client,
) -> None:
    """Query all items; ``store`` saves a reply and returns the items missing in it, ``give_up`` gets each failing item.

    Raise ExternalError if GitHub does not respond for long.
    """
    queue, check = deque(items), _FailureCheck(client)
    while queue:
        batch = [queue.popleft() for _ in range(min(size.current, len(queue)))]
        reason = "the response is incomplete"
        try:
            reply = query(batch)
            remaining = store(batch, reply)
        except TooHeavyError as error:
            remaining, reason = batch, str(error)
        if len(remaining) < len(batch):
            check = _FailureCheck(client)
        if not remaining:
            size.adjust(reply.duration, len(batch))
            continue
        size.halve(len(batch))
        if len(batch) == 1 and check.is_hopeless(reason):
            check = _FailureCheck(client)
            give_up(batch[0])
        else:
            queue.extendleft(reversed(remaining))


@dataclass
class _FailureCheck:
    """Distinguishes an item that is too heavy from GitHub being down, by a small query after each failure."""

    client: Client
    tries: int = 0
    tries_down: int = 0

    def is_hopeless(self, reason: str) -> bool:
        """Return whether to give the item up; if not, wait before the retry."""
        if _is_github_up(self.client):
            self.tries += 1
            if self.tries < MAX_TRIES_ALONE:
                self.client.wait_before_retry(reason, FIRST_RETRY)
            return self.tries >= MAX_TRIES_ALONE
        self.tries, self.tries_down = 0, self.tries_down + 1
        if self.tries_down > MAX_TRIES_DOWN:
            raise ExternalError(f"GitHub's GraphQL does not respond: {reason}", hint=RESUME_HINT)
        self.client.wait_before_retry(reason, backoff(self.tries_down - 1))
        return False


def _is_github_up(client: Client) -> bool:
    """Return whether GitHub answers a small query."""
    try:
        reply = client.query(ALIVE_QUERY, {})
    except TooHeavyError:
        return False
    return is_alive(reply.data)

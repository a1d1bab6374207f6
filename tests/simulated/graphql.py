"""GraphQL over the population: any selection is resolved, counted in points, and costs simulated time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    parse,
    value_from_ast_untyped,
)
from graphql.language import DocumentNode

from tests.simulated.population import LANGUAGES, LICENSES, TOPICS, Population, format_time, node_id, parse_node_id

BASE = 0.25
"""Minimum seconds of a query."""
ROW = 0.006
CONNECTION = 0.004
OBJECT = 0.006
COMMIT = 1e-5
"""Seconds to count one commit."""
TIMEOUT = 10.0
"""Timeout of a query [s]."""
SAML = "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to it."
REFUSED = object()
"""Placeholder of a refused non-null value."""


class RefusedError(Exception):
    """A non-null value is refused, which makes its nearest nullable parent null."""

    def __init__(self) -> None:
        super().__init__(SAML)
        self.path: list[str | int] = []


@dataclass
class Execution:
    """The state of one query: its cost grows while its fields are resolved."""

    population: Population
    variables: Mapping[str, Any]
    fragments: Mapping[str, FragmentDefinitionNode]
    seconds: float = BASE
    connections: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    reads_private: bool = False

    def can_read(self, row: int) -> bool:
        """Return whether a repository exists for this token."""
        return bool(self.population.exists[row] and (self.reads_private or not self.population.private[row]))

    @property
    def points(self) -> int:
        """GitHub's formula: the number of connections divided by 100, at least 1."""
        return max(1, round(self.connections / 100))


def execute(
    population: Population, query: str, variables: Mapping[str, Any], *, reads_private: bool = False
) -> tuple[dict[str, Any], Execution]:
    """Return the data of a query, and its state; raise GraphQLError for an invalid query."""
    document: DocumentNode = parse(query)
    fragments = {item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)}
    operation = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    run = Execution(population, variables, fragments, reads_private=reads_private)
    data: dict[str, Any] = {}
    for node in _fields(run, operation.selection_set, "Query"):
        key, arguments = _key(node), _arguments(run, node)
        if node.name.value == "nodes":
            rows = [run.population.row_by_id.get(parse_node_id(item)) for item in arguments["ids"]]
            data[key] = [_repository(run, row, node, [key, index]) for index, row in enumerate(rows)]
        elif node.name.value == "repository":
            row = population.find(f"{arguments['owner']}/{arguments['name']}")
            data[key] = _repository(run, row, node, [key])
        else:
            raise GraphQLError(f"Field '{node.name.value}' doesn't exist on type 'Query'")
    return data, run


def _repository(run: Execution, row: int | None, node: FieldNode, path: list[str | int]) -> dict[str, Any] | None:
    if row is None or not run.can_read(row):
        run.errors.append({"type": "NOT_FOUND", "path": path, "message": "Could not resolve to a node"})
        return None
    run.seconds += ROW
    try:
        return _object(run, node.selection_set, _Repository(run, row), "Repository")
    except RefusedError as error:  # only the owner's members are refused, and no nullable field is in between
        run.errors.append({"type": "FORBIDDEN", "path": [*path, *error.path], "message": SAML})
        return None


def _object(run: Execution, selection: SelectionSetNode | None, values: Any, kind: str) -> dict[str, Any]:
    values_by_key: dict[str, Any] = {}
    for node in _fields(run, selection, kind):
        try:
            values_by_key[_key(node)] = _value(run, node, values)
        except RefusedError as error:
            error.path.insert(0, _key(node))
            raise
    return values_by_key


def _value(run: Execution, node: FieldNode, values: Any) -> Any:
    value, inner = values.get(node.name.value, _arguments(run, node))
    if value is REFUSED:
        raise RefusedError
    if isinstance(value, list):
        return [_object(run, node.selection_set, item, inner) for item in value]
    is_object = value is not None and node.selection_set
    return _object(run, node.selection_set, value, inner) if is_object else value


def _fields(run: Execution, selection: SelectionSetNode | None, kind: str) -> Iterator[FieldNode]:
    """Yield the fields that apply to a type, including those of fragments."""
    for node in selection.selections if selection else ():
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            if node.type_condition is None or node.type_condition.name.value == kind:
                yield from _fields(run, node.selection_set, kind)
        elif isinstance(node, FragmentSpreadNode):
            fragment = run.fragments[node.name.value]
            if fragment.type_condition.name.value == kind:
                yield from _fields(run, fragment.selection_set, kind)


def _key(node: FieldNode) -> str:
    return node.alias.value if node.alias else node.name.value


def _arguments(run: Execution, node: FieldNode) -> dict[str, Any]:
    return {
        item.name.value: run.variables[item.value.name.value]
        if isinstance(item.value, VariableNode)
        else value_from_ast_untyped(item.value)
        for item in node.arguments or ()
    }


class _Values:
    """Values by name, each with the type of its fields."""

    def __init__(self, values: Mapping[str, Any], inner: str = "") -> None:
        self._values, self._inner = values, inner

    def get(self, name: str, _arguments: Mapping[str, Any]) -> tuple[Any, str]:
        return self._values[name], self._inner


class _Repository:
    """The fields of a repository; connections and commits cost time when they are resolved."""

    def __init__(self, run: Execution, row: int) -> None:
        self._run, self._row, self._population = run, row, run.population
        self._number = int(run.population.id[row])

    def get(self, name: str, arguments: Mapping[str, Any]) -> tuple[Any, str]:
        if name in COUNTED:
            self._run.connections += 1
            is_heavy = name == "mentionableUsers" and bool(self._population.heavy[self._row])
            self._run.seconds += CONNECTION + TIMEOUT * is_heavy
            return _Values({"totalCount": self._count(name, arguments), "nodes": []}), ""
        resolve = getattr(self, f"_{name}", None)
        return resolve() if resolve else (self._record_values()[name], "")

    def _count(self, name: str, arguments: Mapping[str, Any]) -> int:
        open_issues = int(self._population.issues[self._row])
        if name in ("issues", "pullRequests"):
            share = {"OPEN": 1, "CLOSED": 3, "MERGED": 2, None: 4}[arguments.get("states")]
            pull_requests = open_issues // 3  # REST counts both together
            return share * (open_issues - pull_requests if name == "issues" else pull_requests)
        counts = {
            "watchers": "subscribers",
            "stargazers": "stars",
            "forks": "forks",
            "mentionableUsers": "contributors",
        }
        if name in counts:
            return int(getattr(self._population, counts[name])[self._row])
        return (self._number * 31 + len(name)) % 50

    def _record_values(self) -> dict[str, Any]:
        record = self._population.record(self._row)
        flags = {
            f"has{name}Enabled": record[f"has_{name.lower()}"] for name in ("Issues", "Projects", "Wiki", "Discussions")
        }
        off = ("isArchived", "isDisabled", "isFork", "isTemplate", "isMirror", "isEmpty")
        return {
            **flags,
            **dict.fromkeys((*off, "webCommitSignoffRequired"), False),
            "isPrivate": record["private"],
            "id": record["node_id"],
            "databaseId": self._number,
            "nameWithOwner": record["full_name"],
            "description": record["description"],
            "createdAt": record["created_at"],
            "pushedAt": record["pushed_at"],
            "updatedAt": record["updated_at"],
            "diskUsage": record["size"],
            "forkCount": record["forks_count"],
            "stargazerCount": record["stargazers_count"],
            "forkingAllowed": True,
            "homepageUrl": record["homepage"],
        }

    def _licenseInfo(self) -> tuple[Any, str]:  # noqa: N802 # GitHub's name of the field
        license_ = LICENSES[self._number % 3]
        return (None if license_ is None else _Values({"key": license_[0], "spdxId": license_[2]})), "License"

    def _primaryLanguage(self) -> tuple[Any, str]:  # noqa: N802
        name = LANGUAGES[self._population.language[self._row]]
        return (None if name is None else _Values({"name": name})), "Language"

    def _latestRelease(self) -> tuple[Any, str]:  # noqa: N802
        return (
            _Values({"publishedAt": format_time(self._population.pushed[self._row])}) if self._number % 2 else None
        ), "Release"

    def _repositoryTopics(self) -> tuple[Any, str]:  # noqa: N802
        self._run.connections += 1
        topic = _Values({"topic": _Values({"name": TOPICS[self._number % 6]})}, "Topic")
        return _Values({"nodes": [topic], "totalCount": 1}, "RepositoryTopic"), "RepositoryTopicConnection"

    def _owner(self) -> tuple[Any, str]:
        kind = "Organization" if self._population.is_organization(self._row) else "User"
        self._run.seconds += CONNECTION
        count = _Values({"totalCount": self._number % 900})
        values = {"__typename": kind, "login": self._population.login(self._row), "databaseId": self._number % 9999 + 1}
        members = REFUSED if self._population.hides_members(self._row) else count
        return _Values({**values, "followers": count, "membersWithRole": members}), kind

    def _object(self) -> tuple[Any, str]:
        self._run.seconds += OBJECT
        return _Values({"byteSize": self._number % 20_000}), "Blob"

    def _defaultBranchRef(self) -> tuple[Any, str]:  # noqa: N802
        seconds = (
            CONNECTION + self._population.commits[self._row] * COMMIT + TIMEOUT * self._population.heavy[self._row]
        )
        return _Branch(self._run, int(self._population.commits[self._row]), float(seconds)), "Ref"


class _Branch:
    """The default branch with its commits, whose count costs time."""

    def __init__(self, run: Execution, commits: int, seconds: float) -> None:
        self._run, self._commits, self._seconds = run, commits, seconds

    def get(self, name: str, _arguments: Mapping[str, Any]) -> tuple[Any, str]:
        if name == "target":
            return self, "Commit"
        if name == "history":
            self._run.connections += 1
            self._run.seconds += self._seconds
            return _Values({"totalCount": self._commits}), "CommitHistoryConnection"
        return "main", ""


COUNTED = frozenset(
    [
        "watchers",
        "releases",
        "mentionableUsers",
        "discussions",
        "languages",
        "issues",
        "pullRequests",
        "stargazers",
        "forks",
    ]
)

__all__ = ["TIMEOUT", "Execution", "execute", "node_id"]

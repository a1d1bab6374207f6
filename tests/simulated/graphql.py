"""GraphQL over the population: any selection is walked, counted in points, and charged the time that it computes."""

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

from tests.simulated.population import LANGUAGES, LICENSES, TOPICS, Population, day, node_id, number_of

BASE = 0.25
"""Seconds that a query takes at least."""
ROW = 0.006
CONNECTION = 0.004
OBJECT = 0.006
COMMIT = 1e-5
"""Seconds to count one commit."""
LONGEST = 10.0
"""Seconds after which GitHub gives up."""
SAML = "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to it."
REFUSED = object()
"""In place of a value that cannot be null and is not shown."""


class RefusedError(Exception):
    """A value that cannot be null is refused: whatever holds it and cannot be null itself goes with it."""

    def __init__(self) -> None:
        super().__init__(SAML)
        self.path: list[str | int] = []


@dataclass
class Run:
    """One query as it is answered: its cost grows as it is walked."""

    people: Population
    variables: Mapping[str, Any]
    fragments: Mapping[str, FragmentDefinitionNode]
    seconds: float = BASE
    connections: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def points(self) -> int:
        """GitHub's formula: requests that the lists need, by the hundred, one at least."""
        return max(1, round(self.connections / 100))


def execute(people: Population, query: str, variables: Mapping[str, Any]) -> tuple[dict[str, Any], Run]:
    """Answer a query; GraphQLError where it cannot be read."""
    document: DocumentNode = parse(query)
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    operation = next(one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    run = Run(people, variables, fragments)
    data: dict[str, Any] = {}
    for node in _fields(run, operation.selection_set, "Query"):
        key, arguments = _key(node), _arguments(run, node)
        if node.name.value == "nodes":
            rows = [run.people.place.get(number_of(one)) for one in arguments["ids"]]
            data[key] = [_repository(run, row, node, [key, place]) for place, row in enumerate(rows)]
        elif node.name.value == "repository":
            row = people.find(f"{arguments['owner']}/{arguments['name']}")
            data[key] = _repository(run, row, node, [key])
        else:
            raise GraphQLError(f"Field '{node.name.value}' doesn't exist on type 'Query'")
    return data, run


def _repository(run: Run, row: int | None, node: FieldNode, path: list[str | int]) -> dict[str, Any] | None:
    if row is None or not run.people.here[row]:
        run.errors.append({"type": "NOT_FOUND", "path": path, "message": "Could not resolve to a node"})
        return None
    run.seconds += ROW
    try:
        return _object(run, node.selection_set, _Repository(run, row), "Repository")
    except RefusedError as error:  # of all that is asked for, only the owner's members are, and no null is between
        run.errors.append({"type": "FORBIDDEN", "path": [*path, *error.path], "message": SAML})
        return None


def _object(run: Run, selection: SelectionSetNode | None, values: Any, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in _fields(run, selection, kind):
        try:
            found[_key(node)] = _value(run, node, values)
        except RefusedError as error:
            error.path.insert(0, _key(node))
            raise
    return found


def _value(run: Run, node: FieldNode, values: Any) -> Any:
    value, inner = values.get(node.name.value, _arguments(run, node))
    if value is REFUSED:
        raise RefusedError
    if isinstance(value, list):
        return [_object(run, node.selection_set, one, inner) for one in value]
    is_object = value is not None and node.selection_set
    return _object(run, node.selection_set, value, inner) if is_object else value


def _fields(run: Run, selection: SelectionSetNode | None, kind: str) -> Iterator[FieldNode]:
    """Yield the fields that apply to a type, fragments opened."""
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


def _arguments(run: Run, node: FieldNode) -> dict[str, Any]:
    return {
        one.name.value: run.variables[one.value.name.value]
        if isinstance(one.value, VariableNode)
        else value_from_ast_untyped(one.value)
        for one in node.arguments or ()
    }


class _Plain:
    """Values by name; each is given with the type of what is below it."""

    def __init__(self, values: Mapping[str, Any], inner: str = "") -> None:
        self._values, self._inner = values, inner

    def get(self, name: str, _arguments: Mapping[str, Any]) -> tuple[Any, str]:
        return self._values[name], self._inner


class _Repository:
    """The fields of a repository; lists and commits are charged as they are asked for."""

    def __init__(self, run: Run, row: int) -> None:
        self._run, self._row, self._people = run, row, run.people
        self._number = int(run.people.id[row])

    def get(self, name: str, arguments: Mapping[str, Any]) -> tuple[Any, str]:
        if name in COUNTED:
            self._run.connections += 1
            is_heavy = name == "mentionableUsers" and bool(self._people.heavy[self._row])
            self._run.seconds += CONNECTION + LONGEST * is_heavy
            return _Plain({"totalCount": self._count(name, arguments), "nodes": []}), ""
        own = getattr(self, f"_{name}", None)
        return own() if own else (self._plain()[name], "")

    def _count(self, name: str, arguments: Mapping[str, Any]) -> int:
        open_issues = int(self._people.issues[self._row])
        if name in ("issues", "pullRequests"):
            share = {"OPEN": 1, "CLOSED": 3, "MERGED": 2, None: 4}[arguments.get("states")]
            return open_issues * share // (2 if name == "issues" else 3)
        return (self._number * 31 + len(name)) % 50

    def _plain(self) -> dict[str, Any]:
        record = self._people.record(self._row)
        flags = {
            f"has{name}Enabled": record[f"has_{name.lower()}"] for name in ("Issues", "Projects", "Wiki", "Discussions")
        }
        off = ("isArchived", "isDisabled", "isFork", "isTemplate", "isMirror", "isEmpty", "isPrivate")
        return {
            **flags,
            **dict.fromkeys((*off, "webCommitSignoffRequired"), False),
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
        known = LICENSES[self._number % 3]
        return (None if known is None else _Plain({"key": known[0], "spdxId": known[2]})), "License"

    def _primaryLanguage(self) -> tuple[Any, str]:  # noqa: N802
        name = LANGUAGES[self._people.language[self._row]]
        return (None if name is None else _Plain({"name": name})), "Language"

    def _latestRelease(self) -> tuple[Any, str]:  # noqa: N802
        return (_Plain({"publishedAt": day(self._people.pushed[self._row])}) if self._number % 2 else None), "Release"

    def _repositoryTopics(self) -> tuple[Any, str]:  # noqa: N802
        self._run.connections += 1
        topic = _Plain({"topic": _Plain({"name": TOPICS[self._number % 6]})}, "Topic")
        return _Plain({"nodes": [topic], "totalCount": 1}, "RepositoryTopic"), "RepositoryTopicConnection"

    def _owner(self) -> tuple[Any, str]:
        kind = "Organization" if self._people.is_organization(self._row) else "User"
        self._run.seconds += CONNECTION
        people = _Plain({"totalCount": self._number % 900})
        values = {"__typename": kind, "login": self._people.login(self._row), "databaseId": self._number % 9999 + 1}
        members = REFUSED if self._people.refuses_members(self._row) else people
        return _Plain({**values, "followers": people, "membersWithRole": members}), kind

    def _object(self) -> tuple[Any, str]:
        self._run.seconds += OBJECT
        return _Plain({"byteSize": self._number % 20_000}), "Blob"

    def _defaultBranchRef(self) -> tuple[Any, str]:  # noqa: N802
        seconds = CONNECTION + self._people.commits[self._row] * COMMIT + LONGEST * self._people.heavy[self._row]
        return _Branch(self._run, int(self._people.commits[self._row]), float(seconds)), "Ref"


class _Branch:
    """The default branch, down to its commits, which take time to count."""

    def __init__(self, run: Run, commits: int, seconds: float) -> None:
        self._run, self._commits, self._seconds = run, commits, seconds

    def get(self, name: str, _arguments: Mapping[str, Any]) -> tuple[Any, str]:
        if name == "target":
            return self, "Commit"
        if name == "history":
            self._run.connections += 1
            self._run.seconds += self._seconds
            return _Plain({"totalCount": self._commits}), "CommitHistoryConnection"
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

__all__ = ["LONGEST", "Run", "execute", "node_id"]

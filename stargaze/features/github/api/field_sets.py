"""The record fields that GitHub's APIs give for a repository, derived from the field mapping and from the queries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stargaze.features.github.api.graphql import COMMIT_FIELDS, CORE_FRAGMENT, COUNT_FIELDS, parse_fields
from stargaze.features.ingest.field_mapping import map_record

_REST_TEXTS = ("node_id", "name", "full_name", "description", "language", "default_branch", "homepage")
_REST_DATES = ("created_at", "updated_at", "pushed_at")
_REST_FLAGS = (
    *("fork", "archived", "disabled", "is_template", "allow_forking", "web_commit_signoff_required"),
    *("has_issues", "has_projects", "has_downloads", "has_wiki", "has_pages", "has_discussions"),
)
_REST_COUNTS = ("stargazers_count", "watchers_count", "forks_count", "open_issues_count", "subscribers_count", "size")
_REST_RESPONSE: dict[str, Any] = {
    **dict.fromkeys(_REST_TEXTS, "text"),
    **dict.fromkeys(_REST_DATES, "2020-01-01T00:00:00Z"),
    **dict.fromkeys(_REST_FLAGS, False),
    **dict.fromkeys(_REST_COUNTS, 1),
    "id": 1,
    "owner": {"login": "text", "id": 1, "type": "User"},
    "license": {"key": "mit"},
    "topics": [],
    "mirror_url": None,
    "code_of_conduct": None,
}
"""The parts of the response to ``GET /repos/{owner}/{repo}`` that the mapping may read."""
_ARGUMENTS_AND_TARGETS = re.compile(r"\([^)]*\)|(?<=:)\s*\w+")
"""Arguments, and the field that an alias stands for."""
_WORD = re.compile(r"\.{3} on \w+|\w+|[{}]")
_COUNT = re.compile(r"totalCount|byteSize|diskUsage|databaseId|\w+Count")
_FLAG = re.compile(r"(?:is|has|forking|web)[A-Z]\w*")


def rest_fields() -> frozenset[str]:
    """Return the fields of a REST response about one repository.

    Examples
    --------
    >>> sorted({"forks", "subscribers", "contributors", "commits"} & rest_fields())
    ['forks', 'subscribers']
    """
    return frozenset(map_record(_REST_RESPONSE))


def graphql_fields() -> frozenset[str]:
    """Return the fields that the queries of :mod:`stargaze.features.github.api.graphql` give.

    Examples
    --------
    >>> sorted({"forks", "commits", "contributors", "readme_length"} & graphql_fields())
    ['commits', 'forks', 'readme_length']
    """
    core = _parse_selection(CORE_FRAGMENT.partition("{")[2].rpartition("}")[0])
    details = _parse_selection("\n".join((*COUNT_FIELDS, *COMMIT_FIELDS)))
    return frozenset({*map_record(core), *parse_fields({**details, "nameWithOwner": "a/b"}), "topic_count"})


def _parse_selection(text: str) -> dict[str, Any]:
    """Return a response to a GraphQL selection, with a value of the right type for each field."""
    response: dict[str, Any] = {}
    _add_fields(iter(_WORD.findall(_ARGUMENTS_AND_TARGETS.sub("", text))), response)
    return response


def _add_fields(words: Iterator[str], response: dict[str, Any]) -> None:
    name = ""
    for word in words:
        if word == "}":
            return
        if word == "{" and name.startswith("..."):
            _add_fields(words, response)
        elif word == "{":
            before, inner = response.get(name), dict[str, Any]()
            _add_fields(words, inner)
            whole = {**before, **inner} if isinstance(before, dict) else inner
            response[name] = [whole] if name == "nodes" else whole
        else:
            name = word
            if not name.startswith("..."):
                response.setdefault(name, 1 if _COUNT.fullmatch(name) else True if _FLAG.fullmatch(name) else "text")

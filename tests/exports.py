"""Exports of two repositories, as eight tools write them, with the values that must be read."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

LANTERN: dict[str, Any] = {
    "id": 4102,
    "node_id": "MDEwOlJlcG9zaXRvcnk0MTAy",
    "name": "lantern",
    "full_name": "harbor/lantern",
    "private": False,
    "owner": {"login": "harbor", "id": 71, "node_id": "MDEyOk9yZ2FuaXphdGlvbjcx", "type": "Organization"},
    "html_url": "https://github.com/harbor/lantern",
    "description": 'Charts, lights and "tides"\nof every port',
    "fork": False,
    "created_at": "2016-05-04T03:02:01Z",
    "updated_at": "2023-02-01T10:00:00Z",
    "pushed_at": "2023-01-31T09:30:00Z",
    "homepage": "https://lantern.example",
    "size": 2048,
    "stargazers_count": 412,
    "watchers_count": 412,
    "language": "Rust",
    "has_issues": True,
    "has_wiki": False,
    "forks_count": 33,
    "mirror_url": None,
    "archived": False,
    "open_issues_count": 9,
    "license": {"key": "apache-2.0", "name": "Apache License 2.0", "spdx_id": "Apache-2.0", "node_id": "bGljMQ=="},
    "topics": ["maps", "open-sea"],
    "default_branch": "main",
}
KETTLE: dict[str, Any] = {
    **LANTERN,
    "id": 4203,
    "node_id": "MDEwOlJlcG9zaXRvcnk0MjAz",
    "name": "kettle",
    "full_name": "mira/kettle",
    "owner": {"login": "mira", "id": 88, "node_id": "MDQ6VXNlcjg4", "type": "User"},
    "html_url": "https://github.com/mira/kettle",
    "description": None,
    "fork": True,
    "created_at": "2019-11-12T13:14:15Z",
    "homepage": None,
    "stargazers_count": 37,
    "watchers_count": 37,
    "language": None,
    "forks_count": 0,
    "mirror_url": "git://old.example/kettle.git",
    "archived": True,
    "license": None,
    "topics": [],
}
ITEMS = [LANTERN, KETTLE]
CREATED = [pd.Timestamp(item["created_at"]) for item in ITEMS]
EVERYTHING: dict[str, list[Any]] = {
    "full_name": ["harbor/lantern", "mira/kettle"],
    "stars": [412, 37],
    "license": ["apache-2.0", None],
    "topics": [["maps", "open-sea"], []],
    "topic_count": [2, 0],
    "has_homepage": [1, 0],
    "is_mirror": [0, 1],
    "is_fork": [0, 1],
    "is_archived": [0, 1],
    "owner_type": ["Organization", "User"],
    "language": ["Rust", None],
    "forks": [33, 0],
    "size_kb": [2048, 2048],
    "created_at": CREATED,
}
"""What GitHub's records contain, and every export of them that leaves nothing out."""


@dataclass(frozen=True)
class Export:
    """A file as a tool writes it, the config that it needs, and the values that must be read from it."""

    name: str
    content: bytes
    expected: dict[str, list[Any]]
    mapping: dict[str, str] = field(default_factory=dict)


def text_of(write: Callable[[io.StringIO], object]) -> bytes:
    """Return what a function writes to a text file."""
    stream = io.StringIO()
    write(stream)
    return stream.getvalue().encode()


def bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    """Return what a function writes to a binary file."""
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


# GitHub Search (GHS): results.csv.gz and results.json.gz; topics and labels are separated by ";", languages and metrics are JSON.
GHS_MAPPING = {
    "full_name": "name",
    "stars": "stargazers",
    "subscribers": "watchers",
    "language": "mainLanguage",
    "issues": "totalIssues",
    "pull_requests": "totalPullRequests",
}
GHS_ROWS: list[dict[str, Any]] = [
    {
        "id": 11,
        "name": "harbor/lantern",
        "isFork": False,
        "commits": 900,
        "branches": 4,
        "releases": 12,
        "forks": 33,
        "mainLanguage": "Rust",
        "defaultBranch": "main",
        "license": "Apache License 2.0",
        "homepage": "https://lantern.example",
        "watchers": 21,
        "stargazers": 412,
        "contributors": 17,
        "size": 2048,
        "createdAt": "2016-05-04T03:02:01",
        "pushedAt": "2023-01-31T09:30:00",
        "updatedAt": "2023-02-01T10:00:00",
        "totalIssues": 80,
        "openIssues": 6,
        "totalPullRequests": 50,
        "openPullRequests": 3,
        "blankLines": 10,
        "codeLines": 200,
        "commentLines": 30,
        "metrics": [{"language": "Rust", "codeLines": 200, "blankLines": 10, "commentLines": 30}],
        "lastCommit": "2023-01-31T09:29:59",
        "lastCommitSHA": "0" * 40,
        "hasWiki": False,
        "isArchived": False,
        "isDisabled": False,
        "isLocked": False,
        "languages": {"Rust": 9000, "Shell": 40, "C": 7},
        "labels": ["bug", "good first issue"],
        "topics": ["maps", "open-sea"],
    },
    {
        "id": 12,
        "name": "mira/kettle",
        "isFork": True,
        "commits": 3,
        "branches": 1,
        "releases": 0,
        "forks": 0,
        "mainLanguage": None,
        "defaultBranch": "main",
        "license": None,
        "homepage": None,
        "watchers": 1,
        "stargazers": 37,
        "contributors": None,
        "size": 2048,
        "createdAt": "2019-11-12T13:14:15",
        "pushedAt": "2023-01-31T09:30:00",
        "updatedAt": "2023-02-01T10:00:00",
        "totalIssues": 0,
        "openIssues": 0,
        "totalPullRequests": 0,
        "openPullRequests": 0,
        "blankLines": None,
        "codeLines": None,
        "commentLines": None,
        "metrics": [],
        "lastCommit": "2023-01-31T09:29:59",
        "lastCommitSHA": "0" * 40,
        "hasWiki": True,
        "isArchived": True,
        "isDisabled": False,
        "isLocked": False,
        "languages": {},
        "labels": [],
        "topics": [],
    },
]
GHS_EXPECTED: dict[str, list[Any]] = {
    "topics": [["maps", "open-sea"], []],
    **{name: EVERYTHING[name] for name in ("full_name", "stars", "license", "language", "forks", "created_at")},
    "is_fork": [0, 1],
    "is_archived": [0, 1],
    "has_homepage": [1, 0],
    "size_kb": [2048, 2048],
    "subscribers": [21, 1],
    "commits": [900, 3],
    "contributors": [17, None],
    "releases": [12, 0],
    "issues": [80, 0],
    "pull_requests": [50, 0],
    "has_wiki": [0, 1],
}


def ghs_cell(name: str, value: Any) -> str:
    """Return one value as it is written: nothing if it is missing, in quotes otherwise."""
    if name in ("metrics", "languages"):
        text = json.dumps(value, separators=(",", ":")) if value else ""
    elif isinstance(value, list):
        text = ";".join(value)
    else:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if text else ""


def ghs_csv() -> bytes:
    """Return all values in quotes except missing ones; an empty object or list is a missing value."""
    header = ",".join(f'"{name}"' for name in GHS_ROWS[0])
    lines = [",".join(ghs_cell(name, value) for name, value in row.items()) for row in GHS_ROWS]
    return gzip.compress(("\n".join([header, *lines]) + "\n").encode())


def ghs_json() -> bytes:
    """Return one object whose items are the results."""
    answer = {"parameters": {"nameEquals": False, "language": "Rust"}, "count": 2, "items": GHS_ROWS}
    return gzip.compress(json.dumps(answer).encode())


GHS = [
    Export(
        f"results{'-mapped' if mapping else ''}.{form}.gz", content, {**GHS_EXPECTED, "languages": languages}, mapping
    )
    for form, content, languages in (("csv", ghs_csv(), [3, None]), ("json", ghs_json(), [3, 0]))
    for mapping in ({}, GHS_MAPPING)
]

# gh repo list --json: GraphQL's names, but connections are lists, and a missing URL is an empty text.
GH_LIST = [
    {
        "nameWithOwner": "harbor/lantern",
        "stargazerCount": 412,
        "forkCount": 33,
        "diskUsage": 2048,
        "primaryLanguage": {"name": "Rust"},
        "homepageUrl": "https://lantern.example",
        "mirrorUrl": "",
        "languages": [{"size": 9000, "node": {"name": "Rust"}}, {"size": 40, "node": {"name": "Shell"}}],
        "repositoryTopics": [{"name": "maps"}, {"name": "open-sea"}],
        "licenseInfo": {"key": "apache-2.0", "name": "Apache License 2.0", "nickname": ""},
        "isFork": False,
        "isArchived": False,
        "createdAt": "2016-05-04T03:02:01Z",
        "owner": {"id": "MDEyOk9yZ2FuaXphdGlvbjcx", "login": "harbor"},
        "watchers": {"totalCount": 21},
        "fundingLinks": None,
        "issues": {"totalCount": 6},
        "latestRelease": {"publishedAt": "2022-12-24T00:00:00Z"},
    },
    {
        "nameWithOwner": "mira/kettle",
        "stargazerCount": 37,
        "forkCount": 0,
        "diskUsage": 2048,
        "primaryLanguage": None,
        "homepageUrl": "",
        "mirrorUrl": "git://old.example/kettle.git",
        "languages": [],
        "repositoryTopics": None,
        "licenseInfo": None,
        "isFork": True,
        "isArchived": True,
        "createdAt": "2019-11-12T13:14:15Z",
        "owner": {"id": "MDQ6VXNlcjg4", "login": "mira"},
        "watchers": {"totalCount": 1},
        "fundingLinks": None,
        "issues": {"totalCount": 0},
        "latestRelease": None,
    },
]
GH_EXPECTED: dict[str, list[Any]] = {
    **{name: EVERYTHING[name] for name in EVERYTHING if name != "owner_type"},
    "languages": [2, 0],
    "subscribers": [21, 1],
}
GH_REPO_LIST = [
    Export("list.json", json.dumps(GH_LIST).encode(), GH_EXPECTED),
    Export("list.jsonl", "\n".join(map(json.dumps, GH_LIST)).encode(), GH_EXPECTED),
]


def pages(*values: object, between: str = "") -> bytes:
    """Return several documents in one file."""
    return between.join(json.dumps(value) for value in values).encode()


# gh api --paginate: without --slurp one document per page, with it a list of pages; new versions join lists.
GRAPHQL_PAGES = [
    {"data": {"viewer": {"repositories": {"nodes": [node], "pageInfo": {"hasNextPage": False}}}}} for node in ITEMS
]
GH_API = [
    Export("search.json", pages(*({"total_count": 2, "items": [item]} for item in ITEMS)), EVERYTHING),
    Export("orgs.json", pages([LANTERN], [KETTLE]), EVERYTHING),
    Export("orgs-merged.json", pages(ITEMS), EVERYTHING),
    Export("orgs-lines.json", pages([LANTERN], [KETTLE], between="\n"), EVERYTHING),
    Export("orgs-indented.json", "".join(json.dumps([item], indent=2) for item in ITEMS).encode(), EVERYTHING),
    Export("slurp-search.json", pages([{"total_count": 2, "items": [item]} for item in ITEMS]), EVERYTHING),
    Export("slurp-orgs.json", pages([[LANTERN], [KETTLE]]), EVERYTHING),
    Export("jq.json", pages(LANTERN, KETTLE, between="\n"), EVERYTHING),
    Export("graphql.json", pages(*GRAPHQL_PAGES), EVERYTHING),
    Export("graphql-slurp.json", pages(GRAPHQL_PAGES), EVERYTHING),
    Export("starred.json", pages([{"starred_at": "2024-01-01T00:00:00Z", "repo": item} for item in ITEMS]), EVERYTHING),
]

# pandas
FRAME = pd.DataFrame(ITEMS)
DATED = FRAME.assign(created_at=pd.to_datetime(FRAME["created_at"]))


def epoch_frame(unit: Literal["s", "ms"]) -> pd.DataFrame:
    """Return the frame with dates as pandas writes them to JSON by default: numbers since 1970."""
    return FRAME.assign(created_at=DATED["created_at"].dt.as_unit(unit).astype("int64"))


PANDAS = [
    Export("frame.csv", text_of(lambda file: FRAME.to_csv(file, index=False)), EVERYTHING),
    Export("frame-with-index.csv", text_of(FRAME.to_csv), EVERYTHING),
    Export("frame.tsv", text_of(lambda file: FRAME.to_csv(file, index=False, sep="\t")), EVERYTHING),
    Export("frame-of-dates.csv", text_of(DATED.to_csv), EVERYTHING),
    Export("frame.csv.gz", gzip.compress(text_of(FRAME.to_csv)), EVERYTHING),
    Export("frame.parquet", bytes_of(FRAME.to_parquet), EVERYTHING),
    Export("frame-of-dates.parquet", bytes_of(DATED.to_parquet), EVERYTHING),
    Export("records.json", text_of(lambda file: FRAME.to_json(file, orient="records")), EVERYTHING),
    Export("lines.json", text_of(lambda file: FRAME.to_json(file, orient="records", lines=True)), EVERYTHING),
    Export("milliseconds.json", text_of(lambda file: epoch_frame("ms").to_json(file, orient="records")), EVERYTHING),
    Export("seconds.json", text_of(lambda file: epoch_frame("s").to_json(file, orient="records")), EVERYTHING),
    Export("milliseconds.csv", text_of(epoch_frame("ms").to_csv), EVERYTHING),
]
NORMALIZED = [pd.json_normalize(ITEMS), pd.json_normalize(ITEMS, sep="_"), pd.json_normalize(ITEMS, max_level=1)]
JSON_NORMALIZE = [
    *(Export(f"flat-{i}.csv", text_of(frame.to_csv), EVERYTHING) for i, frame in enumerate(NORMALIZED)),
    *(Export(f"flat-{i}.parquet", bytes_of(frame.to_parquet), EVERYTHING) for i, frame in enumerate(NORMALIZED)),
    Export("flat.json", text_of(lambda file: NORMALIZED[0].to_json(file, orient="records")), EVERYTHING),
]


# github-to-sqlite: the owner is the id of a user, the license the key of a license, a list is JSON, a flag 0 or 1.
SQLITE_EXPECTED = {name: EVERYTHING[name] for name in EVERYTHING if name not in ("owner_type", "is_mirror")}


def sqlite_rows() -> pd.DataFrame:
    """Return the table `repos`: URLs are left out except html_url, and homepage stays."""
    rows = []
    for item in ITEMS:
        row = {name: value for name, value in item.items() if name == "html_url" or not name.endswith("url")}
        row = {name: int(value) if isinstance(value, bool) else value for name, value in row.items()}
        key = item["license"] and item["license"]["key"]
        rows.append({**row, "owner": item["owner"]["id"], "license": key, "topics": json.dumps(item["topics"])})
    return pd.DataFrame(rows).astype({"forks_count": "int64"})


def sqlite_database(path: Path) -> Path:
    """Write github.db."""
    connection = sqlite3.connect(path)
    with connection:
        sqlite_rows().to_sql("repos", connection, index=False)
    connection.close()
    return path


GITHUB_TO_SQLITE = [
    Export("repos.csv", text_of(lambda file: sqlite_rows().to_csv(file, index=False)), SQLITE_EXPECTED),
    Export("repos.tsv", text_of(lambda file: sqlite_rows().to_csv(file, index=False, sep="\t")), SQLITE_EXPECTED),
    Export("repos.json", text_of(lambda file: sqlite_rows().to_json(file, orient="records")), SQLITE_EXPECTED),
]

# BigQuery: numbers are texts in JSON, timestamps end with UTC, a missing value is empty in CSV and left out in JSON lines.
BIGQUERY_ROWS: list[dict[str, Any]] = [
    {
        "full_name": "harbor/lantern",
        "stars": "412",
        "forks": "33",
        "license": "apache-2.0",
        "language": "Rust",
        "created_at": "2016-05-04 03:02:01 UTC",
        "is_fork": False,
    },
    {
        "full_name": "mira/kettle",
        "stars": "37",
        "forks": "0",
        "created_at": "2019-11-12 13:14:15.000000 UTC",
        "is_fork": True,
    },
]
BIGQUERY_EXPECTED = {
    name: EVERYTHING[name] for name in ("full_name", "stars", "forks", "license", "language", "created_at", "is_fork")
}
NESTED_ROWS = [
    {
        "repo": {"name": item["full_name"], "id": str(item["id"])},
        "watch_count": str(item["stargazers_count"]),
        "language": [{"name": "Rust", "bytes": "9000"}, {"name": "Shell", "bytes": "40"}],
    }
    for item in ITEMS
]
BIGQUERY = [
    Export(
        "query.csv",
        pd.DataFrame(BIGQUERY_ROWS).replace({True: "true", False: "false"}).to_csv(index=False).encode(),
        BIGQUERY_EXPECTED,
    ),
    Export("query.json", "\n".join(map(json.dumps, BIGQUERY_ROWS)).encode(), BIGQUERY_EXPECTED),
    Export(
        "console.json",
        json.dumps([{**dict.fromkeys(BIGQUERY_ROWS[0]), **row} for row in BIGQUERY_ROWS]).encode(),
        BIGQUERY_EXPECTED,
    ),
    Export(
        "sample_repos.json",
        b'{"repo_name":"harbor/lantern","watch_count":"412"}\n{"repo_name":"mira/kettle","watch_count":"37"}\n',
        {"full_name": EVERYTHING["full_name"], "stars": [412, 37]},
        {"full_name": "repo_name", "stars": "watch_count"},
    ),
    Export(
        "nested.json",
        "\n".join(map(json.dumps, NESTED_ROWS)).encode(),
        {"full_name": EVERYTHING["full_name"], "stars": [412, 37], "languages": [2, 2]},
        {"full_name": "repo.name", "stars": "watch_count", "languages": "language"},
    ),
]

EXPORTS = {
    "GHS": GHS,
    "gh repo list": GH_REPO_LIST,
    "gh api": GH_API,
    "pandas": PANDAS,
    "json_normalize": JSON_NORMALIZE,
    "github-to-sqlite": GITHUB_TO_SQLITE,
    "BigQuery": BIGQUERY,
}

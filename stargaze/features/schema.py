"""The one schema of ``repositories.parquet``: every field that a record can bring, its kind, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["key", "count", "flag", "text", "category", "date", "list"]

DTYPES: dict[str, str] = {
    "key": "Int64",
    "count": "float64",  # whole numbers below 2**53 and NaN for "not known"
    "flag": "float64",  # 0, 1 and NaN for "not known"
    "text": "str",
    "category": "str",
    "date": "datetime64[s, UTC]",
    "list": "object",
}
MAX_COUNT_BY_FIELD = {
    "stars": 5_000_000.0,
    "forks": 5_000_000.0,
    "downloads": 1e13,
    "monthly_downloads": 1e12,
    "size_kb": 1e10,
    "code_bytes": 1e13,
}
MAX_COUNT = 1e9
"""No count on GitHub comes near these; a larger one is a broken record."""


@dataclass(frozen=True)
class Field:
    """One column of the repositories."""

    name: str
    kind: Kind
    unit: str
    meaning: str

    @property
    def most(self) -> float:
        """The largest count that can be true."""
        return MAX_COUNT_BY_FIELD.get(self.name, MAX_COUNT)


def _fields(kind: Kind, unit: str, rows: dict[str, str]) -> list[Field]:
    return [Field(name, kind, unit, meaning) for name, meaning in rows.items()]


FIELDS: tuple[Field, ...] = (
    Field("id", "key", "", "GitHub's number of the repository; the number inside either spelling of its node id"),
    Field("node_id", "text", "", "GitHub's node id as the source spelled it"),
    Field("full_name", "text", "", "owner/name"),
    Field("fetched_at", "date", "UTC", "when the figures were true"),
    Field("stars", "count", "stars", "stargazers: the target"),
    *_fields(
        "category",
        "",
        {
            "owner_type": "User or Organization",
            "language": "primary language",
            "license": "licence key, lower case (mit, apache-2.0)",
            "default_branch": "name of the default branch",
        },
    ),
    *_fields("text", "", {"description": "the maintainer's sentence"}),
    *_fields("list", "", {"topics": "topics the maintainer set"}),
    *_fields(
        "date",
        "UTC",
        {
            "created_at": "when the repository was created",
            "pushed_at": "last push",
            "updated_at": "last change of the record, which a new star causes too",
            "first_commit_at": "date of the first commit",
            "owner_created_at": "when the owner came to GitHub",
            "first_release_at": "first release",
            "latest_release_at": "latest release",
        },
    ),
    *_fields(
        "flag",
        "",
        {
            "has_homepage": "names a homepage",
            "is_fork": "is a fork",
            "is_archived": "is archived",
            "is_template": "is a template",
            "is_mirror": "mirrors another",
            "is_disabled": "is disabled",
            "is_empty": "holds no commit",
            "owner_is_verified": "the owning organization has proved its domain",
            "has_issues": "issues are on",
            "has_projects": "projects are on",
            "has_wiki": "the wiki is on",
            "has_pages": "pages are on",
            "has_downloads": "downloads are on",
            "has_discussions": "discussions are on",
            "allow_forking": "forking is allowed",
            "has_sponsorships": "sponsors are asked for",
            "has_funding_links": "names where to send money",
            "has_code_of_conduct": "has a code of conduct",
            "has_security_policy": "has a security policy",
            "has_own_image": "shows an image of its own when it is shared",
            "web_commit_signoff_required": "commits in the browser are signed off",
            "package_is_private": "the package is marked private",
            "package_has_bin": "the package installs a command",
            "package_has_engines": "the package names the engines it runs on",
        },
    ),
    *_fields(
        "count",
        "characters",
        {
            "description_length": "length of the description",
            "readme_length": "length of the README; GitHub gives it in bytes",
            "package_description_length": "length of the package's description",
            "release_text_length": "length of all release notes",
        },
    ),
    *_fields(
        "count",
        "",
        {
            "owner_id": "GitHub's number of the owner, which grows with time",
            "topic_count": "topics",
            "package_dependencies": "packages it depends on",
            "package_dev_dependencies": "packages its development depends on",
            "package_keywords": "keywords of the package",
            "package_scripts": "scripts of the package",
            "package_version_major": "first number of the package's version",
            "package_version_minor": "second number of the package's version",
            "package_version_patch": "third number of the package's version",
            "commits": "commits",
            "recent_commits": "commits of the last three months",
            "contributors": "contributors",
            "releases": "releases",
            "prereleases": "releases marked as not final",
            "release_assets": "files attached to releases",
            "open_issues": "open issues; GitHub's REST counts open pull requests with them",
            "closed_issues": "closed issues",
            "issues": "issues, open and closed",
            "pull_requests": "pull requests, open and closed",
            "open_pull_requests": "open pull requests",
            "merged_pull_requests": "merged pull requests",
            "tags": "tags",
            "discussions": "discussions",
            "mentionable_users": "people that can be named in it, the nearest to contributors that GraphQL has",
            "languages": "programming languages",
            "owner_followers": "followers of the owner",
            "owner_members": "public members of the owning organization",
            "forks": "forks",
            "subscribers": "people notified of every change",
            "watchers": "REST's watchers_count: the stars under another name, never a feature",
            "dependents": "packages and repositories that depend on it",
            "downloads": "downloads of release files",
            "monthly_downloads": "downloads from package registries in a month",
        },
    ),
    Field("size_kb", "count", "kB", "size of the git repository"),
    Field("code_bytes", "count", "B", "size of the code in all languages"),
)
FIELD_BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}


def empty(n_rows: int = 0) -> pd.DataFrame:
    """Return a frame of ``n_rows`` rows with every field missing."""
    return conform(pd.DataFrame(index=range(n_rows)))


def conform(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with exactly the schema's columns, in its order and dtypes; absent ones are missing.

    Examples
    --------
    >>> conform(pd.DataFrame({"full_name": ["a/b"], "stars": [3]}))[["stars", "forks"]].to_numpy().tolist()
    [[3.0, nan]]
    """
    columns = {}
    absent: dict[Kind, pd.Series] = {}  # one column for each kind: a question of ten figures lacks seventy
    for field in FIELDS:
        if field.name in frame.columns:
            columns[field.name] = _cast(frame[field.name], field)
        else:
            if field.kind not in absent:
                absent[field.kind] = _missing(field, frame.index)
            columns[field.name] = absent[field.kind]
    return pd.DataFrame(columns, index=frame.index)


def _cast(column: pd.Series, field: Field) -> pd.Series:
    if field.kind == "date":
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            moments: pd.Series = column.dt.as_unit("s")
            return moments
        return pd.to_datetime(column, utc=True).dt.as_unit("s")
    if field.kind == "list":
        return column.astype("object")
    if field.kind in ("text", "category"):
        texts: pd.Series = column.astype("str")
        return texts
    return column.astype(DTYPES[field.kind])  # type: ignore[call-overload, no-any-return]


def _missing(field: Field, index: pd.Index) -> pd.Series:
    if field.kind == "date":
        return pd.Series(pd.NaT, index=index, dtype="datetime64[s, UTC]")
    if field.kind in ("text", "category"):
        return pd.Series(np.nan, index=index, dtype="str")
    if field.kind == "list":
        return pd.Series([None] * len(index), index=index, dtype="object")
    return pd.Series(pd.NA if field.kind == "key" else np.nan, index=index, dtype=DTYPES[field.kind])

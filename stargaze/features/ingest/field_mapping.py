"""Where each field is in GitHub's responses: REST, the same in camelCase, and GraphQL.

To add a field, add one row to ``GETTERS``: paths into the record (``"owner.login"``) and functions of the record, best first.
The first that returns a value is used. The field's own name is tried last.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from stargaze.errors import BadDataError
from stargaze.features import schema
from stargaze.features.ingest.field_getters import (
    Getter,
    Record,
    by_path,
    count_downloads,
    count_notes,
    empty_if_null,
    from_package,
    from_releases,
    has_items,
    is_mirror,
    is_present,
    joined_full_name,
    language_count,
    list_length,
    mirror_flag,
    owner_id,
    package_count,
    package_text_length,
    package_version,
    release_assets,
    release_dates,
    repository_id,
    text_length,
    textual_id,
    topic_count,
    topic_names,
    unknown_object,
    unread_object,
    url_or_false,
)
from stargaze.features.ingest.parsing.flattened_names import MAX_NAME, Path, nest_values, normalize_name, value_at
from stargaze.features.ingest.parsing.github_search import GITHUB_SEARCH_COLUMNS, OWN_ID, is_github_search
from stargaze.features.ingest.parsing.json_tables import unbox_values
from stargaze.features.ingest.parsing.object_text import is_object_text, parse_object, repair_text
from stargaze.features.ingest.validate import UnreadValue, shorten
from stargaze.features.schema import Field


class PartialRecord(dict[str, Any]):
    """A record with keys that a response lacks because of errors, and the reason of each."""

    def __init__(self, record: Record, reasons: Mapping[str, str]) -> None:
        super().__init__(record)
        self.reasons = dict(reasons)


REQUIRED = ("full_name", "stars")
"""Fields without which there is no record."""
CONNECTION_KEYS = frozenset({"totalCount", "nodes", "edges", "names", "pageInfo"})
"""Keys of GraphQL's connections."""
NAME_PARTS = ("owner", "name")
"""Columns that together replace full_name."""


def map_record(value: object, columns: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the fields of a GitHub record; absent ones are left out.

    ``columns`` has paths (``owner.login``) of fields, of the owner and of the name. Values of any type are returned; they are
    validated later, in batches, by :mod:`stargaze.features.ingest.validate`. Raise BadDataError if it is not a record, or has
    no name.

    Examples
    --------
    >>> map_record({"nameWithOwner": "a/b", "stargazers": {"totalCount": 3}, "watchers": {"totalCount": 2}})
    {'full_name': 'a/b', 'stars': 3, 'subscribers': 2}
    >>> map_record({"repo": "a/b", "score": {"total": 3}}, {"full_name": "repo", "stars": "score.total"})
    {'full_name': 'a/b', 'stars': 3}
    """
    if not isinstance(value, dict):
        raise BadDataError("null instead of a record" if value is None else f"{shorten(value)} instead of a record")
    if all(isinstance(value.get(key), list) for key in ("full_name", "stargazers_count")):
        value = unbox_values(value)
    if is_github_search(value):
        columns = {**GITHUB_SEARCH_COLUMNS, **(columns or {})}
        value = {key: inner for key, inner in value.items() if key != OWN_ID}
    row = _read_mapped(value, columns) if columns else read_fields(value)
    if isinstance(value, PartialRecord):
        row = _find_unread(value) | row
    if "full_name" not in row:
        raise BadDataError(_explain_nameless(value))
    if not isinstance(row["full_name"], str):
        raise BadDataError(f"full_name is {shorten(row['full_name'])}: not a text")
    return row


def _find_unread(record: PartialRecord) -> dict[str, UnreadValue]:
    """Return the fields that are read from keys which a response lacks because of errors."""
    return {
        field: UnreadValue(reason)
        for root, reason in record.reasons.items()
        for field, getters in FIELD_GETTERS.items()
        if any(root in getter.roots for getter in getters)
    }


def read_fields(record: Record) -> dict[str, Any]:
    """Return the fields that a record has under GitHub's names, with flattened paths."""
    keys = tuple(key for key in record if key in ROOTS or flattened_path(key))
    plan = plan_fields(keys)
    texts = {key: value for key in keys if key in OBJECT_ROOTS and is_object_text(key, value := record[key])}
    if plan.leaves or texts:
        parsed = {key: value if (value := parse_object(text)) is not None else text for key, text in texts.items()}
        record = nest_values({**record, **parsed}, plan.leaves)
    row: dict[str, Any] = {}
    for name, getters in plan.fields:
        for getter in getters:
            result = getter.read(record)
            if result is not None:
                row[name] = _repair(result)
                break
    return row


def _read_mapped(record: Record, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields with those of a mapping; a mapped key is not read for another field by its name."""
    mapped = {path for path in columns.values() if path in record}
    row = read_fields({key: value for key, value in record.items() if key not in mapped})
    values = {field: convert_mapped(field, value_at(record, path)[1]) for field, path in columns.items()}
    owner, name = (values.pop(part, record.get(part)) for part in NAME_PARTS)
    if "full_name" not in columns and not mapped.isdisjoint(columns.get(part) for part in NAME_PARTS):
        values["full_name"] = joined_full_name.read({"owner": owner, "name": name})
    row |= {field: _repair(value) for field, value in values.items()}
    return {field: value for field, value in row.items() if value is not None}


def convert_mapped(field: str, value: Any) -> Any:
    """Return the value of a mapped path; an object or a list is read as that of GitHub in the same field.

    Examples
    --------
    >>> convert_mapped("license", {"key": "mit"}), convert_mapped("languages", {"Go": 3}), convert_mapped("forks", "7")
    ('mit', 1, '7')
    """
    if field == "is_mirror":
        return value if value is None else mirror_flag(value)
    if field in FIELD_GETTERS and isinstance(value, (dict, list)):
        getters = FIELD_GETTERS[field]
        record = {getter.roots[0]: value for getter in getters if len(getter.roots) == 1}
        results = (getter.read(record) for getter in getters)
        return next((result for result in results if result is not None and result is not value), value)
    return value


def _repair(value: Any) -> Any:
    if isinstance(value, str):
        return repair_text(value)
    return (
        [repair_text(item) if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
    )


def _explain_nameless(record: Record) -> str:
    message = record.get("message") or record.get("status")
    return f"GitHub responded with {shorten(message)}" if message is not None else "full_name is missing"


GETTERS: dict[str, tuple[str | Getter, ...]] = {
    "id": tuple(map(repository_id, ("databaseId", "fullDatabaseId", "id", "node_id", "nodeId"))),
    "node_id": (by_path("node_id"), by_path("nodeId"), textual_id("id")),
    "full_name": ("full_name", "fullName", "nameWithOwner", joined_full_name),
    "fetched_at": ("_collected_at", "fetchedAt"),
    "stars": ("stargazers_count", "stargazersCount", "stargazerCount", "stargazers.totalCount"),
    "owner_type": ("owner.type", "owner.__typename"),
    "owner_id": (owner_id,),
    "language": (
        *("language", "language.name", "primaryLanguage.name", "primaryLanguage"),
        *(unread_object("language"), unread_object("primaryLanguage")),
    ),
    "license": (
        *("license.key", "license.spdx_id", "license.spdxId", "license.name"),
        *("licenseInfo.key", "licenseInfo.spdxId", "licenseInfo.name", "license", "licenseInfo"),
        *(unread_object("license"), unread_object("licenseInfo")),
    ),
    "default_branch": ("default_branch", "defaultBranch", "defaultBranchRef.name", unread_object("default_branch")),
    "description_length": ("description_length", text_length("description")),
    "topics": (*(topic_names("topics"), topic_names("repositoryTopics"), empty_if_null("repositoryTopics", list)),),
    "topic_count": ("repositoryTopics.totalCount", topic_count("topics"), topic_count("repositoryTopics")),
    "created_at": ("created_at", "createdAt"),
    "pushed_at": ("pushed_at", "pushedAt"),
    "updated_at": ("updated_at", "updatedAt"),
    "first_commit_at": ("firstCommit.commit.committer.date", "firstCommit.commit.author.date"),
    "first_release_at": (from_releases(lambda releases: min(release_dates(releases), default=None)),),
    "latest_release_at": (
        from_releases(lambda releases: max(release_dates(releases), default=None)),
        "latestRelease.publishedAt",
    ),
    "has_homepage": (url_or_false("homepage", "homepageUrl"),),
    "is_fork": ("fork", "isFork"),
    "is_archived": ("archived", "isArchived"),
    "is_template": ("is_template", "isTemplate"),
    "is_mirror": ("isMirror", is_mirror("mirror_url", "mirrorUrl")),
    "is_disabled": ("disabled", "isDisabled"),
    "is_empty": ("isEmpty",),
    "owner_is_verified": ("owner.isVerified",),
    "owner_created_at": ("owner.createdAt",),
    "has_sponsorships": ("hasSponsorshipsEnabled",),
    "has_funding_links": (has_items("fundingLinks"),),
    "has_code_of_conduct": (is_present("codeOfConduct"), is_present("code_of_conduct")),
    "has_security_policy": ("isSecurityPolicyEnabled",),
    "has_custom_image": ("usesCustomOpenGraphImage",),
    "has_issues": ("has_issues", "hasIssues", "hasIssuesEnabled"),
    "has_projects": ("has_projects", "hasProjects", "hasProjectsEnabled"),
    "has_wiki": ("has_wiki", "hasWiki", "hasWikiEnabled"),
    "has_pages": ("has_pages", "hasPages"),
    "has_downloads": ("has_downloads", "hasDownloads"),
    "has_discussions": ("has_discussions", "hasDiscussions", "hasDiscussionsEnabled"),
    "allow_forking": ("allow_forking", "allowForking", "forkingAllowed"),
    "web_commit_signoff_required": ("web_commit_signoff_required", "webCommitSignoffRequired"),
    "package_is_private": (from_package(lambda package: str(package.get("private")).lower() == "true"),),
    "package_has_bin": (from_package(lambda package: bool(package.get("bin"))),),
    "package_has_engines": (from_package(lambda package: bool(package.get("engines"))),),
    "package_description_length": (package_text_length("description"),),
    "package_dependencies": (package_count("dependencies"),),
    "package_dev_dependencies": (package_count("devDependencies"),),
    "package_keywords": (package_count("keywords"),),
    "package_scripts": (package_count("scripts"),),
    "package_version_major": (package_version(1),),
    "package_version_minor": (package_version(2),),
    "package_version_patch": (package_version(3),),
    "commits": ("commits_count", "commits.totalCount", "defaultBranchRef.target.history.totalCount"),
    "contributors": ("contributors_count", list_length("contributors"), "contributors.totalCount"),
    "releases": (list_length("releases"), "releases.totalCount"),
    "prereleases": (from_releases(lambda releases: sum(release.get("prerelease") is True for release in releases)),),
    "release_assets": (from_releases(lambda releases: sum(len(release_assets(release)) for release in releases)),),
    "release_text_length": (from_releases(count_notes),),
    "downloads": (from_releases(count_downloads),),
    "open_issues": (
        *("open_issues_count", "openIssuesCount", "openIssues.totalCount", "openIssues", "issuesOpen.totalCount"),
    ),
    "closed_issues": ("closedIssues.totalCount", "closedIssues", "issuesClosed.totalCount"),
    "issues": ("issues.totalCount",),
    "pull_requests": ("pullRequests.totalCount", "pullRequests"),
    "open_pull_requests": ("openPullRequests.totalCount", "openPullRequests", "prsOpen.totalCount"),
    "merged_pull_requests": ("mergedPullRequests.totalCount", "mergedPullRequests", "prsMerged.totalCount"),
    "tags": ("tags.totalCount",),
    "code_bytes": ("languages.totalSize",),
    "discussions": ("discussions.totalCount",),
    "mentionable_users": ("mentionableUsers.totalCount", "mentionableUsers"),
    "languages": ("languages.totalCount", language_count("languages")),
    "owner_followers": ("owner.followers.totalCount",),
    "owner_members": ("owner.membersWithRole.totalCount",),
    "readme": ("readme.text", "readmeMd.text", "readme_text", "readme_content"),
    "readme_length": ("readme.byteSize", "readmeMd.byteSize", "readmeRst.byteSize", "readmeLower.byteSize"),
    "forks": ("forks_count", "forksCount", "forkCount", "forks.totalCount"),
    "subscribers": ("subscribers_count", "subscribersCount", "watchers.totalCount"),
    "watchers": ("watchers_count", "watchersCount"),
    "size_kb": ("size", "diskUsage"),
}


SPELLINGS: dict[str, tuple[str, ...]] = {
    field: tuple(name for name in getters if isinstance(name, str) and "." not in name)
    for field, getters in GETTERS.items()
}
"""Names of the fields in GitHub's responses, which tables derived from them may still use."""


def _compile_getters(field: Field) -> tuple[Getter, ...]:
    names = dict.fromkeys((*GETTERS.get(field.name, ()), field.name))
    getters = tuple(by_path(getter) if isinstance(getter, str) else getter for getter in names)
    if field.name in REQUIRED:
        return getters
    plain = [name for name in names if isinstance(name, str) and "." not in name]
    return (*getters, *(unknown_object(name, _inner_names(name)) for name in plain))


def _inner_names(key: str) -> frozenset[str]:
    """Return the names that an object under a key has if some getter reads it."""
    paths = (getter for getters in GETTERS.values() for getter in getters if isinstance(getter, str))
    parts = (path.split(".") for path in paths if path.startswith(f"{key}."))
    return CONNECTION_KEYS | {inner for _, inner, *_ in parts}


FIELD_GETTERS: dict[str, tuple[Getter, ...]] = {field.name: _compile_getters(field) for field in schema.FIELDS}
"""The getters of each field, best first."""
ROOTS = frozenset(root for getters in FIELD_GETTERS.values() for getter in getters for root in getter.roots)
"""Keys of a record that any getter reads."""
OBJECT_ROOTS = frozenset(
    root for getters in FIELD_GETTERS.values() for getter in getters if not getter.is_flat for root in getter.roots
) - {"name"}
"""Keys whose values may be objects; tables write them as texts."""
LISTS_BELOW = tuple((root, key) for root in ("repositoryTopics", "languages") for key in ("nodes", "edges"))
"""Paths of lists that flattened GraphQL records have in columns of their own."""
_PATHS: dict[str, Path] = {
    normalize_name(path): tuple(path.split("."))
    for path in (
        *(getter.label for getters in FIELD_GETTERS.values() for getter in getters if "." in getter.label),
        *("owner.login", "owner.databaseId"),
        *map(".".join, LISTS_BELOW),
    )
}


@lru_cache(maxsize=4096)
def _find_path(name: str) -> Path | None:
    return None if name in ROOTS else _PATHS.get(normalize_name(name))


def flattened_path(name: str) -> Path | None:
    """Return the path of which a name is the flattened form; None if it is none, or GitHub's name of a value.

    Examples
    --------
    >>> flattened_path("owner_login"), flattened_path("licenseInfo.key"), flattened_path("full_name")
    (('owner', 'login'), ('licenseInfo', 'key'), None)
    """
    return _find_path(name) if len(name) <= MAX_NAME else None


class FieldPlan(NamedTuple):
    """How records with certain keys are read: keys that are flattened paths, and the getters of each field."""

    leaves: tuple[tuple[str, Path], ...]
    fields: tuple[tuple[str, tuple[Getter, ...]], ...]


@lru_cache(maxsize=1024)
def plan_fields(keys: tuple[str, ...]) -> FieldPlan:
    """Return how records with these keys are read."""
    paths = [(key, flattened_path(key)) for key in keys]
    leaves = tuple((key, path) for key, path in paths if path)
    present = {*keys, *(path[0] for _, path in leaves)}
    fields = []
    for name, getters in FIELD_GETTERS.items():
        usable = tuple(getter for getter in getters if not present.isdisjoint(getter.roots))
        if usable:
            fields.append((name, usable))
    return FieldPlan(leaves, tuple(fields))

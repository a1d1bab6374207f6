"""What each of our fields is called in GitHub's answers: REST, the same in camelCase, and GraphQL.

A new field is one row of ``GETTERS``: the places to look, best first. A place is a path into the record
(``"owner.login"``) or a function of the record; the first that gives something is taken. Our own name of a field
always is the last place.
"""

from __future__ import annotations

import math
from typing import Any

from stargaze.errors import BadDataError
from stargaze.features import schema
from stargaze.features.ingest import field_getters as ways
from stargaze.features.ingest.field_getters import Getter, Record
from stargaze.features.ingest.validate import shorten
from stargaze.features.schema import Field

_EXPECTED: dict[str, tuple[tuple[type, ...], str]] = {
    "key": ((int, float), "not a whole number"),
    "count": ((int, float), "not a whole number"),
    "flag": ((bool, int), "should be true or false"),
    "text": ((str,), "not a text"),
    "category": ((str,), "not a text"),
    "date": ((str,), "not a date"),
    "list": ((list,), "not a list"),
}


def map_record(value: object) -> dict[str, Any]:
    """Turn one of GitHub's records into our fields, those that it has.

    Raises
    ------
    BadDataError
        If it is no record, or a field has a type that GitHub never sends. Whether the values can be true is
        judged later, for many at once, by :mod:`stargaze.features.ingest.validate`.

    Examples
    --------
    >>> map_record({"nameWithOwner": "a/b", "stargazers": {"totalCount": 3}, "watchers": {"totalCount": 2}})
    {'full_name': 'a/b', 'stars': 3, 'subscribers': 2}
    """
    if not isinstance(value, dict):
        raise BadDataError("null instead of a record" if value is None else f"{shorten(value)} instead of a record")
    row = {}
    for field, places in _COMPILED:
        for way in places:
            found = way(value)
            if found is not None:
                row[field.name] = _typed(found, field)
                break
    if "full_name" not in row:
        raise BadDataError(_why_nameless(value))
    return row


def _typed(value: Any, field: Field) -> Any:
    types, why = _EXPECTED[field.kind]
    good = isinstance(value, types)
    if field.kind in ("key", "count"):
        good = good and not isinstance(value, bool) and not (isinstance(value, float) and math.isnan(value))
    if field.name == "has_homepage":  # the address itself; stargaze.features.ingest.derive judges it
        good = isinstance(value, (str, bool, int))
    if not good:
        raise BadDataError(f"{field.name} is {shorten(value)}: {why}")
    return value


def _why_nameless(record: Record) -> str:
    answer = record.get("message") or record.get("status")
    return f"GitHub answered {shorten(answer)}" if answer is not None else "full_name is missing"


GETTERS: dict[str, tuple[str | Getter, ...]] = {
    "id": (
        ways.repository_id("databaseId"),
        ways.repository_id("fullDatabaseId"),
        ways.repository_id("id"),
        ways.repository_id("node_id"),
        ways.repository_id("nodeId"),
    ),
    "node_id": (ways.by_path("node_id"), ways.by_path("nodeId"), ways.textual_id("id")),
    "full_name": ("full_name", "fullName", "nameWithOwner", ways.joined_full_name),
    "fetched_at": ("_collected_at", "fetchedAt"),
    "stars": ("stargazers_count", "stargazersCount", "stargazerCount", "stargazers.totalCount"),
    "owner_type": ("owner.type", "owner.__typename"),
    "owner_id": (ways.owner_id,),
    "language": ("language", "primaryLanguage.name", "primaryLanguage"),
    "license": (
        *("license.key", "license.spdx_id", "license.spdxId", "license.name"),
        *("licenseInfo.key", "licenseInfo.spdxId", "licenseInfo.name"),
    ),
    "default_branch": ("default_branch", "defaultBranch", "defaultBranchRef.name"),
    "description_length": ("description_length", ways.text_length("description")),
    "topics": ("topics", ways.graphql_topics),
    "topic_count": (ways.list_length("topics"), "repositoryTopics.totalCount"),
    "created_at": ("created_at", "createdAt"),
    "pushed_at": ("pushed_at", "pushedAt"),
    "updated_at": ("updated_at", "updatedAt"),
    "first_commit_at": ("firstCommit.commit.committer.date", "firstCommit.commit.author.date"),
    "first_release_at": (ways.from_releases(lambda releases: min(ways.release_dates(releases), default=None)),),
    "latest_release_at": (
        ways.from_releases(lambda releases: max(ways.release_dates(releases), default=None)),
        "latestRelease.publishedAt",
    ),
    "has_homepage": (ways.url_or_false("homepage", "homepageUrl"),),
    "is_fork": ("fork", "isFork"),
    "is_archived": ("archived", "isArchived"),
    "is_template": ("is_template", "isTemplate"),
    "is_mirror": ("isMirror", ways.is_mirror),
    "is_disabled": ("disabled", "isDisabled"),
    "is_empty": ("isEmpty",),
    "owner_is_verified": ("owner.isVerified",),
    "owner_created_at": ("owner.createdAt",),
    "has_sponsorships": ("hasSponsorshipsEnabled",),
    "has_funding_links": (ways.has_items("fundingLinks"),),
    "has_code_of_conduct": (ways.is_present("codeOfConduct"), ways.is_present("code_of_conduct")),
    "has_security_policy": ("isSecurityPolicyEnabled",),
    "has_own_image": ("usesCustomOpenGraphImage",),
    "has_issues": ("has_issues", "hasIssues", "hasIssuesEnabled"),
    "has_projects": ("has_projects", "hasProjects", "hasProjectsEnabled"),
    "has_wiki": ("has_wiki", "hasWiki", "hasWikiEnabled"),
    "has_pages": ("has_pages", "hasPages"),
    "has_downloads": ("has_downloads", "hasDownloads"),
    "has_discussions": ("has_discussions", "hasDiscussions", "hasDiscussionsEnabled"),
    "allow_forking": ("allow_forking", "allowForking", "forkingAllowed"),
    "web_commit_signoff_required": ("web_commit_signoff_required", "webCommitSignoffRequired"),
    "package_is_private": (ways.from_package(lambda package: str(package.get("private")).lower() == "true"),),
    "package_has_bin": (ways.from_package(lambda package: bool(package.get("bin"))),),
    "package_has_engines": (ways.from_package(lambda package: bool(package.get("engines"))),),
    "package_description_length": (ways.from_package(lambda package: ways.text_length("description")(package) or 0),),
    "package_dependencies": (ways.package_count("dependencies"),),
    "package_dev_dependencies": (ways.package_count("devDependencies"),),
    "package_keywords": (ways.package_count("keywords"),),
    "package_scripts": (ways.package_count("scripts"),),
    "package_version_major": (ways.package_version(1),),
    "package_version_minor": (ways.package_version(2),),
    "package_version_patch": (ways.package_version(3),),
    "commits": ("commits_count", "commits.totalCount", "defaultBranchRef.target.history.totalCount"),
    "contributors": ("contributors_count", ways.list_length("contributors")),
    "releases": (ways.list_length("releases"), "releases.totalCount"),
    "prereleases": (
        ways.from_releases(lambda releases: sum(release.get("prerelease") is True for release in releases)),
    ),
    "release_assets": (
        ways.from_releases(lambda releases: sum(len(ways.release_assets(release)) for release in releases)),
    ),
    "release_text_length": (
        ways.from_releases(lambda releases: sum(ways.text_length("body")(release) or 0 for release in releases)),
    ),
    "downloads": (ways.from_releases(ways.count_downloads),),
    "open_issues": (
        "open_issues_count",
        "openIssuesCount",
        "openIssues.totalCount",
        "openIssues",
        "issuesOpen.totalCount",
    ),
    "closed_issues": ("closedIssues.totalCount", "issuesClosed.totalCount"),
    "issues": ("issues.totalCount",),
    "pull_requests": ("pullRequests.totalCount",),
    "open_pull_requests": ("openPullRequests.totalCount", "prsOpen.totalCount"),
    "merged_pull_requests": ("mergedPullRequests.totalCount", "prsMerged.totalCount"),
    "tags": ("tags.totalCount",),
    "code_bytes": ("languages.totalSize",),
    "discussions": ("discussions.totalCount",),
    "mentionable_users": ("mentionableUsers.totalCount",),
    "languages": ("languages.totalCount",),
    "owner_followers": ("owner.followers.totalCount",),
    "owner_members": ("owner.membersWithRole.totalCount",),
    "readme_length": ("readme.byteSize", "readmeMd.byteSize", "readmeRst.byteSize", "readmeLower.byteSize"),
    "forks": ("forks_count", "forksCount", "forkCount", "forks.totalCount"),
    "subscribers": ("subscribers_count", "subscribersCount", "watchers.totalCount"),
    "watchers": ("watchers_count", "watchersCount"),
    "size_kb": ("size", "diskUsage"),
}


SPELLINGS: dict[str, tuple[str, ...]] = {
    field: tuple(way for way in found if isinstance(way, str) and "." not in way) for field, found in GETTERS.items()
}
"""The names that GitHub's own answers give a field, which a table made of them has kept."""


def _compiled() -> list[tuple[Field, list[Getter]]]:
    table = []
    for field in schema.FIELDS:
        places = dict.fromkeys((*GETTERS.get(field.name, ()), field.name))
        table.append((field, [ways.by_path(place) if isinstance(place, str) else place for place in places]))
    return table


_COMPILED = _compiled()

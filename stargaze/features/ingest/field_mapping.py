"""Where each field is in GitHub's responses: REST, the same in camelCase, and GraphQL.

To add a field, add one row to ``GETTERS``: paths into the record (``"owner.login"``) and functions of the record, best first.
The first that returns a value is used. The field's own name is tried last.
"""

from __future__ import annotations

from typing import Any

from stargaze.errors import BadDataError
from stargaze.features import schema
from stargaze.features.ingest.field_getters import (
    Getter,
    Record,
    by_path,
    count_downloads,
    from_package,
    from_releases,
    graphql_topics,
    has_items,
    is_mirror,
    is_present,
    joined_full_name,
    list_length,
    owner_id,
    package_count,
    package_version,
    release_assets,
    release_dates,
    repository_id,
    text_length,
    textual_id,
    url_or_false,
)
from stargaze.features.ingest.validate import shorten
from stargaze.features.schema import Field


def map_record(value: object) -> dict[str, Any]:
    """Return the fields of a GitHub record; absent ones are left out.

    Raise BadDataError if it is not a record, or has no name. Values of any type are returned; they are validated later, in
    batches, by :mod:`stargaze.features.ingest.validate`.

    Examples
    --------
    >>> map_record({"nameWithOwner": "a/b", "stargazers": {"totalCount": 3}, "watchers": {"totalCount": 2}})
    {'full_name': 'a/b', 'stars': 3, 'subscribers': 2}
    """
    if not isinstance(value, dict):
        raise BadDataError("null instead of a record" if value is None else f"{shorten(value)} instead of a record")
    row = {}
    for field, getters in _COMPILED:
        for get in getters:
            result = get(value)
            if result is not None:
                row[field.name] = result
                break
    if "full_name" not in row:
        raise BadDataError(_explain_nameless(value))
    if not isinstance(row["full_name"], str):
        raise BadDataError(f"full_name is {shorten(row['full_name'])}: not a text")
    return row


def _explain_nameless(record: Record) -> str:
    message = record.get("message") or record.get("status")
    return f"GitHub responded with {shorten(message)}" if message is not None else "full_name is missing"


def _notes_length(release: Record) -> int:
    return text_length("body")(release) or 0


GETTERS: dict[str, tuple[str | Getter, ...]] = {
    "id": tuple(map(repository_id, ("databaseId", "fullDatabaseId", "id", "node_id", "nodeId"))),
    "node_id": (by_path("node_id"), by_path("nodeId"), textual_id("id")),
    "full_name": ("full_name", "fullName", "nameWithOwner", joined_full_name),
    "fetched_at": ("_collected_at", "fetchedAt"),
    "stars": ("stargazers_count", "stargazersCount", "stargazerCount", "stargazers.totalCount"),
    "owner_type": ("owner.type", "owner.__typename"),
    "owner_id": (owner_id,),
    "language": ("language", "primaryLanguage.name", "primaryLanguage"),
    "license": (
        *("license.key", "license.spdx_id", "license.spdxId", "license.name"),
        *("licenseInfo.key", "licenseInfo.spdxId", "licenseInfo.name"),
    ),
    "default_branch": ("default_branch", "defaultBranch", "defaultBranchRef.name"),
    "description_length": ("description_length", text_length("description")),
    "topics": ("topics", graphql_topics),
    "topic_count": (list_length("topics"), "repositoryTopics.totalCount"),
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
    "is_mirror": ("isMirror", is_mirror),
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
    "package_description_length": (from_package(lambda package: text_length("description")(package) or 0),),
    "package_dependencies": (package_count("dependencies"),),
    "package_dev_dependencies": (package_count("devDependencies"),),
    "package_keywords": (package_count("keywords"),),
    "package_scripts": (package_count("scripts"),),
    "package_version_major": (package_version(1),),
    "package_version_minor": (package_version(2),),
    "package_version_patch": (package_version(3),),
    "commits": ("commits_count", "commits.totalCount", "defaultBranchRef.target.history.totalCount"),
    "contributors": ("contributors_count", list_length("contributors")),
    "releases": (list_length("releases"), "releases.totalCount"),
    "prereleases": (from_releases(lambda releases: sum(release.get("prerelease") is True for release in releases)),),
    "release_assets": (from_releases(lambda releases: sum(len(release_assets(release)) for release in releases)),),
    "release_text_length": (from_releases(lambda releases: sum(map(_notes_length, releases))),),
    "downloads": (from_releases(count_downloads),),
    "open_issues": (
        *("open_issues_count", "openIssuesCount", "openIssues.totalCount", "openIssues", "issuesOpen.totalCount"),
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
    field: tuple(name for name in getters if isinstance(name, str) and "." not in name)
    for field, getters in GETTERS.items()
}
"""Names of the fields in GitHub's responses, which tables derived from them may still use."""


def _compile_getters(field: Field) -> list[Getter]:
    getters = dict.fromkeys((*GETTERS.get(field.name, ()), field.name))
    return [by_path(getter) if isinstance(getter, str) else getter for getter in getters]


_COMPILED = [(field, _compile_getters(field)) for field in schema.FIELDS]

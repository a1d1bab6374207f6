"""REST, camelCase and GraphQL records give the same fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.errors import BadDataError
from stargaze.features import schema
from stargaze.features.ingest.field_mapping import GETTERS, map_record

REST: dict[str, Any] = {
    "id": 329445418,
    "node_id": "MDEwOlJlcG9zaXRvcnkzMjk0NDU0MTg=",
    "name": "connector-x",
    "full_name": "sfu-db/connector-x",
    "owner": {"login": "sfu-db", "id": 18023593, "node_id": "MDEyOk9y", "type": "Organization"},
    "description": "Fastest",
    "fork": False,
    "created_at": "2021-01-13T22:21:03Z",
    "updated_at": "2022-04-11T07:27:15Z",
    "pushed_at": "2022-04-12T04:07:42Z",
    "homepage": "https://sfu-db.github.io/connector-x",
    "size": 71988,
    "stargazers_count": 605,
    "watchers_count": 605,
    "subscribers_count": 12,
    "language": "Rust",
    "has_issues": True,
    "has_discussions": False,
    "forks_count": 44,
    "mirror_url": None,
    "archived": False,
    "open_issues_count": 36,
    "license": {"key": "mit", "name": "MIT License", "spdx_id": "MIT"},
    "is_template": False,
    "topics": ["database", "rust"],
    "forks": 44,
    "open_issues": 36,
    "watchers": 605,
    "default_branch": "main",
    "_collected_at": "2022-04-12T08:00:52+00:00",
}
GRAPHQL: dict[str, Any] = {
    "id": "R_kgDOE6LwKg",
    "name": "connector-x",
    "owner": {"login": "sfu-db", "__typename": "Organization", "id": "O_kgDOARMGaQ"},
    "stargazers": {"totalCount": 605},
    "forkCount": 44,
    "createdAt": "2021-01-13T22:21:03Z",
    "primaryLanguage": {"name": "Rust"},
    "pullRequests": {"totalCount": 100},
    "issues": {"totalCount": 90},
    "watchers": {"totalCount": 12},
    "diskUsage": 71988,
    "isFork": False,
    "licenseInfo": {"name": "MIT License"},
    "homepageUrl": "",
    "description": None,
    "repositoryTopics": {
        "totalCount": 2,
        "edges": [{"node": {"topic": {"name": "database"}}}, {"node": {"topic": {"name": "rust"}}}],
    },
    "defaultBranchRef": {"name": "main", "target": {"history": {"totalCount": 321}}},
    "releases": {"totalCount": 7},
}
CAMEL: dict[str, Any] = {
    "id": 329445418,
    "fullName": "sfu-db/connector-x",
    "owner": {"login": "sfu-db", "id": 18023593, "type": "Organization"},
    "stargazersCount": 605,
    "watchersCount": 605,
    "subscribersCount": 12,
    "openIssues": 36,
    "createdAt": "2021-01-13T22:21:03.000Z",
    "license": None,
    "contributors": ["x", "y", "z"],
    "firstCommit": {
        "commit": {"author": {"date": "2020-01-01T00:00:00Z"}, "committer": {"date": "2020-01-02T00:00:00Z"}}
    },
    "releases": [
        {
            "publishedAt": "2021-03-01T00:00:00Z",
            "prerelease": True,
            "body": "four",
            "assets": [{"downloadCount": 5}, {"downloadCount": 6}],
        },
        {"publishedAt": None, "createdAt": "2021-02-01T00:00:00Z", "prerelease": False, "body": None, "assets": []},
    ],
    "packageJSON": {
        "version": "1.20.3-beta",
        "description": "seven77",
        "dependencies": {"a": "1", "b": "2"},
        "keywords": ["k"],
        "scripts": {"start": "x"},
        "bin": {"x": "y"},
        "private": True,
    },
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 329445418),
        ("full_name", "sfu-db/connector-x"),
        ("fetched_at", "2022-04-12T08:00:52+00:00"),
        ("stars", 605),
        ("watchers", 605),
        ("subscribers", 12),
        ("forks", 44),
        ("open_issues", 36),
        ("size_kb", 71988),
        ("owner_type", "Organization"),
        ("owner_id", 18023593),
        ("license", "mit"),
        ("topics", ["database", "rust"]),
        ("topic_count", 2),
        ("description_length", 7),
        ("is_mirror", False),
        ("has_homepage", "https://sfu-db.github.io/connector-x"),
        ("has_discussions", False),
        ("default_branch", "main"),
    ],
)
def test_rest_records_are_mapped(field: str, value: object) -> None:
    assert map_record(REST)[field] == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 329445418),
        ("node_id", "R_kgDOE6LwKg"),
        ("full_name", "sfu-db/connector-x"),
        ("stars", 605),
        ("subscribers", 12),
        ("issues", 90),
        ("pull_requests", 100),
        ("commits", 321),
        ("releases", 7),
        ("size_kb", 71988),
        ("language", "Rust"),
        ("license", "MIT License"),
        ("topics", ["database", "rust"]),
        ("topic_count", 2),
        ("description_length", 0),
        ("has_homepage", False),
        ("owner_type", "Organization"),
    ],
)
def test_graphql_records_are_mapped(field: str, value: object) -> None:
    assert map_record(GRAPHQL)[field] == value


@pytest.mark.parametrize("field", ["watchers", "owner_id", "open_issues", "is_mirror", "fetched_at"])
def test_fields_that_graphql_lacks_are_absent(field: str) -> None:
    """GraphQL's ``watchers`` are the subscribers; those of REST are the stars."""
    assert field not in map_record(GRAPHQL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stars", 605),
        ("open_issues", 36),
        ("contributors", 3),
        ("first_commit_at", "2020-01-02T00:00:00Z"),
        ("releases", 2),
        ("prereleases", 1),
        ("release_assets", 2),
        ("release_text_length", 4),
        ("downloads", 11),
        ("first_release_at", "2021-02-01T00:00:00Z"),
        ("latest_release_at", "2021-03-01T00:00:00Z"),
        ("package_dependencies", 2),
        ("package_dev_dependencies", 0),
        ("package_keywords", 1),
        ("package_scripts", 1),
        ("package_description_length", 7),
        ("package_version_major", 1),
        ("package_version_minor", 20),
        ("package_version_patch", 3),
        ("package_is_private", True),
        ("package_has_bin", True),
        ("package_has_engines", False),
    ],
)
def test_camel_case_records_of_the_npm_package_are_mapped(field: str, value: object) -> None:
    assert map_record(CAMEL)[field] == value


def test_a_record_with_our_own_names_is_mapped() -> None:
    assert map_record({"full_name": "a/b", "stars": 1, "readme_length": 5}) == {
        "full_name": "a/b",
        "stars": 1,
        "readme_length": 5,
    }


@pytest.mark.parametrize("package", [None, [], "text", 3])
def test_a_package_of_a_wrong_type_is_missing(package: object) -> None:
    assert not any(name.startswith("package_") for name in map_record({**CAMEL, "packageJSON": package}))


def test_an_unusual_package_does_not_make_the_record_invalid() -> None:
    """Its author wrote package.json, not GitHub."""
    package = {
        "version": 3,
        "dependencies": "none",
        "keywords": "a, b",
        "scripts": 7,
        "description": {},
        "private": "true",
    }

    row = map_record({**CAMEL, "packageJSON": package})

    assert "package_version_major" not in row
    assert (row["package_keywords"], row["package_scripts"], row["package_is_private"]) == (2, 0, True)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"stargazers_count": "605"}, "stars", "605"),
        ({"stargazers_count": [1]}, "stars", [1]),
        ({"language": 7}, "language", 7),
        ({"created_at": 1400000000}, "created_at", 1400000000),
        ({"fork": "no"}, "is_fork", "no"),
        ({"topics": "a,b"}, "topics", "a,b"),
        ({"releases": [1]}, "downloads", [1]),
    ],
)
def test_a_value_of_any_type_is_returned_for_validation(change: dict[str, Any], field: str, value: object) -> None:
    assert map_record({**REST, **change})[field] == value


@pytest.mark.parametrize(
    ("key", "given", "field", "value"),
    [
        ("languages", {"Zig": 5, "C": 6}, "languages", 2),
        ("languages", {}, "languages", 0),
        ("languages", ["Zig"], "languages", 1),
        ("languages", [{"size": 5, "node": {"name": "Zig"}}], "languages", 1),
        ("languages", {"totalCount": 7, "nodes": []}, "languages", 7),
        ("languages", {"nodes": [{"name": "Zig"}], "pageInfo": {"hasNextPage": False}}, "languages", 1),
        ("languages", {"nodes": [{"name": "Zig"}], "pageInfo": {"hasNextPage": True}}, "languages", None),
        ("languages", {"Zig": "much"}, "languages", {"Zig": "much"}),
        ("languages", 3, "languages", 3),
        ("contributors", {"totalCount": 4}, "contributors", 4),
        ("contributors", 60.6, "contributors", 60.6),
        ("topics", [{"name": "a"}, {"topic": {"name": "b"}}, 5], "topics", ["a", "b"]),
        ("topics", {"names": ["a"]}, "topics", ["a"]),
        ("topics", ["a", "\ud83d"], "topics", ["a", "?"]),
        ("repositoryTopics", None, "topics", []),
        ("repositoryTopics", [{"name": "a"}], "topic_count", 1),
        ("license", {"spdx_id": "ISC", "key": None}, "license", "ISC"),
        ("license", {"title": "ISC"}, "license", {"title": "ISC"}),
        ("license", {"key": None, "name": None}, "license", None),
        ("license", "{'key': 'isc'}", "license", "isc"),
        ("license", "{'key': 'is", "license", "{'key': 'is"),
        ("language", {"name": "Zig"}, "language", "Zig"),
        ("mirror_url", "git://x.example", "is_mirror", True),
        ("mirror_url", "", "is_mirror", False),
        ("mirror_url", 5, "is_mirror", 5),
        ("owner", 71, "owner_id", 71),
        ("owner", True, "owner_id", None),
        ("owner_login", "x", "owner_type", None),
        ("license_key", "isc", "license", "isc"),
        ("primaryLanguage.name", "Zig", "language", "Zig"),
    ],
)
def test_values_of_other_tools_are_mapped(key: str, given: object, field: str, value: object) -> None:
    assert map_record({"full_name": "a/b", key: given}).get(field) == value


def test_a_name_that_is_no_text_is_an_error() -> None:
    with pytest.raises(BadDataError, match="full_name is a list: not a text"):
        map_record({**REST, "full_name": ["a/b"]})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null instead of a record"),
        ([], "a list instead of a record"),
        ("text", "'text' instead of a record"),
        ({}, "full_name is missing"),
        ({"message": "Not Found"}, "GitHub responded with 'Not Found'"),
        ({"status": 404, "packageStatus": 404}, "GitHub responded with 404"),
    ],
)
def test_a_value_that_is_not_a_record_is_an_error(value: object, reason: str) -> None:
    with pytest.raises(BadDataError) as caught:
        map_record(value)

    assert caught.value.message == reason


def test_every_getter_belongs_to_a_field_of_the_schema() -> None:
    assert set(GETTERS) <= set(schema.FIELD_BY_NAME)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@given(
    st.one_of(
        VALUES, st.dictionaries(st.sampled_from([*REST, *GRAPHQL, *CAMEL, *schema.FIELD_BY_NAME]), VALUES, max_size=8)
    )
)
def test_any_json_value_is_a_row_or_invalid_and_never_a_crash(value: object) -> None:
    try:
        row = map_record(value)
    except BadDataError as error:
        row, message = {}, error.message
    else:
        message = ""
    assert len(message) < 200
    assert set(row) <= set(schema.FIELD_BY_NAME)


@given(st.sampled_from(sorted({*REST, *GRAPHQL, *CAMEL})), VALUES, st.sampled_from([REST, GRAPHQL, CAMEL]))
def test_a_valid_record_with_one_random_value_is_a_row_or_invalid(
    key: str, value: object, record: dict[str, Any]
) -> None:
    try:
        row = map_record({**record, key: value})
    except BadDataError as error:
        row, message = {"full_name": ""}, error.message
    else:
        message = ""
    assert "\n" not in message
    assert "full_name" in row


def test_counts_of_graphql_are_mapped() -> None:
    """Counts have the names of other queries; null means none where GitHub defines it so."""
    answer = {
        "nameWithOwner": "a/b",
        "owner": {"__typename": "Organization", "createdAt": "2012-01-01T00:00:00Z", "isVerified": True},
        "isEmpty": False,
        "hasSponsorshipsEnabled": True,
        "fundingLinks": [],
        "codeOfConduct": None,
        "isSecurityPolicyEnabled": True,
        "usesCustomOpenGraphImage": False,
        "issuesOpen": {"totalCount": 2},
        "issuesClosed": {"totalCount": 3},
        "prsOpen": {"totalCount": 4},
        "prsMerged": {"totalCount": 5},
        "tags": {"totalCount": 6},
        "languages": {"totalCount": 2, "totalSize": 1234},
        "readmeRst": {"byteSize": 99},
    }

    assert map_record(answer) == {
        "full_name": "a/b",
        "owner_type": "Organization",
        "owner_created_at": "2012-01-01T00:00:00Z",
        "owner_is_verified": True,
        "is_empty": False,
        "has_sponsorships": True,
        "has_funding_links": False,
        "has_code_of_conduct": False,
        "has_security_policy": True,
        "has_custom_image": False,
        "open_issues": 2,
        "closed_issues": 3,
        "open_pull_requests": 4,
        "merged_pull_requests": 5,
        "tags": 6,
        "languages": 2,
        "code_bytes": 1234,
        "readme_length": 99,
    }

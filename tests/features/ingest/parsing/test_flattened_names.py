"""Paths are found under the names that flattening tools write."""

from __future__ import annotations

import pytest

from stargaze.features.ingest.field_mapping import flattened_path
from stargaze.features.ingest.parsing.flattened_names import nest_values, value_at


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("owner.login", ("owner", "login")),
        ("owner_login", ("owner", "login")),
        ("owner__login", ("owner", "login")),
        ("ownerLogin", ("owner", "login")),
        ("primary_language__name", ("primaryLanguage", "name")),
        ("defaultBranchRef.name", ("defaultBranchRef", "name")),
        ("stargazers_total_count", ("stargazers", "totalCount")),
        ("owner_type", None),
        ("stargazers_count", None),
        ("license", None),
        ("x" * 10_000, None),
    ],
)
def test_a_flattened_name_has_one_path_unless_github_uses_the_name(name: str, path: tuple[str, ...] | None) -> None:
    assert flattened_path(name) == path


def test_a_path_below_null_is_null_and_other_paths_do_not_exist() -> None:
    assert value_at({"license": None}, "license.key") == (True, None)
    assert value_at({"license": {"name": "x"}}, "license.key") == (False, None)
    assert value_at({"license": "mit"}, "license.key") == (False, None)


def test_an_object_that_exists_is_not_replaced() -> None:
    paths = [("owner_id", ("owner", "id")), ("owner_login", ("owner", "login"))]

    assert nest_values({"owner": {"id": 1}, "owner_id": 2, "owner_login": "x"}, paths)["owner"] == {"id": 1}
    assert nest_values({"owner_id": 2, "owner_login": "x"}, paths)["owner"] == {"id": 2, "login": "x"}

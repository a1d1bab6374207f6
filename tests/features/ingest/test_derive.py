"""Derived fields are the same for every source."""

from __future__ import annotations

import pandas as pd
import pytest

from stargaze.features.ingest.derive import derive_fields, detect_homepages, is_url


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://flask.org", True),
        ("flask.org", True),
        ("https://github.com/a/b", False),
        ("http://www.GitHub.com/A/b/", False),
        ("https://github.com/a/b.git", False),
        ("https://github.com/a/b#readme", False),
        ("https://github.com/a/other", True),
        ("", False),
    ],
)
def test_the_repositorys_page_on_github_is_not_a_homepage(address: str, expected: bool) -> None:
    assert detect_homepages(pd.Series([address]), pd.Series(["a/b"])).tolist() == [expected]


@pytest.mark.parametrize("value", [True, False, 1, 0, "1", "true", None])
def test_a_flag_instead_of_a_url_stays_unchanged(value: object) -> None:
    flags = detect_homepages(pd.Series([value], dtype="object"), pd.Series(["a/b"])).tolist()

    assert flags == [value]
    assert not is_url(value)


def test_missing_lengths_are_computed() -> None:
    frame = pd.DataFrame(
        {"full_name": ["a/b", "c/d"], "description": ["four", "four"], "description_length": [None, 9.0]}
    )
    frame["topics"] = pd.Series([["x", "y"], None], dtype="object")

    derived = derive_fields(frame)

    assert derived["description_length"].tolist() == [4.0, 9.0]
    assert derived["topic_count"].tolist()[0] == 2.0
    assert derived["topic_count"].isna().tolist() == [False, True]


def test_a_missing_id_is_decoded_from_the_node_id() -> None:
    frame = pd.DataFrame({"full_name": ["a/b"] * 3, "node_id": ["R_kgDOE6LwKg", "nonsense", None]})

    assert derive_fields(frame)["id"].tolist() == [329445418, pd.NA, pd.NA]


def test_licenses_and_owner_types_are_normalized() -> None:
    derived = derive_fields(pd.DataFrame({"license": ["MIT License", None], "owner_type": ["user", "Bot"]}))

    assert derived["license"].tolist()[0] == "mit"
    assert derived["license"].isna().tolist() == [False, True]
    assert derived["owner_type"].tolist() == ["User", "Bot"]


def test_the_given_frame_is_not_modified() -> None:
    frame = pd.DataFrame({"license": ["MIT License"]})

    derive_fields(frame)

    assert frame["license"].tolist() == ["MIT License"]

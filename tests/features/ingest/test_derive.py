"""Derived fields are the same for every source; records of one repository are found by id and name, the newest stays."""

from __future__ import annotations

import base64
import random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.features import schema
from stargaze.features.ingest.derive import decode_node_id, deduplicate, derive_fields, detect_homepages, is_url


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


# ---- node ids and duplicates ----------------------------------------------------------------------------------------


def packed(number: int) -> bytes:
    """Return MessagePack of [0, id] as GitHub writes it."""
    if number < 0x80:
        return b"\x92\x00" + bytes([number])
    for marker, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
        if number < 256**width:
            return b"\x92\x00" + bytes([marker]) + number.to_bytes(width, "big")
    raise AssertionError(number)


@given(st.integers(0, 2**63))
def test_both_formats_of_a_node_id_contain_the_id(number: int) -> None:
    new = "R_" + base64.urlsafe_b64encode(packed(number)).decode().rstrip("=")
    old = base64.b64encode(f"010:Repository{number % 10**15}".encode()).decode()

    assert decode_node_id(new) == number
    assert decode_node_id(old) == number % 10**15


@pytest.mark.parametrize(
    "text",
    ["", "R_", "R_kg", "R_!!!!", "R_kgDO", "MDQ6VXNlcjE=", "U_kgDOE6LwKg", "R_" + "A" * 10_000, "häh", "R_kgHOE6LwKg"],
)
def test_other_texts_contain_no_id(text: str) -> None:
    assert decode_node_id(text) is None


@given(st.text())
def test_any_text_is_accepted_as_a_node_id(text: str) -> None:
    number = decode_node_id(text)

    assert number is None or number >= 0


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    """Return rows in the schema's columns."""
    return schema.conform(pd.DataFrame(list(rows)))


def test_the_row_that_was_fetched_last_stays() -> None:
    rows = frame(
        {"full_name": "a/b", "id": 1, "stars": 2, "fetched_at": "2021-01-01", "pushed_at": "2020-01-01"},
        {"full_name": "a/b", "id": 1, "stars": 1, "fetched_at": "2020-01-01", "pushed_at": "2020-12-31"},
    )

    assert deduplicate(rows)["stars"].tolist() == [2]


def test_of_rows_fetched_at_the_same_time_the_one_changed_last_stays() -> None:
    rows = frame(
        {"full_name": "a/b", "stars": 2, "fetched_at": "2021-01-01", "updated_at": "2020-12-01"},
        {"full_name": "a/b", "stars": 1, "fetched_at": "2021-01-01", "pushed_at": "2020-06-01"},
    )

    assert deduplicate(rows)["stars"].tolist() == [2]


def test_of_rows_with_equal_times_the_last_stays() -> None:
    assert deduplicate(frame({"full_name": "a/b", "stars": 1}, {"full_name": "a/b", "stars": 2}))["stars"].tolist() == [
        2
    ]


def test_a_record_with_a_fetch_date_is_newer_than_one_without() -> None:
    rows = frame({"full_name": "a/b", "stars": 2, "fetched_at": "2012-01-01"}, {"full_name": "a/b", "stars": 1})

    assert deduplicate(rows)["stars"].tolist() == [2]


@pytest.mark.thorough
def test_names_are_case_insensitive() -> None:
    assert len(deduplicate(frame({"full_name": "A/b"}, {"full_name": "a/B"}))) == 1


def test_a_record_without_id_takes_the_id_of_its_name() -> None:
    rows = frame(
        {"full_name": "a/b", "id": 7, "stars": 1, "fetched_at": "2020-01-01"},
        {"full_name": "A/B", "stars": 2, "fetched_at": "2021-01-01"},
    )

    merged = deduplicate(rows)

    assert merged[["id", "stars"]].values.tolist() == [[7, 2.0]]


def test_a_renamed_repository_is_one_row() -> None:
    rows = frame(
        {"full_name": "new/name", "id": 7, "fetched_at": "2021-01-01"},
        {"full_name": "old/name", "id": 7, "fetched_at": "2020-01-01"},
    )

    assert deduplicate(rows)["full_name"].tolist() == ["new/name"]


def test_a_reused_name_belongs_to_the_newer_repository() -> None:
    """The repository was deleted and created again: GitHub has one repository of a name at a time."""
    rows = frame(
        {"full_name": "a/b", "id": 9, "fetched_at": "2021-01-01"},
        {"full_name": "a/b", "id": 7, "fetched_at": "2020-01-01"},
    )

    assert deduplicate(rows)["id"].tolist() == [9]


def test_a_frame_without_ids_and_dates_is_deduplicated_by_name() -> None:
    assert deduplicate(pd.DataFrame({"full_name": ["c/d", "a/b", "c/d"]}))["full_name"].tolist() == ["a/b", "c/d"]


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.one_of(st.none(), st.integers(1, 4)),
            "full_name": st.sampled_from(["a/b", "A/b", "c/d", "e/f"]),
            "fetched_at": st.sampled_from([None, "2020-01-01", "2021-01-01"]),
            "stars": st.integers(0, 9),
        }
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.thorough
@given(ROWS)
def test_deduplicating_twice_changes_nothing(rows: list[dict[str, object]]) -> None:
    once = deduplicate(frame(*rows))

    pd.testing.assert_frame_equal(deduplicate(once), once)
    assert once["full_name"].str.lower().is_unique
    assert once["id"].dropna().is_unique


@pytest.mark.thorough
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_records_of_different_times_does_not_matter(
    rows: list[dict[str, object]], dice: random.Random
) -> None:
    timed = [{**row, "fetched_at": f"2020-01-{day:02}"} for day, row in enumerate(rows, 1)]
    shuffled = dice.sample(timed, len(timed))

    pd.testing.assert_frame_equal(deduplicate(frame(*shuffled)), deduplicate(frame(*timed)))


@pytest.mark.thorough
@given(ROWS, st.randoms(use_true_random=False))
def test_the_set_of_repositories_does_not_depend_on_the_order_of_rows(
    rows: list[dict[str, object]], dice: random.Random
) -> None:
    """No repository is renamed here."""
    steady = [{"full_name": row["full_name"], "fetched_at": "2020-01-01", "stars": row["stars"]} for row in rows]
    shuffled = dice.sample(steady, len(steady))

    assert (
        deduplicate(frame(*shuffled))["full_name"].str.lower().tolist()
        == deduplicate(frame(*steady))["full_name"].str.lower().tolist()
    )


@pytest.mark.parametrize("text", ["none", "-", "nil", "NaN", "yes", " "])
def test_words_that_stand_for_no_address_are_no_urls(text: str) -> None:
    assert not is_url(text)

"""Series are merged where a repository was renamed and split where its count breaks, and every case is logged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.features.history.clean import MAX_GAP, CleanHistory, clean_history
from stargaze.features.history.read import tidy_history
from tests.histories import histories, one_history


def anomalies(clean: CleanHistory) -> list[tuple[str, str]]:
    return list(zip(clean.anomalies["full_name"], clean.anomalies["anomaly"], strict=True))


def merge_and_clean(*parts: pd.DataFrame) -> CleanHistory:
    return clean_history(tidy_history(pd.concat(parts, ignore_index=True)))


def test_series_without_anomalies_stay_unchanged() -> None:
    history = histories(5)

    clean = clean_history(history)

    assert clean.anomalies.empty
    assert clean.as_rows() == []
    pd.testing.assert_frame_equal(clean.frame.drop(columns="series"), history)
    assert clean.frame.groupby("full_name")["series"].nunique().eq(1).all()


@pytest.mark.parametrize(
    ("stars", "anomaly"),
    [
        ([1000, 1010, 500, 510], "drop"),
        ([3000, 3010, 13_000, 13_050], "jump"),
    ],
)
def test_a_drop_or_jump_splits_the_series(stars: list[float], anomaly: str) -> None:
    clean = clean_history(one_history("a/b", stars))

    assert anomalies(clean) == [("a/b", anomaly)]
    assert clean.frame["series"].tolist() == [0, 0, 1, 1]
    assert clean.as_rows() == [
        {"anomaly": anomaly, "cases": 1, "repositories": 1, "action": "split the series", "examples": "a/b"},
    ]


@pytest.mark.parametrize(
    "stars", [[1000, 1010, 990, 995], [40, 41, 20, 21], [100, 400, 900, 2000], [9, 4000, 4010, 4020]]
)
def test_a_few_lost_stars_and_a_steep_rise_do_not_split_the_series(stars: list[float]) -> None:
    assert clean_history(one_history("a/b", stars)).anomalies.empty


def test_a_quarter_without_a_count_splits_the_series() -> None:
    early, late = one_history("a/b", [100.0] * 4), one_history("a/b", [100.0] * 4, begin="2022-06-06")

    clean = merge_and_clean(early, late)

    assert anomalies(clean) == [("a/b", "gap")]
    assert "133 days" in clean.anomalies["observed"].iloc[0]
    assert MAX_GAP < 133
    assert clean.frame["series"].nunique() == 2


def test_a_break_does_not_change_earlier_counts() -> None:
    """Otherwise a later event would remove a repository from the past."""
    stars = np.arange(1000.0, 1030.0)
    broken = np.concatenate([stars[:20], stars[20:] / 10])

    before = clean_history(one_history("a/b", broken)).frame.head(20)

    pd.testing.assert_frame_equal(before, clean_history(one_history("a/b", stars)).frame.head(20))


def test_names_that_differ_in_case_are_merged_under_the_latest() -> None:
    old, new = (
        one_history("Microsoft/WSL", [900.0, 910]),
        one_history("microsoft/WSL", [920.0, 930], begin="2022-01-17"),
    )

    clean = merge_and_clean(old, new)

    assert anomalies(clean) == [("Microsoft/WSL", "spelling")]
    assert clean.frame["full_name"].unique().tolist() == ["microsoft/WSL"]
    assert clean.frame["stars"].tolist() == [900, 910, 920, 930]


@pytest.mark.parametrize(
    ("old_name", "new_name"),
    [
        ("ambv/black", "psf/black"),
        ("vector-im/riot-web", "vector-im/element-web"),
        ("robbyrussell/oh-my-zsh", "ohmyzsh/ohmyzsh"),
    ],
)
def test_a_renamed_repository_is_one_series(old_name: str, new_name: str) -> None:
    old, new = one_history(old_name, [9000.0, 9010]), one_history(new_name, [9020.0, 9030], begin="2022-01-17")

    clean = merge_and_clean(old, new)

    assert anomalies(clean) == [(old_name, "renamed")]
    assert clean.anomalies["observed"].iloc[0] == f"continues as {new_name}"
    assert clean.frame["full_name"].unique().tolist() == [new_name]
    assert clean.frame["series"].unique().tolist() == [0]


def test_a_repository_that_was_renamed_twice_is_one_series() -> None:
    parts = [
        one_history(f"{owner}/black", [stars, stars + 10], begin=begin)
        for owner, stars, begin in (
            ("ambv", 9000, "2022-01-03"),
            ("python", 9020, "2022-01-17"),
            ("psf", 9040, "2022-01-31"),
        )
    ]

    assert merge_and_clean(*parts).frame["full_name"].unique().tolist() == ["psf/black"]


@pytest.mark.parametrize(
    ("name", "stars", "begin"),
    [
        ("other/thing", 9020, "2022-01-17"),  # other owner and other name
        ("psf/black", 5000, "2022-01-17"),  # another count
        ("psf/black", 9020, "2022-06-06"),  # half a year later
        ("psf/black", 9020, "2022-01-10"),  # both were counted on the same day
    ],
)
def test_two_different_repositories_are_not_merged(name: str, stars: float, begin: str) -> None:
    clean = merge_and_clean(
        one_history("ambv/black", [9000.0, 9010]), one_history(name, [stars, stars + 10], begin=begin)
    )

    assert "renamed" not in set(clean.anomalies["anomaly"])


def test_of_two_possible_successors_none_is_chosen() -> None:
    parts = [one_history(f"{owner}/black", [9020.0, 9030], begin="2022-01-17") for owner in ("psf", "python")]

    assert "renamed" not in set(merge_and_clean(one_history("ambv/black", [9000.0, 9010]), *parts).anomalies["anomaly"])


def test_of_two_names_with_the_same_counts_the_one_that_ends_first_is_dropped() -> None:
    stars = np.arange(500.0, 600.0, 10)

    clean = merge_and_clean(one_history("old/name", stars[:8]), one_history("new/title", stars))

    assert anomalies(clean) == [("old/name", "copy")]
    assert clean.frame["full_name"].unique().tolist() == ["new/title"]


def test_the_earlier_counts_of_a_copy_go_to_the_remaining_name() -> None:
    """The repository was renamed and listed under both names for a while."""
    stars = np.arange(500.0, 900.0, 10)
    old, new = one_history("old/name", stars[:30]), one_history("new/name", stars[20:], begin="2022-05-23")

    clean = merge_and_clean(old, new)

    assert anomalies(clean) == [("old/name", "copy"), ("old/name", "renamed")]
    assert clean.frame["full_name"].unique().tolist() == ["new/name"]
    assert clean.frame["stars"].tolist() == stars.tolist()
    assert clean.frame["series"].unique().tolist() == [0]


def test_two_constant_counts_are_not_copies() -> None:
    assert merge_and_clean(one_history("a/b", [500.0] * 9), one_history("c/d", [500.0] * 9)).anomalies.empty


def test_the_last_of_two_counts_in_a_week_is_kept_and_logged() -> None:
    again = one_history("a/b", [101.0], begin="2022-01-06")

    clean = merge_and_clean(one_history("a/b", [100.0, 110]), again)

    assert anomalies(clean) == [("a/b", "repeated week")]
    assert clean.frame["stars"].tolist() == [101.0, 110.0]

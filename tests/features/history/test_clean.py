"""Series are whole: joined where a repository was renamed, parted where its count breaks, and every case is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.features.history.clean import MAX_GAP, CleanHistory, clean_history
from stargaze.features.history.read import tidy_history
from tests.histories import histories, one_history


def anomalies(found: CleanHistory) -> list[tuple[str, str]]:
    return list(zip(found.anomalies["full_name"], found.anomalies["anomaly"], strict=True))


def together(*parts: pd.DataFrame) -> CleanHistory:
    return clean_history(tidy_history(pd.concat(parts, ignore_index=True)))


def test_sound_series_stay_as_they_are() -> None:
    history = histories(5)

    found = clean_history(history)

    assert found.anomalies.empty
    assert found.as_rows() == []
    pd.testing.assert_frame_equal(found.frame.drop(columns="series"), history)
    assert found.frame.groupby("full_name")["series"].nunique().eq(1).all()


@pytest.mark.parametrize(
    ("stars", "anomaly"),
    [
        ([1000, 1010, 500, 510], "drop"),
        ([3000, 3010, 13_000, 13_050], "jump"),
    ],
)
def test_a_count_that_breaks_parts_its_series(stars: list[float], anomaly: str) -> None:
    found = clean_history(one_history("a/b", stars))

    assert anomalies(found) == [("a/b", anomaly)]
    assert found.frame["series"].tolist() == [0, 0, 1, 1]
    assert found.as_rows() == [
        {"anomaly": anomaly, "cases": 1, "repositories": 1, "action": "split the series", "examples": "a/b"},
    ]


@pytest.mark.parametrize(
    "stars", [[1000, 1010, 990, 995], [40, 41, 20, 21], [100, 400, 900, 2000], [9, 4000, 4010, 4020]]
)
def test_a_few_lost_stars_and_a_steep_rise_are_no_break(stars: list[float]) -> None:
    assert clean_history(one_history("a/b", stars)).anomalies.empty


def test_a_quarter_without_a_count_parts_the_series() -> None:
    early, late = one_history("a/b", [100.0] * 4), one_history("a/b", [100.0] * 4, begin="2022-06-06")

    found = together(early, late)

    assert anomalies(found) == [("a/b", "gap")]
    assert "133 days" in found.anomalies["observed"].iloc[0]
    assert MAX_GAP < 133
    assert found.frame["series"].nunique() == 2


def test_a_break_does_not_touch_what_lies_before_it() -> None:
    """Else a repository would be left out of the past for what comes later."""
    stars = np.arange(1000.0, 1030.0)
    broken = np.concatenate([stars[:20], stars[20:] / 10])

    before = clean_history(one_history("a/b", broken)).frame.head(20)

    pd.testing.assert_frame_equal(before, clean_history(one_history("a/b", stars)).frame.head(20))


def test_names_in_other_capitals_are_one_repository_under_the_last() -> None:
    old, new = (
        one_history("Microsoft/WSL", [900.0, 910]),
        one_history("microsoft/WSL", [920.0, 930], begin="2022-01-17"),
    )

    found = together(old, new)

    assert anomalies(found) == [("Microsoft/WSL", "spelling")]
    assert found.frame["full_name"].unique().tolist() == ["microsoft/WSL"]
    assert found.frame["stars"].tolist() == [900, 910, 920, 930]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("ambv/black", "psf/black"),
        ("vector-im/riot-web", "vector-im/element-web"),
        ("robbyrussell/oh-my-zsh", "ohmyzsh/ohmyzsh"),
    ],
)
def test_a_series_that_goes_on_under_a_new_name_is_joined(was: str, becomes: str) -> None:
    old, new = one_history(was, [9000.0, 9010]), one_history(becomes, [9020.0, 9030], begin="2022-01-17")

    found = together(old, new)

    assert anomalies(found) == [(was, "renamed")]
    assert found.anomalies["observed"].iloc[0] == f"continues as {becomes}"
    assert found.frame["full_name"].unique().tolist() == [becomes]
    assert found.frame["series"].unique().tolist() == [0]


def test_a_repository_that_was_renamed_twice_is_one() -> None:
    parts = [
        one_history(f"{owner}/black", [stars, stars + 10], begin=begin)
        for owner, stars, begin in (
            ("ambv", 9000, "2022-01-03"),
            ("python", 9020, "2022-01-17"),
            ("psf", 9040, "2022-01-31"),
        )
    ]

    assert together(*parts).frame["full_name"].unique().tolist() == ["psf/black"]


@pytest.mark.parametrize(
    ("name", "stars", "begin"),
    [
        ("other/thing", 9020, "2022-01-17"),  # neither owner nor name stays
        ("psf/black", 5000, "2022-01-17"),  # the count does not go on
        ("psf/black", 9020, "2022-06-06"),  # half a year later
        ("psf/black", 9020, "2022-01-10"),  # both were counted on one day
    ],
)
def test_two_repositories_are_not_taken_for_one(name: str, stars: float, begin: str) -> None:
    found = together(one_history("ambv/black", [9000.0, 9010]), one_history(name, [stars, stars + 10], begin=begin))

    assert "renamed" not in set(found.anomalies["anomaly"])


def test_where_two_names_may_be_the_successor_none_is_guessed() -> None:
    parts = [one_history(f"{owner}/black", [9020.0, 9030], begin="2022-01-17") for owner in ("psf", "python")]

    assert "renamed" not in set(together(one_history("ambv/black", [9000.0, 9010]), *parts).anomalies["anomaly"])


def test_of_two_names_with_the_same_counts_the_one_that_ends_first_is_left_out() -> None:
    stars = np.arange(500.0, 600.0, 10)

    found = together(one_history("old/name", stars[:8]), one_history("new/title", stars))

    assert anomalies(found) == [("old/name", "copy")]
    assert found.frame["full_name"].unique().tolist() == ["new/title"]


def test_a_copy_that_was_there_before_leaves_its_past_to_the_one_that_stays() -> None:
    """Renamed, and listed under both names for a while."""
    stars = np.arange(500.0, 900.0, 10)
    old, new = one_history("old/name", stars[:30]), one_history("new/name", stars[20:], begin="2022-05-23")

    found = together(old, new)

    assert anomalies(found) == [("old/name", "copy"), ("old/name", "renamed")]
    assert found.frame["full_name"].unique().tolist() == ["new/name"]
    assert found.frame["stars"].tolist() == stars.tolist()
    assert found.frame["series"].unique().tolist() == [0]


def test_two_repositories_that_stand_still_at_one_count_are_no_copies() -> None:
    assert together(one_history("a/b", [500.0] * 9), one_history("c/d", [500.0] * 9)).anomalies.empty


def test_of_two_counts_in_a_week_the_last_is_kept_and_the_repository_named() -> None:
    again = one_history("a/b", [101.0], begin="2022-01-06")

    found = together(one_history("a/b", [100.0, 110]), again)

    assert anomalies(found) == [("a/b", "repeated week")]
    assert found.frame["stars"].tolist() == [101.0, 110.0]

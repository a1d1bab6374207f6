"""A feature depends only on its declared fields of its own row: not on the stars, other rows or a clock."""

from __future__ import annotations

import string
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from stargaze.features import schema
from stargaze.features.extract import extract, feature
from stargaze.features.feature_kinds import days_between
from stargaze.features.matrix import CATALOG, allowed_features
from stargaze.features.registry import Feature

MakeRepositories = Callable[..., pd.DataFrame]
POPULARITY = {"forks", "subscribers", "watchers", "dependents", "downloads", "monthly_downloads", "updated_at"}
POPULARITY |= {"owner_followers"}
"""What follows from stars, or changes with one; only policy ``all`` may read it."""
COMPUTED_FEATURES = {name: item for name, item in CATALOG.items() if not item.learned}
NAMES = [pytest.param(item, id=item.name) for item in COMPUTED_FEATURES.values()]
NAME = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=12)
MOMENT = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "key": st.integers(1, 10**12),
    "flag": st.sampled_from([0.0, 1.0]),
    "text": st.text(max_size=30),
    "category": st.sampled_from(["User", "Organization", "Python", "mit", "a\0b", "", "nan"]),
    "date": MOMENT,
    "list": st.lists(st.text(max_size=5), max_size=3),
}


@st.composite
def records(draw: st.DrawFn, *, least: int = 1) -> pd.DataFrame:
    """Return repositories with any subset of the fields, with possible and impossible values."""
    rows = draw(st.lists(st.tuples(NAME, NAME, st.integers(0, 2**32)), min_size=least, max_size=4))
    frame = pd.DataFrame([{"full_name": f"{owner}/{name}", **_fields(seed)} for owner, name, seed in rows])
    frame["description"] = draw(st.lists(st.none() | VALUES["text"], min_size=len(rows), max_size=len(rows)))
    return schema.conform(frame)


def _fields(seed: int) -> dict[str, Any]:
    """Draw all fields from one number: sixty strategies would be slow."""
    random = np.random.default_rng(seed)
    beginning = pd.Timestamp("2008-01-01", tz="UTC")
    row: dict[str, Any] = {}
    for field in schema.FIELDS:
        if field.name in ("full_name", "description") or random.random() < 0.3:
            continue
        if field.kind == "count":
            row[field.name] = float(random.choice([0, 1, random.integers(1000), field.maximum]))
        elif field.kind == "flag":
            row[field.name] = float(random.integers(2))
        elif field.kind == "date":
            row[field.name] = beginning + pd.Timedelta(days=int(random.integers(7000)))
        elif field.kind == "category":
            row[field.name] = str(random.choice(["User", "Python", "mit", "nan", "☆"]))
    return row


class Recording(pd.DataFrame):
    """Repositories that record which columns are read."""

    fields: ClassVar[set[str]] = set()

    def __getitem__(self, key: Any) -> Any:
        """Return a column and record its name."""
        Recording.fields |= {key} if isinstance(key, str) else set(key)
        return super().__getitem__(key)


@pytest.fixture(scope="module")
def repositories(make_repositories: MakeRepositories) -> pd.DataFrame:
    """Return a few synthetic repositories in which every count and date is known."""
    frame = make_repositories(40)
    random = np.random.default_rng(1)
    for field in schema.FIELDS:
        if field.kind == "count" and frame[field.name].isna().all():
            frame[field.name] = random.integers(0, 50, len(frame)).astype("float64")
        if field.kind == "date" and frame[field.name].isna().all():
            frame[field.name] = frame["created_at"] + pd.Timedelta(days=3)
    return frame


# ---- leakage ------------------------------------------------------------------------------------------------------


def test_no_feature_depends_on_the_stars(repositories: pd.DataFrame) -> None:
    assert_frame_equal(extract(repositories), extract(repositories.assign(stars=repositories["stars"] * 7 + 3)))
    assert_frame_equal(extract(repositories), extract(repositories.assign(stars=np.nan)))


def test_only_the_feature_watchers_depends_on_the_watchers(repositories: pd.DataFrame) -> None:
    """REST's watchers are the stars; ``select-features`` drops this feature as a leak."""
    others = [name for name in COMPUTED_FEATURES if name != "watchers"]

    assert_frame_equal(
        extract(repositories, others), extract(repositories.assign(watchers=repositories["stars"]), others)
    )


@pytest.mark.parametrize("item", NAMES)
def test_a_feature_reads_exactly_what_it_declares(item: Feature, repositories: pd.DataFrame) -> None:
    Recording.fields = set()

    item.compute(Recording(repositories))

    assert Recording.fields == set(item.source)


@pytest.mark.parametrize("item", [case for case in NAMES if case.values[0].policy != "all"])
def test_only_policy_all_reads_what_follows_from_popularity(item: Feature) -> None:
    assert not set(item.source) & (POPULARITY | {"stars"})


@pytest.mark.parametrize("item", NAMES)
def test_no_feature_declares_the_stars_as_its_source(item: Feature) -> None:
    assert "stars" not in item.source
    assert set(item.source) <= set(schema.FIELD_BY_NAME)
    if "watchers" in item.source:
        assert item.name == "watchers"


def test_only_policy_all_depends_on_popularity(repositories: pd.DataFrame) -> None:
    names = [item.name for item in allowed_features("activity") if not item.learned]
    changed = repositories.copy()
    for name in POPULARITY:
        known = schema.FIELD_BY_NAME[name].kind == "date"
        changed[name] = changed["created_at"] if known else np.arange(len(changed), dtype="float64")

    assert_frame_equal(extract(repositories, names), extract(changed, names))


@pytest.mark.parametrize(("policy", "before"), [("activity", "static"), ("all", "activity")])
def test_each_policy_includes_the_previous_one(policy: str, before: str) -> None:
    assert {item.name for item in allowed_features(before)} < {item.name for item in allowed_features(policy)}


# ---- one row is one row -------------------------------------------------------------------------------------------


@pytest.mark.thorough
@given(records(least=2), st.randoms(use_true_random=False))
@settings(max_examples=12)
def test_a_single_row_has_the_same_features_as_in_a_table(frame: pd.DataFrame, dice: Any) -> None:
    """Serving computes for one repository what training computed for a million, in any order."""
    order = list(range(len(frame)))
    dice.shuffle(order)
    whole = extract(frame.iloc[order])

    row = dice.choice(order)
    assert_frame_equal(extract(frame.iloc[[row]]), whole.loc[[row]])


@pytest.mark.thorough
@given(records())
@settings(max_examples=12)
def test_numbers_of_any_record_are_finite_or_missing(frame: pd.DataFrame) -> None:
    """Warnings are errors: no division by zero, no overflow, no sum of missing dates."""
    features = extract(frame)

    for name, item in COMPUTED_FEATURES.items():
        assert len(features[name]) == len(frame)
        if item.kind == "number":
            assert features[name].dtype == "float32"
            assert not np.isinf(features[name]).any()


def test_an_empty_record_has_only_the_features_of_its_name() -> None:
    features = extract(schema.conform(pd.DataFrame({"full_name": ["a/b"]})))

    known = set(features.columns[features.notna().all()])
    assert all("full_name" in CATALOG[name].source for name in known)
    assert {"name_length", "owner_length", "name_equals_owner"} <= known


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_rows_without_a_name_are_accepted(rows: int) -> None:
    features = extract(schema.empty(rows))

    assert features.shape == (rows, len(COMPUTED_FEATURES))


def test_the_repositories_are_not_modified(repositories: pd.DataFrame) -> None:
    before = repositories.copy(deep=True)

    extract(repositories)

    assert_frame_equal(repositories, before)


def test_the_index_of_the_rows_is_kept(repositories: pd.DataFrame) -> None:
    assert extract(repositories.iloc[5:9]).index.tolist() == [5, 6, 7, 8]


def test_requested_features_are_returned_in_their_order(repositories: pd.DataFrame) -> None:
    assert list(extract(repositories, ["forks", "age", "language"])) == ["forks", "age", "language"]


def test_a_learned_feature_is_not_computed_from_a_record_alone(repositories: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="not computed from a record alone: text_score"):
        extract(repositories, ["text_score"])


def test_an_unknown_feature_raises_value_error(repositories: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="not computed from a record alone: gone"):
        extract(repositories, ["age", "gone"])


# ---- figures ------------------------------------------------------------------------------------------------------

RECORD = {
    "full_name": "My-Org/awesome-List2",
    "description": "A fast ☆ list",
    "fetched_at": "2020-04-10",
    "created_at": "2020-01-01",
    "pushed_at": "2020-02-20",
    "updated_at": "2020-03-11",
    "latest_release_at": "2020-02-10",
    "first_release_at": "2020-01-11",
    "first_commit_at": "2019-12-22",
    "open_issues": 3,
    "closed_issues": 6,
    "contributors": 2,
    "commits": 260,
    "releases": 13,
    "forks": 30,
    "subscribers": 9,
    "downloads": 8,
    "release_assets": 3,
    "pull_requests": 5,
    "recent_commits": 87,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("age", 100),
        ("history_before_creation", 10),
        ("name_length", 13),
        ("owner_length", 6),
        ("name_separators", 2),
        ("name_digits", 1),
        ("name_equals_owner", 0),
        ("name_mentions_list", 1),
        ("description_mentions_praise", 1),
        ("description_mentions_python", 0),
        ("description_words", 3),
        ("description_non_ascii", 1),
        ("push_age", 50),
        ("active_span", 50),
        ("active_share", 50 / 101),
        ("issues", 9),
        ("issue_rate", 9 / 130),
        ("open_issues_per_contributor", 1),
        ("issues_per_contributor", 3),
        ("open_issue_share", 0.3),
        ("pull_requests_per_issue", 0.5),
        ("pull_requests_per_contributor", 5 / 3),
        ("commits_per_contributor", 260 / 3),
        ("recent_commit_share", 1 / 3),
        ("commit_rate", 2),
        ("contributor_rate", 2 / 130),
        ("release_age", 60),
        ("time_to_first_release", 10),
        ("push_after_release", 10),
        ("release_rate", 0.1),
        ("updated_after_push", 20),
        ("update_age", 30),
        ("fork_rate", 30 / 130),
        ("forks_per_contributor", 10),
        ("forks_per_subscriber", 3),
        ("forks_per_issue", 3),
        ("downloads_per_asset", 2),
    ],
)
def test_features_have_the_expected_values(name: str, value: float) -> None:
    features = extract(schema.conform(pd.DataFrame([RECORD])), [name])

    assert features[name].iloc[0] == pytest.approx(value)


def test_a_stated_total_of_issues_takes_precedence() -> None:
    features = extract(schema.conform(pd.DataFrame([{**RECORD, "issues": 20}])), ["issues"])

    assert features["issues"].iloc[0] == 20


def test_durations_are_missing_where_a_date_is_missing() -> None:
    dates = pd.to_datetime(pd.Series(["2020-01-01", None]), utc=True)

    assert np.isnan(days_between(dates, dates.iloc[::-1].reset_index(drop=True))).all()


def test_a_fetch_time_without_time_of_day_gives_whole_days() -> None:
    """The newest date of a table takes the place of unknown fetch times; its time of day is that of the collection."""
    record = {
        **RECORD,
        "created_at": "2020-01-01 05:06:07",
        "pushed_at": "2020-04-10 22:23",
        "updated_at": "2020-04-10 23:01",
    }
    names = ["age", "push_age", "update_age", "updated_after_push"]

    features = extract(schema.conform(pd.DataFrame([record])), [*names, "active_span"])

    assert features[names].iloc[0].tolist() == [100, 0, 0, 0]
    assert features["active_span"].iloc[0] % 1 > 0


@given(MOMENT, MOMENT, st.integers(0, 86_399))
def test_whole_days_do_not_depend_on_the_time_of_day(day: datetime, other: datetime, seconds: int) -> None:
    start, moment = pd.Timestamp(day).floor("D"), pd.Timestamp(other).floor("D")
    dates = [pd.Series([date]).dt.as_unit("s") for date in (start, moment, moment + pd.Timedelta(seconds=seconds))]

    assert days_between(dates[0], dates[1]) == days_between(dates[0], dates[2]) == (moment - start).days
    assert days_between(dates[2], dates[0]) == (start - moment).days


# ---- the catalog --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", NAMES)
def test_every_feature_is_documented(item: Feature) -> None:
    assert item.meaning
    assert item.unit
    assert item.source
    assert item.name.isidentifier()
    assert item.name.islower()


def test_two_features_of_the_same_name_raise_value_error() -> None:
    def age(repositories: pd.DataFrame) -> pd.Series:
        return repositories["stars"]

    with pytest.raises(ValueError, match="two features are named age"):
        feature("static", "days", "twice", "stars")(age)


@pytest.mark.thorough
@pytest.mark.parametrize("first", ["dataset", "encoding.encoder", "extract", "selection.select_features"])
def test_the_order_of_the_catalog_does_not_depend_on_imports(first: str) -> None:
    """The selection depends on the order, so it must not depend on a previous stage in the same process."""
    code = f"import stargaze.features.{first}\nfrom stargaze.features.matrix import CATALOG\nprint(*CATALOG)"

    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert listed.split() == list(CATALOG)
    assert [item.learned for item in CATALOG.values()] == sorted(item.learned for item in CATALOG.values())

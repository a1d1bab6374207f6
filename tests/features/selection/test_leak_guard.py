"""Columns that encode the order or the time of the collection are refused, and honest ones stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.features.dataset import Dataset
from stargaze.features.matrix import build_matrix, catalog_with
from stargaze.features.selection.leak_guard import CollectionCheck, check_collection, describe_refused
from stargaze.features.selection.select_features import select
from tests.collected_tables import (
    BEGIN,
    ORDERS,
    SECTION,
    Collection,
    by_created,
    by_language,
    by_name,
    by_stars,
    by_stars_ascending,
    by_year,
    collect,
    read_table,
)
from tests.conftest import Ended

Order = Callable[[pd.DataFrame], np.ndarray]
DATES = {"update_age", "updated_after_push"}
HOURLY = 50.0
"""So many stars per day and star: most rows were updated some minutes before their collection."""


def check(dataset: Dataset) -> CollectionCheck:
    """Check all features of a dataset."""
    catalog = catalog_with(dataset.own_columns)
    repositories = dataset.repositories.iloc[dataset.training]
    names = [name for name, item in catalog.items() if not item.learned and name != "watchers"]
    vocabularies = {name: ["JavaScript"] for name in names if catalog[name].kind == "category"}
    return check_collection(dataset, build_matrix(repositories, names, vocabularies, None, catalog), catalog, ())


def refused(table: pd.DataFrame, folder: Path, extra: tuple[str, ...] = (), *, shuffled: bool = False) -> set[str]:
    """Return the refused features of a table."""
    return set(check(read_table(table, folder, extra, shuffled=shuffled)).reasons)


# ---- dates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("order", [by_stars, by_name])
def test_updated_at_is_not_used_without_fetch_times(
    sample: pd.DataFrame, tmp_path: Path, order: Order, shuffled: bool
) -> None:
    collection = collect(sample, order)
    table = collection.rows.assign(updated_at=collection.updated(HOURLY))

    found = check(read_table(table, tmp_path, shuffled=shuffled))

    assert set(found.reasons) == DATES
    assert "records state no fetch time" in found.reasons["update_age"]


def test_updated_at_is_not_used_if_a_part_of_the_records_states_no_fetch_time(
    sample: pd.DataFrame, tmp_path: Path
) -> None:
    collection = collect(sample, by_stars, seconds=600.0)
    states_time = np.arange(len(collection.rows)) % 5 > 0
    table = collection.rows.assign(updated_at=collection.updated(HOURLY), fetched_at=collection.time.where(states_time))

    assert refused(table, tmp_path) == DATES


@pytest.mark.parametrize("order", [by_created, by_stars, by_name])
def test_dates_of_repositories_that_were_abandoned_soon_after_their_creation_stay(
    sample: pd.DataFrame, tmp_path: Path, order: Order
) -> None:
    """The last push of an old repository is old: that is no time of its collection."""
    end, random = sample["fetched_at"].max(), np.random.default_rng(3)
    rows = sample[sample["created_at"] < end - pd.Timedelta(days=30)].reset_index(drop=True)
    age = (end - rows["created_at"]).dt.days
    days = pd.to_timedelta(random.exponential(10.0, len(rows)), unit="D")
    pushed = (rows["created_at"] + days).dt.floor("s").clip(upper=end)
    rows = rows.assign(stars=np.round((rows["stars"] + 1) * (age / age.mean()) ** 3), pushed_at=pushed)
    rows = rows.iloc[order(rows)].reset_index(drop=True)

    assert refused(rows.assign(updated_at=rows["pushed_at"], fetched_at=end), tmp_path) == set()


def test_a_day_of_the_last_update_has_no_minute_of_the_collection(sample: pd.DataFrame, tmp_path: Path) -> None:
    collection = collect(sample, by_stars)

    assert refused(collection.rows.assign(updated_at=collection.updated(HOURLY).dt.floor("D")), tmp_path) == set()


@pytest.mark.parametrize("order", [by_stars, by_stars_ascending, by_language])
def test_true_fetch_times_of_a_table_in_order_of_stars_are_no_leak(
    sample: pd.DataFrame, tmp_path: Path, order: Order
) -> None:
    collection = collect(sample, order)
    table = collection.rows.assign(updated_at=collection.updated(HOURLY), fetched_at=collection.time)

    assert refused(table, tmp_path) == set()


def test_one_fetch_time_before_some_updates_is_not_that_of_each_row(sample: pd.DataFrame, tmp_path: Path) -> None:
    collection = collect(sample, by_stars)
    table = collection.rows.assign(updated_at=collection.updated(HOURLY), fetched_at=BEGIN)

    found = check(read_table(table, tmp_path))

    assert set(found.reasons) == DATES
    assert "all records state the same fetched_at" in found.reasons["update_age"]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("order", [by_stars, by_stars_ascending])
def test_one_fetch_time_at_the_end_of_a_collection_in_order_of_stars_is_refused(
    sample: pd.DataFrame, tmp_path: Path, order: Order, shuffled: bool
) -> None:
    collection = collect(sample, order, seconds=6.0)
    table = collection.rows.assign(updated_at=collection.updated(1000.0), fetched_at=collection.time.max())

    found = check(read_table(table, tmp_path, shuffled=shuffled))

    assert set(found.reasons) == DATES
    assert "collected one after another" in found.reasons["update_age"]


@pytest.mark.parametrize("order", [by_stars, by_language, by_name])
def test_one_fetch_time_of_a_table_that_was_collected_at_once_stays(
    sample: pd.DataFrame, tmp_path: Path, order: Order
) -> None:
    collection = collect(sample, order, seconds=0.0)
    table = collection.rows.assign(updated_at=collection.updated(HOURLY), fetched_at=BEGIN)

    assert refused(table, tmp_path) == set()


def test_the_electron_sample_loses_no_feature(sample: pd.DataFrame, tmp_path: Path) -> None:
    assert refused(sample, tmp_path) == set()


# ---- own columns --------------------------------------------------------------------------------------------------


def planted(collection: Collection) -> pd.DataFrame:
    """Return columns that encode the order or the time of a collection."""
    rows, random = np.arange(len(collection.rows), dtype="float64"), np.random.default_rng(2)
    return pd.DataFrame(
        {
            "number": rows + 100.0,
            "random_steps": np.cumsum(random.integers(1, 9, len(rows))).astype("float64"),
            "second": collection.clock,
            "minute": np.floor(collection.clock / 60.0),
            "page": rows // 30,
            "incomplete": np.where(random.random(len(rows)) < 0.3, np.nan, rows),
            "root": np.sqrt(rows),
        }
    )


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_columns_that_encode_the_collection_are_refused(
    sample: pd.DataFrame, tmp_path: Path, order: Order, shuffled: bool
) -> None:
    collection = collect(sample, order)
    columns = planted(collection)
    table = collection.rows.join(columns)

    found = refused(table, tmp_path, tuple(columns), shuffled=shuffled)

    expected = set(columns) - ({"page", "minute"} if shuffled and order in (by_language, by_year) else set())
    assert expected <= found <= set(columns)


@pytest.mark.parametrize("order", [by_language, by_year])
def test_a_number_that_begins_again_in_each_part_is_refused(sample: pd.DataFrame, tmp_path: Path, order: Order) -> None:
    rows = collect(sample, order).rows
    part = rows["language"].fillna("") if order is by_language else rows["created_at"].dt.year
    table = rows.assign(place=rows.groupby(part).cumcount().astype("float64"))

    assert refused(table, tmp_path / "in order", ("place",)) == {"place"}
    assert refused(table, tmp_path / "shuffled", ("place",), shuffled=True) == {"place"}


def test_columns_of_an_order_that_has_nothing_to_do_with_stars_stay(sample: pd.DataFrame, tmp_path: Path) -> None:
    collection = collect(sample, by_name)
    columns = planted(collection)

    assert refused(collection.rows.join(columns), tmp_path, tuple(columns)) == set()


def test_ranges_of_stars_as_a_category_are_refused(sample: pd.DataFrame, tmp_path: Path) -> None:
    rows = collect(sample, by_stars).rows
    table = rows.assign(query="page " + pd.Series(np.arange(len(rows)) // 50).astype("str"))

    assert refused(table, tmp_path, ("query",)) == {"query"}


@pytest.mark.parametrize("shuffled", [False, True])
def test_parts_of_the_order_of_the_stars_are_refused(sample: pd.DataFrame, tmp_path: Path, *, shuffled: bool) -> None:
    """Two, three or four of them do not predict stars better than forks do, but they are exact."""
    rows = collect(sample, by_stars).rows
    place = np.arange(len(rows)) / len(rows)
    columns = {
        "is_popular": place < 0.3,
        "tier": np.array(["high", "medium", "low"])[(place * 3).astype("int64")],
        "quartile": np.floor(place * 4),
        "only_first_requests": np.where(place < 0.6, np.random.default_rng(4).normal(size=len(rows)), np.nan),
    }

    found = check(read_table(rows.assign(**columns), tmp_path, tuple(columns), shuffled=shuffled)).reasons

    assert set(found) == set(columns)
    assert "whether it is missing depends on the stars alone" in found["only_first_requests"]
    assert "its values are parts of the order of the stars" in found["tier"]


def test_a_field_that_counts_rows_takes_along_all_features_that_read_it(sample: pd.DataFrame, tmp_path: Path) -> None:
    """The forks per day, with the age, are the forks."""
    rows = collect(sample, by_stars).rows
    table = rows.assign(forks=np.arange(len(rows), dtype="float64"))

    reasons = check(read_table(table, tmp_path)).reasons

    assert {"forks", "fork_rate", "forks_per_contributor", "forks_per_issue"} <= set(reasons)
    assert len(describe_refused(reasons)) == 1


@pytest.mark.parametrize("key", ["created_at", "owner_id", "forks", "size_kb"])
def test_the_honest_column_by_which_a_table_is_sorted_stays(sample: pd.DataFrame, tmp_path: Path, key: str) -> None:
    rows = sample.drop(columns=["updated_at"]).sort_values(key, ignore_index=True)

    assert refused(rows, tmp_path) == set()


def test_the_year_of_a_table_with_equal_parts_stays(sample: pd.DataFrame, tmp_path: Path) -> None:
    """The years follow one another like pages, but the stars of two years are not apart."""
    rows = sample[sample["created_at"].dt.year.isin((2013, 2014, 2015))]
    rows = rows.groupby(rows["created_at"].dt.year).head(250).reset_index(drop=True)
    table = collect(rows, by_year).rows.assign(year=lambda table: table["created_at"].dt.year.astype("float64"))

    assert refused(table, tmp_path, ("year",)) == set()


@pytest.mark.parametrize("n_rows", [300, 1_000, 2_000])
def test_honest_columns_are_not_refused_by_chance(sample: pd.DataFrame, tmp_path: Path, n_rows: int) -> None:
    """Of 200 columns that follow the stars with noise, in a table in order of stars, none is refused."""
    rows = collect(sample.sample(n_rows, random_state=1), by_stars).rows
    random, log_stars = np.random.default_rng(n_rows), np.log1p(rows["stars"].to_numpy())
    columns = {}
    for i in range(50):
        noise = random.normal(0.0, log_stars.std() * random.uniform(0.3, 1.5), (4, n_rows))
        columns[f"number_{i}"] = log_stars + noise[0]
        columns[f"count_{i}"] = np.round(np.exp(log_stars + noise[1]) / 100.0)
        columns[f"rank_{i}"] = np.argsort(np.argsort(-log_stars + noise[2])).astype("float64")
        columns[f"step_{i}"] = np.round(log_stars + noise[3])
    names = list(columns)
    found = set()
    for part in (names[i : i + 40] for i in range(0, len(names), 40)):
        table = rows.join(pd.DataFrame({name: columns[name] for name in part}))
        found |= refused(table, tmp_path / part[0], tuple(part))

    assert found == set()


# ---- the stage ----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("order", [by_stars, by_stars_ascending])
def test_scores_are_those_of_the_table_without_the_leaking_columns(
    sample: pd.DataFrame, tmp_path: Path, order: Order
) -> None:
    collection = collect(sample, order)
    honest = collection.rows.assign(updated_at=collection.time.dt.floor("D").max())
    leaking = collection.rows.assign(updated_at=collection.updated(HOURLY), minute=collection.clock // 60.0)

    expected = select(read_table(honest, tmp_path / "honest"), SECTION).feature_set
    found = select(read_table(leaking, tmp_path / "leaking", ("minute",)), SECTION).feature_set

    assert found.selected == expected.selected
    assert found.scores == expected.scores
    assert found.collection["row_number"] > 0.99


@pytest.mark.thorough
def test_select_features_prints_one_line_for_each_refused_column(
    sample: pd.DataFrame, tmp_path: Path, run: Callable[..., Ended]
) -> None:
    from tests.collected_tables import fetch_table

    collection = collect(sample, by_stars)
    table = collection.rows.assign(updated_at=collection.updated(HOURLY), place=np.arange(len(collection.rows)))
    store = fetch_table(table, tmp_path, ("place",))

    ended = run("select-features", "--store", str(store.root))

    lines = [line for line in ended.err.splitlines() if "refused" in line]
    assert len(lines) == 2
    assert "refused updated_after_push, update_age: updated_at encodes the collection" in lines[0]
    assert "refused place: leaks the target: equal to the stars in" in lines[1]
    reasons = pd.read_csv(store.selection).set_index("feature")["all"]
    assert "Spearman's rho -0.99" in reasons["place"]
    assert "[fetch.columns] fetched_at" in reasons["update_age"]

"""Copies of repositories with the missing values of live look-ups, typed metrics and tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from stargaze.features import schema
from stargaze.features.github.api.field_sets import graphql_fields, rest_fields
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.ingest.user_input import USUAL_FIELDS
from stargaze.features.masking import (
    ALWAYS_KNOWN,
    LARGEST_COPIES,
    LARGEST_SHARE,
    PATTERNS,
    apply_pattern,
    choose_copies,
    mask_repositories,
    maskable_fields,
    remove_fields,
)
from stargaze.features.split import TEST, VALIDATION
from tests.own_columns import OWN, add_own_columns
from tests.simulated.population import Population


def test_the_fields_of_a_rest_response_are_those_of_the_simulated_github() -> None:
    record = Population(3, 10, 0).record(0) | {"subscribers_count": 1}

    assert set(map_record(record)) - {"fetched_at"} <= rest_fields()
    assert {"forks", "subscribers", "open_issues", "size_kb", "license", "topics", "owner_id"} <= rest_fields()
    assert not {"contributors", "commits", "releases", "pull_requests", "downloads"} & rest_fields()


def test_the_fields_of_graphql_follow_from_the_queries() -> None:
    fields = graphql_fields()

    assert {"commits", "releases", "pull_requests", "closed_issues", "issues", "languages", "readme_length"} <= fields
    assert {"owner_followers", "owner_members", "latest_release_at", "subscribers", "topics", "is_mirror"} <= fields
    assert not {"contributors", "has_pages", "downloads", "first_commit_at", "package_scripts"} & fields


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_only_removes_values(sample: pd.DataFrame, name: str) -> None:
    sample = sample[::10]
    partial = apply_pattern(sample, name, 0)

    assert partial.dtypes.equals(sample.dtypes)
    for field in sample:
        known = partial[field].notna()
        assert partial[field][known].astype(str).equals(sample[field][known].astype(str))
        assert field not in ALWAYS_KNOWN or known.equals(sample[field].notna())
    assert partial.isna().sum().sum() > sample.isna().sum().sum()


def test_live_look_ups_keep_exactly_the_fields_of_their_source(sample: pd.DataFrame) -> None:
    partial = apply_pattern(sample, "live without token", 0)

    for field in maskable_fields(sample):
        assert partial[field].notna().any() == (field in rest_fields() | {"contributors"}), field


def test_typed_metrics_go_from_nearly_nothing_to_nearly_everything(sample: pd.DataFrame) -> None:
    fields = [name for name in maskable_fields(sample) if sample[name].notna().all()]

    kept = apply_pattern(sample, "typed metrics", 0)[fields].notna().mean(axis=1)

    assert kept.quantile(0.05) < 0.15
    assert kept.quantile(0.95) > 0.85


@pytest.mark.parametrize(("name", "count"), [("five typed metrics", 5), ("one typed metric", 1)])
def test_a_visitor_types_metrics_that_are_usually_known(sample: pd.DataFrame, name: str, count: int) -> None:
    known = apply_pattern(sample, name, 0).drop(columns=[*ALWAYS_KNOWN]).notna()

    assert known.sum(axis=1).max() == count
    assert {str(field) for field in known.columns[known.any()]} <= USUAL_FIELDS


def test_repositories_with_the_largest_counts_have_further_copies_that_keep_them(sample: pd.DataFrame) -> None:
    """Otherwise hardly any copy has many forks and nothing else, and 100,000 forks mean no more than 100."""
    folds = np.zeros(len(sample), dtype="int64")

    copies = choose_copies(sample, folds)

    assert copies.rows[: len(sample)].tolist() == list(range(len(sample)))
    assert copies.are_drawn.tolist() == [True] * len(sample) + [False] * (len(copies.rows) - len(sample))
    repositories = sample.iloc[copies.rows].reset_index(drop=True)
    masked = mask_repositories(repositories, 0, copies.keeps)
    known = masked.drop(columns=[*ALWAYS_KNOWN]).notna().sum(axis=1)
    for field in ("forks", "subscribers", "contributors"):
        keeping = copies.keeps == field
        counts = sample[field][sample[field] > 0]
        assert (np.bincount(copies.rows[keeping])[np.unique(copies.rows[keeping])] == LARGEST_COPIES).all()
        assert keeping.sum() == LARGEST_COPIES * int(LARGEST_SHARE * len(counts))
        assert repositories[field][keeping].min() >= counts.quantile(1 - 1.1 * LARGEST_SHARE)
        assert masked[field][keeping].equals(repositories[field][keeping])
        assert (known[keeping] == 1).mean() > 0.3
        assert known[keeping].max() > 5


def test_copies_do_not_depend_on_stars(sample: pd.DataFrame) -> None:
    """Neither those of the test set, which would tell about it, nor those of the row itself, which would bias estimates."""
    random = np.random.default_rng(0)
    folds = random.choice([TEST, VALIDATION, 0, 1], len(sample))
    other = sample.assign(stars=random.permutation(sample["stars"]))

    copies, again = choose_copies(sample, folds), choose_copies(other, folds)

    assert copies.rows.tolist() == again.rows.tolist()
    masked = [
        mask_repositories(table.iloc[copies.rows].reset_index(drop=True), 0, copies.keeps).drop(columns="stars")
        for table in (sample, other)
    ]
    pd.testing.assert_frame_equal(*masked)


def test_the_largest_counts_are_chosen_in_each_set(sample: pd.DataFrame) -> None:
    """The forks of the test set do not decide which training rows have further copies, and those of training not of it."""
    folds = np.random.default_rng(0).choice([TEST, VALIDATION, 0, 1], len(sample))
    other = sample.assign(forks=sample["forks"].where(folds != TEST, 1e6 + np.arange(len(sample))))

    chosen, again = (choose_copies(table, folds) for table in (sample, other))

    for part in (folds == VALIDATION, folds >= 0):
        kept = [copies.rows[(copies.keeps == "forks") & part[copies.rows]].tolist() for copies in (chosen, again)]
        assert kept[0] == kept[1] != []
    largest = np.flatnonzero(folds == TEST)[-1]
    assert (again.rows[again.keeps == "forks"] == largest).sum() == LARGEST_COPIES


@pytest.mark.parametrize("fields", [{}, {"forks": 0.0}, {"forks": None}, {"description": "text", "size_kb": 7.0}])
def test_without_known_counts_there_is_one_copy_of_each_row(fields: dict[str, object]) -> None:
    names = [f"owner/name-{number}" for number in range(400)]
    repositories = schema.conform(pd.DataFrame({"full_name": names, "stars": 5.0, **fields}))

    copies = choose_copies(repositories, np.arange(400) % 5)
    masked = mask_repositories(repositories, 0, copies.keeps)

    assert copies.rows.tolist() == list(range(400))
    assert copies.are_drawn.all()
    assert masked["stars"].equals(repositories["stars"])


def test_a_few_rows_have_one_copy_each(sample: pd.DataFrame) -> None:
    assert len(choose_copies(sample[:30], np.arange(30) % 5).rows) == 30


def test_masked_copies_have_all_patterns_and_depend_on_the_seed(sample: pd.DataFrame) -> None:
    first, again, other = (mask_repositories(sample, seed) for seed in (0, 0, 1))

    lost = first[maskable_fields(sample)].isna().sum(axis=1)
    assert first.equals(again)
    assert not first.equals(other)
    assert np.unique(lost).size > 10
    assert sum(pattern.share for pattern in PATTERNS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", PATTERNS)
def test_only_tables_and_complete_records_keep_own_columns(
    make_repositories: Callable[..., pd.DataFrame], name: str
) -> None:
    """Live look-ups and entered metrics never have them."""
    repositories = add_own_columns(make_repositories(400))

    partial = apply_pattern(repositories, name, 0)

    kept = partial[[column.name for column in OWN]].notna().any()
    assert kept.all() if name in ("table", "one field missing") else not kept.any()
    assert partial[list(schema.FIELD_BY_NAME)].notna().any(axis=None)


def test_own_columns_do_not_change_which_fields_typed_metrics_have(
    make_repositories: Callable[..., pd.DataFrame],
) -> None:
    repositories = make_repositories(400)
    partial = apply_pattern(add_own_columns(repositories), "five typed metrics", 3)

    assert_frame_equal(partial[list(repositories)], apply_pattern(repositories, "five typed metrics", 3))


def test_stored_facts_of_a_description_are_removed_with_it() -> None:
    facts = {"description_tokens": [[-5, 3]], "description_keywords": [["web"]], "description_non_ascii": [2.0]}
    stored = schema.conform(pd.DataFrame({"full_name": ["a/b"], "stars": [1], "forks": [2], **facts}))

    removed = remove_fields(stored, ["description"], np.array([[False]]))
    kept = remove_fields(stored, ["forks", "description"], np.array([[False, True]]))

    assert maskable_fields(stored) == ["full_name", "description", "forks"]
    assert removed[list(facts)].isna().all(axis=None)
    assert_frame_equal(kept[list(facts)], stored[list(facts)])

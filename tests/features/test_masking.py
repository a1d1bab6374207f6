"""Copies of repositories with the missing values of live look-ups, typed metrics and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.features.github.api.field_sets import graphql_fields, rest_fields
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.masking import ALWAYS_KNOWN, FEW, PATTERNS, apply_pattern, mask_repositories, maskable_fields
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
    few = apply_pattern(sample, "five typed metrics", 0).drop(columns=[*ALWAYS_KNOWN]).notna().sum(axis=1)

    assert kept.quantile(0.05) < 0.15
    assert kept.quantile(0.95) > 0.85
    assert few.max() <= FEW


def test_masked_copies_have_all_patterns_and_depend_on_the_seed(sample: pd.DataFrame) -> None:
    first, again, other = (mask_repositories(sample, seed) for seed in (0, 0, 1))

    lost = first[maskable_fields(sample)].isna().sum(axis=1)
    assert first.equals(again)
    assert not first.equals(other)
    assert np.unique(lost).size > 10
    assert sum(pattern.share for pattern in PATTERNS.values()) == pytest.approx(1.0)

"""More information never widens the interval on average, and the answer stays in the interval of the full answer."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle, Estimate
from stargaze.config import POLICIES, FeaturesSection, TuningSection
from stargaze.features import schema
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.masking import maskable_fields, remove_fields
from stargaze.features.matrix import CATALOG, build_vocabulary
from stargaze.features.split import assign_folds
from stargaze.store import Store
from stargaze.tuning.training.save import save_best
from tests.conftest import SAMPLE
from tests.tuning.training.test_save import trial

pytestmark = pytest.mark.thorough

STATIC = ["owner_type", "language", "license", "owner_id", "description_length", "has_homepage", "age", "name_length"]
SELECTED = {
    "static": STATIC,
    "activity": [
        *("license", "description_length", "has_homepage", "age", "contributors", "open_issues", "releases"),
        *("active_span", "issue_rate", "open_issues_per_contributor", "release_age"),
    ],
    "all": [
        *(
            "owner_type",
            "owner_id",
            "description_length",
            "open_issues",
            "forks",
            "subscribers",
            "downloads",
            "size_kb",
        ),
        *("age", "push_age", "updated_after_push", "update_age", "fork_rate", "forks_per_contributor", "release_age"),
    ],
}
Trained = tuple[Bundle, pd.DataFrame, Estimate]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A bundle of the whole sample, the held-out repositories, and their complete answers."""
    store, section = Store(tmp_path_factory.mktemp("fields")), FeaturesSection()
    frame = schema.conform(pd.read_parquet(SAMPLE)).reset_index(drop=True)
    table = Dataset(frame, np.log1p(frame["stars"].to_numpy()), assign_folds(frame["full_name"], section), "0" * 64)
    vocabularies = {name: build_vocabulary(frame[name]) for name in ("owner_type", "language", "license")}
    feature_set = FeatureSet(SELECTED, vocabularies, section, table.fingerprint, {})
    trials = [trial("lightgbm", 0.4, n_estimators=120, num_leaves=15, learning_rate=0.06)]
    folder, _ = save_best(TuningSection(), store, table, feature_set, trials)
    held_out = frame.iloc[table.test]
    bundle = Bundle.load(folder)
    return bundle, held_out, bundle.estimate(held_out)


def widths(answer: Estimate) -> np.ndarray:
    return np.asarray(np.log1p(answer.high) - np.log1p(answer.low))


def without(repositories: pd.DataFrame, fields: list[str]) -> pd.DataFrame:
    return remove_fields(repositories, fields, np.zeros((len(repositories), len(fields)), dtype=bool))


def test_every_estimate_is_inside_its_interval(trained: Trained) -> None:
    bundle, _, _ = trained

    answer = bundle.estimate(bundle.known)

    expected = np.expm1(answer.predicted)
    assert ((answer.low <= expected) & (expected <= answer.high)).all()


def test_removing_a_field_neither_narrows_the_interval_nor_moves_the_answer_out_of_it(trained: Trained) -> None:
    bundle, repositories, full = trained

    for field in maskable_fields(repositories):
        partial = bundle.estimate(without(repositories, [field]))
        expected = np.expm1(partial.predicted)
        assert widths(partial).mean() >= widths(full).mean() - 0.005, field
        assert ((expected < full.low) | (expected > full.high)).mean() <= 0.1, field


def test_removing_more_of_the_fields_widens_the_interval(trained: Trained) -> None:
    bundle, repositories, full = trained
    random, fields = np.random.default_rng(0), maskable_fields(repositories)

    for _ in range(5):
        order = random.permutation(fields).tolist()
        means = [widths(full).mean()]
        removed = [order[:count] for count in (len(order) // 4, len(order) // 2, len(order))]
        means += [widths(bundle.estimate(without(repositories, names))).mean() for names in removed]
        assert all(after >= 0.9 * before for before, after in itertools.pairwise(means)), means
        assert means[-1] > 2 * means[0]


@pytest.mark.parametrize("seed", range(5, 10))
def test_no_single_step_of_a_random_order_narrows_the_interval_much(trained: Trained, seed: int) -> None:
    """Estimates fall, and another policy takes over: without the widening, a step of order 5 costs 11%."""
    bundle, repositories, full = trained
    used = {field for names in SELECTED.values() for name in names for field in CATALOG[name].source}
    fields = [field for field in maskable_fields(repositories) if field in used]
    order = np.random.default_rng(seed).permutation(fields).tolist()

    steps = [bundle.estimate(without(repositories, order[:count])) for count in range(1, len(order) + 1)]

    means = [widths(answer).mean() for answer in (full, *steps)]
    assert all(after >= 0.95 * before for before, after in itertools.pairwise(means)), means


def test_the_coverage_holds_for_complete_rows_and_for_each_pattern(trained: Trained) -> None:
    """Rows without stars are covered more often: an interval that contains an estimate below one star contains 0."""
    bundle, repositories, full = trained
    stars = repositories["stars"].to_numpy()
    inside = (full.low <= stars) & (stars <= full.high)

    assert inside.mean() == pytest.approx(0.925, abs=0.03)
    for policy in POLICIES:
        scores = bundle.meta["scores"][policy]
        for row in scores["coverage_by_decade"]:
            assert row["n"] < 100 or row["coverage"] >= 0.86, (policy, row)
        for row in scores["patterns"]:
            assert row["coverage"] >= 0.88, (policy, row)


def test_a_live_answer_is_nearly_as_accurate_as_one_with_all_fields(trained: Trained) -> None:
    scores = trained[0].meta["scores"]["all"]
    r2 = {row["pattern"]: row["r2"] for row in scores["patterns"]}

    assert r2["live with token"] >= scores["r2"] - 0.02
    assert r2["live without token"] >= scores["r2"] - 0.02
    assert r2["five typed metrics"] > 0.35
    assert r2["one typed metric"] > 0.1


def test_many_forks_give_many_stars_whatever_else_is_known(trained: Trained) -> None:
    """The form with nothing but forks: 100 and 100,000 of them are different repositories."""
    bundle, _, _ = trained
    counts = [0.0, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]
    figures = {"full_name": [f"a/b{i}" for i in range(7)], "forks": counts}
    for more in ({}, {"open_issues": 10.0}, {"open_issues": 50.0, "created_at": "2015-01-01", "owner_type": "User"}):
        frame = pd.DataFrame(figures).assign(fetched_at="2020-01-01", **more)
        answer = bundle.estimate(schema.conform(frame))
        expected = np.expm1(answer.predicted)
        assert set(answer.policy) == {"all"}
        assert (np.diff(answer.predicted) >= -0.2).all(), expected
        assert expected[-1] > 1.4 * expected[3] > 7 * (expected[1] + 0.1)
        assert more or expected[3] > 150

"""The quality gate: a bundle that is worse than production is refused, one that differs by noise is not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Estimate
from stargaze.config import FeaturesSection
from stargaze.errors import DifferenceFoundError
from stargaze.features.split import TEST, assign_folds
from stargaze.serve.release import quality_gate
from stargaze.serve.release.quality_gate import check_quality, compare_predictions, compare_predictors
from stargaze.store import Store


@dataclass
class NoisyPredictor:
    """Predicts the truth plus noise; remembers the repositories that it predicted."""

    noise: float
    seed: int
    split: FeaturesSection = FeaturesSection()  # noqa: RUF009 - frozen
    predicted: pd.DataFrame | None = None
    metric: str = "rmsle"

    @property
    def meta(self) -> dict[str, str]:
        return {"metric": self.metric}

    def estimate(self, repositories: pd.DataFrame) -> Estimate:
        self.predicted = repositories
        truth = np.log1p(repositories["stars"].to_numpy())
        zeros = np.zeros(len(truth))
        predicted = truth + np.random.default_rng(self.seed).normal(0.0, self.noise, len(truth))
        return Estimate(predicted, zeros, zeros, zeros.astype(str))


def test_a_worse_challenger_is_detected_on_the_same_repositories(
    make_repositories: Callable[..., pd.DataFrame],
) -> None:
    comparison = compare_predictors(NoisyPredictor(0.6, 1), NoisyPredictor(0.4, 2), make_repositories(4000))

    assert comparison.is_worse
    assert comparison.challenger_error == pytest.approx(0.6, rel=0.15)
    assert comparison.champion_error == pytest.approx(0.4, rel=0.15)
    assert not compare_predictors(NoisyPredictor(0.4, 1), NoisyPredictor(0.6, 2), make_repositories(4000)).is_worse


def test_a_challenger_of_the_mean_is_compared_in_stars(make_repositories: Callable[..., pd.DataFrame]) -> None:
    """By RMSLE a mean is worse than a typical count."""
    repositories = make_repositories(4000)

    comparison = compare_predictors(NoisyPredictor(0.6, 1, metric="rmse"), NoisyPredictor(0.2, 2), repositories)

    assert comparison.metric == "rmse"
    assert comparison.challenger_error > comparison.champion_error
    assert comparison.as_text().startswith("RMSE ")
    assert " stars, in production " in comparison.as_text()


def test_a_typical_count_may_be_replaced_by_a_mean() -> None:
    random = np.random.default_rng(0)
    median, owners = random.uniform(3.0, 7.0, 4000), np.arange(4000).astype(str)
    truth = median + random.normal(0.0, 0.7, 4000)

    by_log, by_stars = (
        compare_predictions(truth, median + 0.245, median, owners, metric) for metric in ("rmsle", "rmse")
    )

    assert by_log.is_worse
    assert by_stars.difference < 0


def test_noise_rarely_counts_as_worse() -> None:
    random = np.random.default_rng(0)
    truth, owners = np.zeros(200), np.arange(200).astype(str)

    worse = [
        compare_predictions(truth, random.normal(size=200), random.normal(size=200), owners).is_worse
        for _ in range(500)
    ]

    assert 0.005 < np.mean(worse) < 0.05  # a normal variable is above two standard errors in 2.3% of cases


def test_repositories_of_one_owner_are_one_cluster() -> None:
    """A hundred similar repositories of one owner are not a hundred independent samples."""
    random = np.random.default_rng(3)
    by_owner = random.normal(size=(2, 40))
    truth, owners = np.zeros(4000), np.repeat(np.arange(40), 100).astype(str)

    clustered = compare_predictions(truth, np.repeat(by_owner[0], 100), np.repeat(by_owner[1], 100), owners)
    unclustered = compare_predictions(
        truth, np.repeat(by_owner[0], 100), np.repeat(by_owner[1], 100), np.arange(4000).astype(str)
    )

    assert clustered.standard_error == pytest.approx(10 * unclustered.standard_error, rel=0.05)
    assert clustered.owners == 40


def test_only_repositories_held_out_by_both_are_compared(make_repositories: Callable[..., pd.DataFrame]) -> None:
    other = replace(FeaturesSection(), seed=7, test_size=0.4)
    challenger, champion = NoisyPredictor(0.5, 1), NoisyPredictor(0.5, 2, split=other)
    repositories = make_repositories(4000, full_name=[f"owner{number}/x" for number in range(4000)])

    compare_predictors(challenger, champion, repositories)

    assert challenger.predicted is not None
    names = challenger.predicted["full_name"]
    assert (assign_folds(names, challenger.split) == TEST).all()
    assert (assign_folds(names, other) == TEST).all()
    assert 100 < len(names) < len(repositories) / 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_a_prediction_that_is_not_finite_counts_as_worse(value: float) -> None:
    """NaN is not greater than any number, so a plain comparison would accept it."""
    truth, owners = np.linspace(1, 9, 40), np.arange(40).astype(str)
    predicted = np.r_[value, truth[1:]]

    assert compare_predictions(truth, predicted, truth, owners).is_worse


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_error_names_the_bundle_whose_prediction_is_not_finite(
    make_repositories: Callable[..., pd.DataFrame], value: float
) -> None:
    with pytest.raises(DifferenceFoundError, match=r"^the bundle predicts no finite number for \d+ of"):
        compare_predictors(NoisyPredictor(value, 1), NoisyPredictor(0.5, 2), make_repositories(4000))
    with pytest.raises(DifferenceFoundError, match=r"^the bundle in production predicts no finite number"):
        compare_predictors(NoisyPredictor(0.5, 1), NoisyPredictor(value, 2), make_repositories(4000))


def test_too_few_owners_is_an_error(make_repositories: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(DifferenceFoundError, match="owners were held out by both"):
        compare_predictors(NoisyPredictor(0.5, 1), NoisyPredictor(0.5, 2), make_repositories(60))


@pytest.mark.real
def test_a_bundle_is_not_worse_than_itself_on_its_own_repositories(bundle_folder: Path, store: Store) -> None:
    comparison = check_quality(bundle_folder, bundle_folder, store)

    assert (comparison.difference, comparison.standard_error) == (0.0, 0.0)
    assert comparison.repositories > 100
    assert "held-out repositories" in comparison.as_text()


@pytest.mark.real
def test_an_unreadable_champion_is_an_error_that_names_force(bundle_folder: Path, store: Store, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle_folder, broken)
    (broken / "bundle.json").write_text("{}")

    with pytest.raises(DifferenceFoundError, match="cannot be compared with broken, which is in production") as excinfo:
        check_quality(bundle_folder, broken, store)

    assert excinfo.value.hint.endswith('--force "the reason" skips the comparison, not the checks of the hook')


@pytest.mark.real
@pytest.mark.parametrize("output", ["", "x", "[]", "{}", '{"difference": NaN}', "[" * 100_000])
def test_a_model_process_that_prints_something_else_is_an_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    (tmp_path / "output").write_text(output)
    program = f"print(open({str(tmp_path / 'output')!r}).read())"
    monkeypatch.setattr(quality_gate, "PROGRAM", (sys.executable, "-S", "-c", program))

    with pytest.raises(DifferenceFoundError, match="cannot be compared with"):
        check_quality(tmp_path, tmp_path, store)

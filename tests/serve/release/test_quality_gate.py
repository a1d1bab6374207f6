"""The gate: a bundle that is worse than production stays out, one that only differs by chance does not."""

from __future__ import annotations

import shutil
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
from stargaze.serve.release.quality_gate import check, compare, judge
from stargaze.store import Store


@dataclass
class Guess:
    """Predicts the truth and some noise of its own; remembers what it was asked."""

    noise: float
    seed: int
    split: FeaturesSection = FeaturesSection()  # noqa: RUF009 - frozen
    asked: pd.DataFrame | None = None

    def answer(self, repositories: pd.DataFrame) -> Estimate:
        self.asked = repositories
        truth = np.log1p(repositories["stars"].to_numpy())
        none = np.zeros(len(truth))
        predicted = truth + np.random.default_rng(self.seed).normal(0.0, self.noise, len(truth))
        return Estimate(predicted, none, none, none.astype(str))


def test_what_is_worse_on_the_same_repositories_is_seen(plausible: Callable[..., pd.DataFrame]) -> None:
    verdict = compare(Guess(0.6, 1), Guess(0.4, 2), plausible(4000))

    assert verdict.is_worse
    assert verdict.challenger == pytest.approx(0.6, rel=0.15)
    assert verdict.champion == pytest.approx(0.4, rel=0.15)
    assert not compare(Guess(0.4, 1), Guess(0.6, 2), plausible(4000)).is_worse


def test_chance_alone_rarely_keeps_a_bundle_out() -> None:
    random = np.random.default_rng(0)
    truth, owners = np.zeros(200), np.arange(200).astype(str)

    worse = [judge(truth, random.normal(size=200), random.normal(size=200), owners).is_worse for _ in range(500)]

    assert 0.005 < np.mean(worse) < 0.05  # a normal variable is above two standard errors in 2.3 % of cases


def test_an_owner_with_many_repositories_counts_as_one_who_errs_once() -> None:
    """A hundred alike repositories of one owner are no hundred proofs."""
    random = np.random.default_rng(3)
    by_owner = random.normal(size=(2, 40))
    truth, owners = np.zeros(4000), np.repeat(np.arange(40), 100).astype(str)

    together = judge(truth, np.repeat(by_owner[0], 100), np.repeat(by_owner[1], 100), owners)
    apart = judge(truth, np.repeat(by_owner[0], 100), np.repeat(by_owner[1], 100), np.arange(4000).astype(str))

    assert together.error == pytest.approx(10 * apart.error, rel=0.05)
    assert together.owners == 40


def test_only_what_both_held_out_is_looked_at(plausible: Callable[..., pd.DataFrame]) -> None:
    other = replace(FeaturesSection(), seed=7, test=0.4)
    challenger, champion = Guess(0.5, 1), Guess(0.5, 2, split=other)
    repositories = plausible(4000, full_name=[f"owner{number}/x" for number in range(4000)])

    compare(challenger, champion, repositories)

    assert challenger.asked is not None
    names = challenger.asked["full_name"]
    assert (assign_folds(names, challenger.split) == TEST).all()
    assert (assign_folds(names, other) == TEST).all()
    assert 100 < len(names) < len(repositories) / 4


@pytest.mark.parametrize("one", [np.nan, np.inf, -np.inf, 1e200])
def test_one_prediction_that_is_no_number_is_worse(one: float) -> None:
    """Compared with anything, what is no number is never greater."""
    truth, owners = np.linspace(1, 9, 40), np.arange(40).astype(str)
    predicted = np.r_[one, truth[1:]]

    assert judge(truth, predicted, truth, owners).is_worse


@pytest.mark.parametrize("one", [np.nan, np.inf])
def test_which_of_the_two_predicts_no_number_is_said(plausible: Callable[..., pd.DataFrame], one: float) -> None:
    with pytest.raises(DifferenceFoundError, match=r"^the bundle predicts no finite number for \d+ of"):
        compare(Guess(one, 1), Guess(0.5, 2), plausible(4000))
    with pytest.raises(DifferenceFoundError, match=r"^the one in production predicts no finite number"):
        compare(Guess(0.5, 1), Guess(one, 2), plausible(4000))


def test_too_few_to_judge_by_is_no_yes(plausible: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(DifferenceFoundError, match="owners were held out from both"):
        compare(Guess(0.5, 1), Guess(0.5, 2), plausible(60))


def test_a_bundle_is_no_worse_than_itself_and_its_own_repositories_judge(bundle_folder: Path, store: Store) -> None:
    verdict = check(bundle_folder, bundle_folder, store)

    assert (verdict.difference, verdict.error) == (0.0, 0.0)
    assert verdict.repositories > 100
    assert "held-out repositories" in verdict.as_text()


def test_a_release_that_cannot_be_read_can_be_passed_by_only_with_a_reason(
    bundle_folder: Path, store: Store, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle_folder, broken)
    (broken / "bundle.json").write_text("{}")

    with pytest.raises(DifferenceFoundError, match="cannot be compared with broken, which is in production") as caught:
        check(bundle_folder, broken, store)

    assert "--force" in caught.value.hint

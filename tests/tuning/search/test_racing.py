"""Racing stops trials that cannot win, and rarely one that would have won."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stargaze.tuning.search.racing import DONE, MIN_FINISHED, Race, next_race

RACE = Race((0.50, 0.52, 0.48, 0.51, 0.49), spread=0.002)


def done(*folds: float) -> dict[str, Any]:
    """Return a finished trial."""
    return {"folds": list(folds), "stopped": DONE}


def test_the_gap_is_paired_so_that_hard_folds_do_not_count() -> None:
    """On a fold that is hard for all trials the gap is 0."""
    assert RACE.gap([0.50, 0.52]) == 0.0
    assert not RACE.is_lost([0.50, 0.52])
    assert RACE.gap([0.51, 0.51]) == pytest.approx(0.0)


@pytest.mark.parametrize("folds", [[], [0.9, 0.9, 0.9, 0.9, 0.9]])
def test_no_race_is_lost_before_the_first_or_after_the_last_fold(folds: list[float]) -> None:
    assert not RACE.is_lost(folds)


def test_the_same_gap_is_lost_after_enough_folds() -> None:
    gap = 0.0002
    lost = [RACE.is_lost([score + gap for score in RACE.best[:n_folds]]) for n_folds in (1, 2, 3, 4)]

    assert lost == sorted(lost)
    assert (lost[0], lost[3]) == (False, True)


def test_thresholds_follow_the_noise_of_the_data() -> None:
    little_noise, much_noise = Race(RACE.best, 0.0005), Race(RACE.best, 0.05)

    assert little_noise.is_lost([0.502])
    assert not much_noise.is_lost([0.502])


@pytest.mark.thorough
@pytest.mark.parametrize(("better_by", "least", "most"), [(0.0, 0.7, 1.0), (1.0, 0.0, 0.35), (2.0, 0.0, 0.05)])
def test_clear_winners_are_rarely_stopped_and_equal_trials_mostly(better_by: float, least: float, most: float) -> None:
    """``better_by`` is in spreads of the paired gap."""
    random = np.random.default_rng(0)
    gaps = random.normal(0.0, RACE.spread, (4000, 5))
    gaps += -better_by * RACE.spread - gaps.mean(axis=1, keepdims=True)  # exact over all folds
    lost = np.mean([any(RACE.is_lost((RACE.best + row)[:n_folds]) for n_folds in (1, 2, 3, 4)) for row in gaps])

    assert least <= lost <= most


def test_the_expected_score_is_the_best_score_plus_the_gap() -> None:
    assert RACE.expected([0.51, 0.53]) == pytest.approx(0.50 + 0.01)


def test_a_race_needs_a_minimum_of_finished_trials() -> None:
    assert next_race([done(0.5, 0.6)] * (MIN_FINISHED - 1)) is None
    assert next_race([*[done(0.5, 0.6)] * (MIN_FINISHED - 1), {"folds": [0.4], "stopped": "lost after fold 1"}]) is None


def test_one_fold_has_no_race() -> None:
    assert next_race([done(0.5)] * 5) is None


def test_the_race_is_against_the_best_trial_with_all_folds() -> None:
    race = next_race([done(0.5, 0.6), done(0.4, 0.5), done(0.6, 0.7), {"folds": [0.1], "stopped": "lost"}])

    assert race is not None
    assert race.best == (0.4, 0.5)


def test_the_spread_is_that_of_paired_gaps_of_the_best_trials() -> None:
    """The folds differ by 0.1, the trials by 0.001."""
    random = np.random.default_rng(1)
    folds = np.array([0.5, 0.6, 0.4, 0.55, 0.45])
    good = [done(*(folds + random.normal(0.0, 0.001, 5))) for _ in range(12)]
    bad = [done(*(folds + 1.0 + random.normal(0.0, 0.5, 5))) for _ in range(50)]

    race = next_race([*bad, *good])

    assert race is not None
    assert 0.0005 < race.spread < 0.003

"""Make the final predictor of one policy: blend, fit, calibrate, and judge on rows that nothing has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stargaze.bundle.serialization import Ensemble, to_bytes
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.tuning.cross_validation import Arrays, fit, policy_arrays
from stargaze.tuning.metrics import scores
from stargaze.tuning.search.parallel import parallel_map
from stargaze.tuning.training.calibrate import CalibratedIntervals, calibrate_on, coverage_by_decade
from stargaze.tuning.training.ensemble import Candidate, EnsembleWeights, fit_weights, out_of_fold

MAX_BYTES = 20_000_000
"""No blend of one policy is larger: a forest of 14,000 repositories has 40 MB and gains 0.001 nat, three times a release."""
OWN_FOLD = -1
"""The fold of rows that no fold's model has seen."""


@dataclass(frozen=True)
class Refitted:
    """What answers under one policy, from what it was made, and how good it is on the test rows."""

    model: Ensemble
    made_of: tuple[Candidate, ...]
    calibrated: CalibratedIntervals
    figures: dict[str, Any]


@dataclass(frozen=True)
class PolicyRows:
    """The rows of one policy: those that are fitted, all that there are, and the places of each part among them."""

    inside: Arrays
    whole: Arrays
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, table: Dataset, feature_set: FeatureSet, policy: str) -> PolicyRows:
        """Take them from a table."""
        whole = policy_arrays(table, feature_set, policy, np.arange(len(table.target)))
        inside = policy_arrays(table, feature_set, policy)
        return cls(inside, whole, table.training, table.validation, table.test)


def refit(
    table: Dataset, feature_set: FeatureSet, policies: Sequence[str], candidates: Sequence[Candidate], coverage: float
) -> dict[str, Refitted]:
    """Blend and fit on training rows, calibrate on these out of fold and on validation rows, score on test rows.

    Parameters
    ----------
    table : Table
    feature_set : FeatureSet
    policies : sequence of str
        Of features.
    candidates : sequence of Candidate
        What may be blended.
    coverage : float
        How often the interval shall hold the true count.

    Returns
    -------
    dict of Refitted
        By policy. ``figures`` has RMSLE and its like on the test rows [nat], coverage overall and by decade of true stars, mean
        and median width of the intervals [nat], what the folds said, and what blending gained on them with its standard error
        [nat].
    """
    grounds = [PolicyRows.of(table, feature_set, policy) for policy in policies]
    told = parallel_map(out_of_fold, [(candidate, ground.inside) for ground in grounds for candidate in candidates])
    by_policy = [told[place : place + len(candidates)] for place in range(0, len(told), len(candidates))]
    made = parallel_map(
        _refit_policy, [(ground, candidates, out, coverage) for ground, out in zip(grounds, by_policy, strict=True)]
    )
    return dict(zip(policies, made, strict=True))


def _refit_policy(
    ground: PolicyRows, candidates: Sequence[Candidate], told: Sequence[np.ndarray], coverage: float
) -> Refitted:
    candidates, ordered = _best_first(candidates, np.column_stack(told), ground.inside.target)
    weighed, models = _fit_ensemble(candidates, ordered, ground)
    chosen = np.flatnonzero(weighed.shares).tolist()
    model = Ensemble(tuple(weighed.shares[chosen].tolist()), tuple(models[place] for place in chosen))
    out = np.maximum(ordered @ weighed.shares, 0.0)
    calibrated = _calibrated(model, out, ground, coverage, candidates[0].seed)
    figures = _figures(model, calibrated, ground) | _on_folds(out, ground.inside)
    figures |= {"members": len(chosen), "blend_gain": round(weighed.gain, 5), "blend_error": round(weighed.error, 5)}
    return Refitted(model, tuple(candidates[place] for place in chosen), calibrated, figures)


def _best_first(
    candidates: Sequence[Candidate], told: np.ndarray, target: np.ndarray
) -> tuple[list[Candidate], np.ndarray]:
    """Order candidates and their predictions by error out of fold: a trial that stopped at its best round flatters itself."""
    errors = np.mean((np.maximum(told, 0.0) - target[:, None]) ** 2, axis=0)
    order = np.argsort(errors, kind="stable")
    return [candidates[place] for place in order], told[:, order]


def _fit_ensemble(
    candidates: Sequence[Candidate], told: np.ndarray, ground: PolicyRows
) -> tuple[EnsembleWeights, dict[int, Any]]:
    """Weigh and fit; while the blend is too large, the largest that is not the best goes and the others are weighed again."""
    models: dict[int, Any] = {}
    sizes: dict[int, int] = {}
    allowed = list(range(len(candidates)))
    while True:
        found = fit_weights(told[:, allowed], ground.inside.target, ground.inside.folds)
        shares = np.zeros(len(candidates))
        shares[allowed] = found.shares
        chosen = np.flatnonzero(shares).tolist()
        for place in set(chosen) - set(models):
            one = candidates[place]
            models[place] = fit(one.family, one.parameters, ground.whole, ground.training, one.seed)
            sizes[place] = len(to_bytes(models[place])[1])
        if len(chosen) == 1 or sum(sizes[place] for place in chosen) <= MAX_BYTES:
            return replace(found, shares=shares), models
        allowed.remove(max((place for place in chosen if place), key=lambda place: sizes[place]))


def _calibrated(
    model: Ensemble, out: np.ndarray, ground: PolicyRows, coverage: float, seed: int
) -> CalibratedIntervals:
    """Calibrate on all that no model of its prediction was fitted on: as many rows as there are in the highest decades.

    Each row's learned columns are as rows outside its fold teach them, along the directions of words that serving knows.
    """
    inside, whole, held = ground.inside, ground.whole, ground.validation
    return calibrate_on(
        np.vstack([inside.inputs, whole.inputs[held]]),
        np.concatenate([out, np.maximum(model.predict(whole.inputs[held]), 0.0)]),
        np.concatenate([inside.target, whole.target[held]]),
        np.concatenate([inside.folds, np.full(len(held), OWN_FOLD)]),
        inside.categories,
        coverage,
        seed,
    )


def _figures(model: Ensemble, calibrated: CalibratedIntervals, ground: PolicyRows) -> dict[str, Any]:
    whole, test = ground.whole, ground.test
    predicted = np.maximum(model.predict(whole.inputs[test]), 0.0)
    stars = np.round(np.expm1(whole.target[test]))
    low, high = calibrated.bounds(whole.inputs[test], predicted)
    width = np.log1p(high) - np.log1p(low)
    figures = scores(np.expm1(whole.target[test]), np.expm1(predicted)) | {
        "coverage": float(np.mean((low <= stars) & (stars <= high))),
        "width": float(width.mean()),
        "median_width": float(np.median(width)),
    }
    return {name: round(value, 5) for name, value in figures.items()} | {
        "coverage_by_decade": coverage_by_decade(low, high, stars)
    }


def _on_folds(out: np.ndarray, inside: Arrays) -> dict[str, float]:
    wrong = (out - inside.target) ** 2
    folds = [float(np.sqrt(wrong[inside.folds == fold].mean())) for fold in np.unique(inside.folds)]
    return {"cv_rmsle": round(float(np.mean(folds)), 5), "cv_spread": round(float(np.std(folds, ddof=1)), 5)}

"""Calibration on the test set: mean prediction against mean truth, ranks of the truth, and coverage by level."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.report.evaluation import is_covered, wilson_interval
from stargaze.report.inputs import ReportInputs

NEIGHBORS = 200
"""Number of validation repositories of similar prediction among which a true count is ranked."""
MIN_BIN_ROWS = 25
"""Minimum number of rows per bin."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Nominal coverages [share]."""


def calibrate_bins(predictions: pd.DataFrame) -> pd.DataFrame:
    """Compare mean prediction and mean truth in bins of similar prediction, on the log scale.

    Returns
    -------
    DataFrame
        ``bin``, ``repositories``, ``predicted`` and ``true``, geometric means of stars + 1, minus 1 [stars], and
        ``true_low`` to ``true_high``, two standard errors around ``true``.
    """
    log_predicted, log_true = np.log1p(predictions["predicted"].to_numpy()), np.log1p(predictions["true"].to_numpy())
    bins = assign_bins(log_predicted)
    rows = []
    for number in np.unique(bins):
        in_bin = bins == number
        mean, error = log_true[in_bin].mean(), log_true[in_bin].std() / np.sqrt(in_bin.sum())
        rows.append(
            {
                "bin": int(number) + 1,
                "repositories": int(in_bin.sum()),
                "predicted": float(np.expm1(log_predicted[in_bin].mean())),
                "true": float(np.expm1(mean)),
                "true_low": float(np.expm1(max(mean - 2 * error, 0.0))),
                "true_high": float(np.expm1(mean + 2 * error)),
            }
        )
    return pd.DataFrame(rows)


def assign_bins(log_predicted: np.ndarray) -> np.ndarray:
    """Return the bin of each prediction; edges combine quantiles and equal widths.

    Quantiles alone put all high predictions into one bin, equal widths nearly all low ones.

    Examples
    --------
    >>> np.bincount(assign_bins(np.repeat([0.0, 5.0], [300, 30]))).tolist()
    [300, 30]
    """
    quantiles = np.quantile(log_predicted, np.linspace(0.1, 0.9, 9))
    widths = np.linspace(log_predicted.min(), log_predicted.max(), 11)[1:-1]
    edges, last = list[float](), 0
    ordered = np.sort(log_predicted)
    for edge in np.unique(np.concatenate([quantiles, widths])):
        below = int(np.searchsorted(ordered, edge, side="left"))
        if below - last >= MIN_BIN_ROWS and len(log_predicted) - below >= MIN_BIN_ROWS:
            edges.append(float(edge))
            last = below
    return np.searchsorted(edges, log_predicted, side="right")


def rank_test_set(inputs: ReportInputs, seed: int = 0) -> np.ndarray:
    """Rank each true count of the test set by :func:`rank_counts`; uniform in (0, 1) if the bundle is calibrated."""
    validation, test = inputs.dataset.repositories.iloc[inputs.dataset.validation], inputs.test
    log_validation, log_test = (inputs.bundle.estimate(frame).predicted for frame in (validation, test))
    residuals = np.log1p(validation["stars"].to_numpy()) - log_validation
    return rank_counts(log_validation, residuals, log_test, test["stars"].to_numpy(), seed)


def rank_counts(
    log_validation: np.ndarray, residuals: np.ndarray, log_predicted: np.ndarray, stars: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Return the randomized probability integral transform of each count.

    The predictive distribution is the prediction plus the residuals of the :data:`NEIGHBORS` nearest validation predictions.

    References
    ----------
    Dawid, Statistical theory: the prequential approach, 1984; Czado et al., Predictive model assessment for count data, 2009.

    Examples
    --------
    >>> rank_counts(np.zeros(999), np.log1p(np.arange(999.0)), np.zeros(1), np.array([5000.0])).round(2).tolist()
    [1.0]
    """
    order = np.argsort(log_validation, kind="stable")
    log_validation, residuals = log_validation[order], residuals[order]
    n_near = min(NEIGHBORS, len(log_validation))
    starts = np.clip(np.searchsorted(log_validation, log_predicted) - n_near // 2, 0, len(log_validation) - n_near)
    random = np.random.default_rng(seed).random(len(log_predicted))
    ranks = np.empty(len(log_predicted))
    for row, start in enumerate(starts):
        simulated = np.maximum(np.round(np.expm1(log_predicted[row] + residuals[start : start + n_near])), 0.0)
        below, equal = np.sum(simulated < stars[row]), np.sum(simulated == stars[row])
        ranks[row] = (below + random[row] * (equal + 1)) / (n_near + 1)
    return ranks


def rank_histogram(ranks: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Count ranks in bins of equal width: ``from``, ``to``, ``share`` and the ``expected`` share."""
    counts, edges = np.histogram(ranks, bins=bins, range=(0.0, 1.0))
    share = counts / max(len(ranks), 1)
    return pd.DataFrame({"from": edges[:-1].round(6), "to": edges[1:].round(6), "share": share, "expected": 1 / bins})


def coverage_by_level(ranks: np.ndarray, predictions: pd.DataFrame, nominal: float) -> pd.DataFrame:
    """Return the coverage of central intervals at each nominal level and of the bundle's own intervals.

    Returns
    -------
    DataFrame
        ``interval`` ("residual ranks" or "bundle"), ``nominal``, ``coverage`` and its 95% interval [share].
    """
    rows = [("residual ranks", level, int(np.sum(np.abs(ranks - 0.5) <= level / 2))) for level in LEVELS]
    rows.append(("bundle", nominal, int(is_covered(predictions).sum())))
    frame = pd.DataFrame(rows, columns=["interval", "nominal", "hits"])
    bounds = [wilson_interval(hits, len(predictions)) for hits in frame["hits"]]
    frame = frame.assign(coverage=frame["hits"] / len(predictions))
    frame["coverage_low"], frame["coverage_high"] = zip(*bounds, strict=True)
    return frame.drop(columns="hits")

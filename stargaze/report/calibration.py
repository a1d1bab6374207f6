"""Whether predictions mean what they say: their mean against the truth, ranks of the truth, and coverage at every level."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.report.evaluation import inside, share_interval
from stargaze.report.inputs import Evidence

NEIGHBOURS = 200
"""Validation repositories of similar prediction that a true count is ranked among."""
LEAST = 25
"""Fewer rows in a bin than this have no mean worth drawing."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Nominal coverages that are looked at [share]."""


def calibration(judged: pd.DataFrame) -> pd.DataFrame:
    """Compare mean prediction and mean truth among repositories of similar prediction, on the scale of the target.

    Returns
    -------
    DataFrame
        ``bin``, ``repositories``, ``predicted`` and ``true``, geometric means of stars + 1, less 1 [stars], and
        ``true_low`` to ``true_high``, two standard errors around.
    """
    height, true = np.log1p(judged["predicted"].to_numpy()), np.log1p(judged["true"].to_numpy())
    place = bins(height)
    rows = []
    for one in np.unique(place):
        own = place == one
        mean, error = true[own].mean(), true[own].std() / np.sqrt(own.sum())
        rows.append(
            {
                "bin": int(one) + 1,
                "repositories": int(own.sum()),
                "predicted": float(np.expm1(height[own].mean())),
                "true": float(np.expm1(mean)),
                "true_low": float(np.expm1(max(mean - 2 * error, 0.0))),
                "true_high": float(np.expm1(mean + 2 * error)),
            }
        )
    return pd.DataFrame(rows)


def bins(height: np.ndarray) -> np.ndarray:
    """Put predictions into bins that are short where there are many and where they are high, none with too few rows.

    Equal shares alone would put all that is famous into one bin, equal lengths nearly all that is not.

    Examples
    --------
    >>> np.bincount(bins(np.repeat([0.0, 5.0], [300, 30]))).tolist()
    [300, 30]
    """
    equal = np.quantile(height, np.linspace(0.1, 0.9, 9)), np.linspace(height.min(), height.max(), 11)[1:-1]
    edges, last = list[float](), 0
    ordered = np.sort(height)
    for edge in np.unique(np.concatenate(equal)):
        below = int(np.searchsorted(ordered, edge, side="left"))
        if below - last >= LEAST and len(height) - below >= LEAST:
            edges.append(float(edge))
            last = below
    return np.searchsorted(edges, height, side="right")


def ranks(evidence: Evidence, seed: int = 0) -> np.ndarray:
    """Rank each test repository's truth among validation repositories of similar prediction; uniform if nothing has changed.

    Returns
    -------
    array of float, shape (n_test,)
        The share of what the residuals of the :data:`NEIGHBOURS` nearest validation predictions would have made of it that
        is below the truth, ties broken at random, in (0, 1).

    References
    ----------
    Dawid, Statistical theory: the prequential approach, 1984; Czado et al., Predictive model assessment for count data, 2009.
    """
    table, bundle = evidence.table, evidence.bundle
    held, test = table.repositories.iloc[table.validation], evidence.test
    known, height = bundle.estimate(held).predicted, bundle.estimate(test).predicted
    residual = np.log1p(held["stars"].to_numpy()) - known
    return ranked(known, residual, height, test["stars"].to_numpy(), seed)


def ranked(known: np.ndarray, residual: np.ndarray, height: np.ndarray, stars: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rank true counts among what the residuals of similar predictions would have made of each; shape of ``height``.

    Examples
    --------
    >>> ranked(np.zeros(999), np.log1p(np.arange(999.0)), np.zeros(1), np.array([5000.0])).round(2).tolist()
    [1.0]
    """
    order = np.argsort(known, kind="stable")
    known, residual = known[order], residual[order]
    n_near = min(NEIGHBOURS, len(known))
    begin = np.clip(np.searchsorted(known, height) - n_near // 2, 0, len(known) - n_near)
    random = np.random.default_rng(seed).random(len(height))
    result = np.empty(len(height))
    for row, first in enumerate(begin):
        others = np.maximum(np.round(np.expm1(height[row] + residual[first : first + n_near])), 0.0)
        below, same = np.sum(others < stars[row]), np.sum(others == stars[row])
        result[row] = (below + random[row] * (same + 1)) / (n_near + 1)
    return result


def rank_counts(ranks: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Count ranks in bins of equal width: ``from``, ``to``, ``share``, beside the share that is ``expected``."""
    counts, edges = np.histogram(ranks, bins=bins, range=(0.0, 1.0))
    share = counts / max(len(ranks), 1)
    return pd.DataFrame({"from": edges[:-1].round(6), "to": edges[1:].round(6), "share": share, "expected": 1 / bins})


def nominal(ranks: np.ndarray, judged: pd.DataFrame, asked: float) -> pd.DataFrame:
    """Return how often central intervals of each nominal level hold the truth, and how often the bundle's own do.

    Returns
    -------
    DataFrame
        ``interval`` (by ranks, or the bundle's), ``nominal``, ``coverage`` and its 95 % interval [share].
    """
    rows = []
    for level in LEVELS:
        hits = int(np.sum(np.abs(ranks - 0.5) <= level / 2))
        rows.append(("by ranks", float(level), hits))
    rows.append(("of the bundle", asked, int(inside(judged).sum())))
    frame = pd.DataFrame(rows, columns=["interval", "nominal", "hits"])
    bounds = [share_interval(hits, len(judged)) for hits in frame["hits"]]
    frame = frame.assign(coverage=frame["hits"] / len(judged))
    frame["coverage_low"], frame["coverage_high"] = zip(*bounds, strict=True)
    return frame.drop(columns="hits")

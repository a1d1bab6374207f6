"""How good the bundle is, on repositories that no model was fitted on and no interval calibrated on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.config import POLICIES
from stargaze.report.dataset import decade_names, decades, owners
from stargaze.report.inputs import Evidence
from stargaze.tuning.metrics import scores

DRAWS = 500
"""Bootstrap samples of owners: their 2.5 and 97.5 % points move by a hundredth of the width."""
LONGEST = 100
"""Characters of a description that are kept: some are essays."""
FEWEST = 30
"""A language with fewer test repositories has no row of its own: its interval would fill the scale."""


def judge(evidence: Evidence) -> pd.DataFrame:
    """Predict every test repository as the page would.

    Returns
    -------
    DataFrame, shape (n_test, 10)
        ``repository``, ``owner``, ``language``, ``description``; ``true``, ``predicted``, ``low`` and ``high`` [stars];
        ``policy``, and ``error``, log1p(predicted) - log1p(true) [nat].
    """
    test = evidence.test
    found = evidence.bundle.estimate(test)
    stars = test["stars"].to_numpy(dtype="float64")
    frame = {
        "repository": test["full_name"].astype("str").to_numpy(),
        "owner": owners(test["full_name"]).to_numpy(),
        "language": test["language"].fillna("not known").astype("str").to_numpy(),
        "description": test["description"].fillna("").astype("str").str.slice(0, LONGEST).to_numpy(),
        "true": stars,
        "predicted": np.expm1(found.predicted),
        "low": found.low,
        "high": found.high,
        "policy": found.policy,
        "error": found.predicted - np.log1p(stars),
    }
    return pd.DataFrame(frame)


def inside(judged: pd.DataFrame) -> pd.Series:
    """Tell which true counts lie in their interval."""
    return (judged["low"] <= judged["true"]) & (judged["true"] <= judged["high"])


ANSWERED = "as answered"
"""The row of what is served: the widest policy whose needs are known of a repository."""


def policies(evidence: Evidence, judged: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Score each policy on the test side, beside them the median of the training side, and what is answered in the end.

    Returns
    -------
    DataFrame
        ``policy``, ``features``, ``rmsle`` with the 95 % interval ``rmsle_low`` to ``rmsle_high`` of a bootstrap over owners,
        ``r2``, ``mdape``, ``rho``, ``coverage``, and ``cv_rmsle`` ± ``cv_spread`` on the folds that chose the model.
    """
    test, meta = evidence.test, evidence.bundle.meta
    stars = test["stars"].to_numpy(dtype="float64")
    owner = owners(test["full_name"]).to_numpy()
    median = float(evidence.table.repositories["stars"].iloc[evidence.table.training].median())
    rows = [{"policy": "none: the median", "features": 0, **_scored(stars, np.full(len(stars), median), owner, seed)}]
    for policy in POLICIES:
        told = meta["scores"].get(policy, {})
        row = {"policy": policy, "features": len(evidence.feature_set.selected[policy]), **told}
        if policy in meta["models"]:
            row |= _scored(stars, np.expm1(evidence.bundle.predict_repositories(test, policy)), owner, seed)
        rows.append(row)
    answered = _scored(stars, judged["predicted"].to_numpy(), owner, seed)
    rows.append({"policy": ANSWERED, **answered, "coverage": float(inside(judged).mean())})
    columns = ["policy", "features", "rmsle", "rmsle_low", "rmsle_high", "r2", "mdape", "rho", "coverage"]
    return pd.DataFrame(rows).reindex(columns=[*columns, "cv_rmsle", "cv_spread"])


def _scored(stars: np.ndarray, predicted: np.ndarray, owner: np.ndarray, seed: int) -> dict[str, float]:
    low, high = rmsle_interval(np.log1p(predicted) - np.log1p(stars), owner, seed)
    return {**scores(stars, predicted), "rmsle_low": low, "rmsle_high": high}


def rmsle_interval(error: np.ndarray, owner: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the RMSLE if other owners had been drawn: repositories of one owner are no independent draws.

    Parameters
    ----------
    error : array of float, shape (n,)
        log1p(predicted) - log1p(true) [nat].
    owner : array of str, shape (n,)
    seed : int

    Returns
    -------
    tuple of float
        2.5 and 97.5 % points of a bootstrap over whole owners [nat].

    Examples
    --------
    >>> rmsle_interval(np.full(10, 0.5), np.array(list("aabbccddee")))
    (0.5, 0.5)
    """
    codes, names = pd.factorize(owner)
    squares, rows = np.bincount(codes, error**2), np.bincount(codes)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    drawn = np.sqrt((draws @ squares) / (draws @ rows))
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def by_decade(judged: pd.DataFrame) -> pd.DataFrame:
    """Return coverage and error for each decade of true stars."""
    return _by(judged, pd.Series(decades(judged["true"].to_numpy())), decade_names(), "decade")


def by_language(judged: pd.DataFrame) -> pd.DataFrame:
    """Return coverage and error for each language with enough test repositories, most frequent first; the others are one row."""
    counts = judged["language"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    named = [str(name) for name in counts.index[counts >= FEWEST]][:14]
    group = judged["language"].where(judged["language"].isin(named), "all others")
    return _by(judged, group, [*named, "all others"], "language")


def _by(judged: pd.DataFrame, group: pd.Series, order: list[str], name: str) -> pd.DataFrame:
    rows = []
    for one in order:
        part = judged[(group == one).to_numpy()]
        if part.empty:
            continue
        hits, n_rows = int(inside(part).sum()), len(part)
        low, high = share_interval(hits, n_rows)
        width = (part["high"] + 1) / (part["low"] + 1)
        rows.append(
            {
                name: one,
                "repositories": n_rows,
                "coverage": hits / n_rows,
                "coverage_low": low,
                "coverage_high": high,
                "rmsle": float(np.sqrt(np.mean(part["error"] ** 2))),
                "typical_factor": float(np.exp(part["error"].abs().median())),
                "predicted_to_true": float(np.exp(part["error"].median())),
                "interval_factor": float(width.median()),
            }
        )
    return pd.DataFrame(rows)


def share_interval(hits: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Examples
    --------
    >>> [round(value, 2) for value in share_interval(9, 10)]
    [0.6, 0.98]
    """
    z = 1.959964
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(hits * (n - hits) / n + z * z / 4)
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def shown(judged: pd.DataFrame, most: int = 320) -> pd.DataFrame:
    """Take repositories to draw, evenly over the heights of prediction: most have few stars, and would hide the others."""
    if judged.empty:
        return judged
    height = np.log1p(judged["predicted"])
    place = np.minimum((height / max(height.max(), 1e-9) * 16).astype("int64"), 15)
    order = judged.assign(place=place).sort_values(["place", "predicted", "repository"], kind="stable")
    each = max(most // order["place"].nunique(), 1)
    taken = [
        part.iloc[np.unique(np.linspace(0, len(part) - 1, each).astype(int))] for _, part in order.groupby("place")
    ]
    frame = pd.concat(taken).sort_values(["predicted", "repository"], ascending=[False, True], ignore_index=True)
    frame = frame[["repository", "true", "predicted", "low", "high"]]
    return frame.assign(inside=np.where(inside(frame), "inside", "outside"))


def surprises(judged: pd.DataFrame, most: int = 10) -> pd.DataFrame:
    """Return the most over- and the most under-estimated repositories: ``direction``, the counts, ``factor``."""
    ordered = judged.sort_values(["error", "repository"], kind="stable")
    over, under = ordered[ordered["error"] > 0].iloc[::-1].head(most), ordered[ordered["error"] < 0].head(most)
    frame = pd.concat([over, under], ignore_index=True)
    frame = frame.assign(
        direction=np.where(frame["error"] > 0, "over-estimated", "under-estimated"), factor=np.exp(frame["error"].abs())
    )
    columns = ["direction", "repository", "language", "true", "predicted", "low", "high", "factor", "policy"]
    told = {"description": judged["description"].ne("").any(), "language": judged["language"].ne("not known").any()}
    return frame[[name for name in [*columns, "description"] if told.get(name, True)]]

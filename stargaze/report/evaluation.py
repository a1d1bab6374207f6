"""Scores of the bundle on the test set, on which no model was fitted and no interval calibrated."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.report.dataset import label_decades, list_decades, parse_owners
from stargaze.report.inputs import ReportInputs
from stargaze.serve.prediction.out_of_range import describe_unlike
from stargaze.tuning.metrics import scores

BOOTSTRAP_DRAWS = 500
"""Bootstrap samples of owners; the error of the 2.5 and 97.5% points is about 1% of the interval's width."""
MAX_DESCRIPTION = 100
"""Maximum length of a description [characters]."""
MIN_LANGUAGE_ROWS = 30
"""Languages with fewer test repositories share one row: their intervals would be too wide to plot."""
MAX_LANGUAGES, OTHERS = 14, "all others"
"""How many languages have rows of their own, and the name of the others."""
SERVED = "as served"
"""The row of what is served: the widest policy of which a repository has an own feature."""


def predict_test_set(inputs: ReportInputs) -> pd.DataFrame:
    """Predict every test repository as the server would.

    Returns
    -------
    DataFrame, shape (n_test, 11)
        ``repository``, ``owner``, ``language``, ``description``; ``true``, ``predicted``, ``low`` and ``high`` [stars];
        ``policy``, ``error``, log1p(predicted) - log1p(true) [nat], and ``unlike``, whether it is unlike the training set.
    """
    test = inputs.test
    features = inputs.bundle.features(test)
    estimate = inputs.bundle.estimate_from_features(features)
    stars = test["stars"].to_numpy(dtype="float64")
    columns = {
        "repository": test["full_name"].astype("str").to_numpy(),
        "owner": parse_owners(test["full_name"]).to_numpy(),
        "language": test["language"].fillna("unknown").astype("str").to_numpy(),
        "description": test["description"].fillna("").astype("str").str.slice(0, MAX_DESCRIPTION).to_numpy(),
        "true": stars,
        "predicted": np.expm1(estimate.predicted),
        "low": estimate.low,
        "high": estimate.high,
        "policy": estimate.policy,
        "error": estimate.predicted - np.log1p(stars),
        "unlike": [bool(found) for found in describe_unlike(inputs.bundle, features)],
    }
    return pd.DataFrame(columns)


def is_covered(predictions: pd.DataFrame) -> pd.Series:
    """Return whether each true count lies in its interval."""
    return (predictions["low"] <= predictions["true"]) & (predictions["true"] <= predictions["high"])


def score_policies(inputs: ReportInputs, predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Score the median of the training set, each policy and the served predictions on the test set.

    Returns
    -------
    DataFrame
        ``policy``, ``features``, ``rmsle`` with the 95% interval ``rmsle_low`` to ``rmsle_high`` of a bootstrap over owners,
        ``rmse`` [stars], ``r2``, ``mdape``, ``rho``, ``coverage``, and ``cv_rmsle`` ± ``cv_spread`` on the folds.
    """
    test, meta, dataset = inputs.test, inputs.bundle.meta, inputs.dataset
    stars = test["stars"].to_numpy(dtype="float64")
    owners = parse_owners(test["full_name"]).to_numpy()
    median = float(dataset.repositories["stars"].iloc[dataset.training].median())
    rows = [{"policy": "none: the median", "features": 0, **_score(stars, np.full(len(stars), median), owners, seed)}]
    for policy in inputs.feature_set.policies:
        stored = meta["scores"].get(policy, {})
        row = {"policy": policy, "features": len(inputs.feature_set.selected[policy]), **stored}
        if policy in meta["models"]:
            row |= _score(stars, np.expm1(inputs.bundle.predict_repositories(test, policy)), owners, seed)
        rows.append(row)
    served = _score(stars, predictions["predicted"].to_numpy(), owners, seed)
    rows.append({"policy": SERVED, **served, "coverage": float(is_covered(predictions).mean())})
    columns = ["policy", "features", "rmsle", "rmsle_low", "rmsle_high", "rmse", "r2", "mdape", "rho", "coverage"]
    return pd.DataFrame(rows).reindex(columns=[*columns, "cv_rmsle", "cv_spread"])


def list_patterns(inputs: ReportInputs) -> pd.DataFrame:
    """Return the stored scores on complete test rows and on rows with missing values, which a policy still answers."""
    rows = []
    for policy, scores_of in inputs.bundle.meta["scores"].items():
        complete = {"known_values": "all", "repositories": len(inputs.test), **scores_of}
        partial = [
            {**row, "known_values": row["pattern"], "repositories": row["n"]} for row in scores_of.get("patterns", ())
        ]
        rows += [{"policy": policy, **row} for row in (complete, *partial)]
    return pd.DataFrame(rows).reindex(
        columns=["policy", "known_values", "repositories", "rmsle", "rmse", "r2", "coverage"]
    )


def _score(stars: np.ndarray, predicted: np.ndarray, owners: np.ndarray, seed: int) -> dict[str, float]:
    low, high = bootstrap_rmsle(np.log1p(predicted) - np.log1p(stars), owners, seed)
    return {**scores(stars, predicted), "rmsle_low": low, "rmsle_high": high}


def bootstrap_rmsle(error: np.ndarray, owners: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95% interval of the RMSLE [nat] by a bootstrap over owners, whose repositories are not independent.

    ``error`` is log1p(predicted) - log1p(true) [nat], ``owners`` the name of each owner; shapes (n,).

    Examples
    --------
    >>> bootstrap_rmsle(np.full(10, 0.5), np.array(list("aabbccddee")))
    (0.5, 0.5)
    """
    codes, names = pd.factorize(owners)
    squares, rows = np.bincount(codes, error**2), np.bincount(codes)
    weights = np.full(len(names), 1 / len(names))
    draws = np.random.default_rng(seed).multinomial(len(names), weights, size=BOOTSTRAP_DRAWS)
    samples = np.sqrt((draws @ squares) / (draws @ rows))
    return float(np.quantile(samples, 0.025)), float(np.quantile(samples, 0.975))


def score_by_decade(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return coverage and error for each decade of true stars."""
    return _score_groups(
        predictions, pd.Series(label_decades(predictions["true"].to_numpy())), list_decades(), "decade"
    )


def score_by_language(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return coverage and error per language, most frequent first; rare languages share one row."""
    frequent = find_frequent_languages(predictions["language"])
    groups = predictions["language"].where(predictions["language"].isin(frequent), OTHERS)
    return _score_groups(predictions, groups, [*frequent, OTHERS], "language")


def find_frequent_languages(languages: pd.Series) -> list[str]:
    """Return the languages with rows of their own, most frequent first."""
    counts = languages.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return [str(name) for name in counts.index[counts >= MIN_LANGUAGE_ROWS]][:MAX_LANGUAGES]


def _score_groups(predictions: pd.DataFrame, groups: pd.Series, order: list[str], column: str) -> pd.DataFrame:
    rows = []
    for label in order:
        group = predictions[(groups == label).to_numpy()]
        if group.empty:
            continue
        hits, n_rows = int(is_covered(group).sum()), len(group)
        low, high = wilson_interval(hits, n_rows)
        rows.append(
            {
                column: label,
                "repositories": n_rows,
                "coverage": hits / n_rows,
                "coverage_low": low,
                "coverage_high": high,
                "rmsle": float(np.sqrt(np.mean(group["error"] ** 2))),
                "rmse": float(np.sqrt(np.mean((group["predicted"] - group["true"]) ** 2))),
                "typical_factor": float(np.exp(group["error"].abs().median())),
                "predicted_to_true": float(np.exp(group["error"].median())),
                "interval_factor": float(((group["high"] + 1) / (group["low"] + 1)).median()),
            }
        )
    return pd.DataFrame(rows)


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share.

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Examples
    --------
    >>> [round(value, 2) for value in wilson_interval(9, 10)]
    [0.6, 0.98]
    """
    z = 1.959964
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(hits * (n - hits) / n + z * z / 4)
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def sample_predictions(predictions: pd.DataFrame, max_rows: int = 320) -> pd.DataFrame:
    """Sample rows evenly over the range of predictions: otherwise the many with few stars would hide the others."""
    if predictions.empty:
        return predictions
    log_predicted = np.log1p(predictions["predicted"])
    bins = np.minimum((log_predicted / max(log_predicted.max(), 1e-9) * 16).astype("int64"), 15)
    ordered = predictions.assign(bin=bins).sort_values(["bin", "predicted", "repository"], kind="stable")
    n_each = max(max_rows // ordered["bin"].nunique(), 1)
    samples = [
        group.iloc[np.unique(np.linspace(0, len(group) - 1, n_each).astype(int))] for _, group in ordered.groupby("bin")
    ]
    frame = pd.concat(samples).sort_values(["predicted", "repository"], ascending=[False, True], ignore_index=True)
    frame = frame[["repository", "true", "predicted", "low", "high"]]
    return frame.assign(inside=np.where(is_covered(frame), "inside", "outside"))


def largest_errors(predictions: pd.DataFrame, max_rows: int = 10) -> pd.DataFrame:
    """Return the most over- and the most under-estimated repositories: ``direction``, the counts, ``factor``."""
    ordered = predictions.sort_values(["error", "repository"], kind="stable")
    over, under = ordered[ordered["error"] > 0].iloc[::-1].head(max_rows), ordered[ordered["error"] < 0].head(max_rows)
    frame = pd.concat([over.assign(direction="over-estimated"), under.assign(direction="under-estimated")])
    frame = frame.assign(factor=np.exp(frame["error"].abs())).reset_index(drop=True)
    columns = ["direction", "repository", "language", "true", "predicted", "low", "high", "factor", "policy"]
    has_values = {
        "description": predictions["description"].ne("").any(),
        "language": predictions["language"].ne("unknown").any(),
    }
    return frame[[name for name in [*columns, "description"] if has_values.get(name, True)]]

"""Every held-out prediction with its interval and what predictions are grouped by, for questions of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES
from stargaze.report.dataset import DECADES, label_decades, list_decades, parse_owners
from stargaze.report.evaluation import OTHERS, find_frequent_languages
from stargaze.report.inputs import ReportInputs
from stargaze.table_files import open_table
from stargaze.tuning.training.held_out import ESTIMATES

GROUPING_FIELDS = ("language", "license", "owner_type", "topic_count", "created_at", "fetched_at")
"""Fields of the repositories that are repeated, beside own columns."""


def list_predictions(inputs: ReportInputs) -> pd.DataFrame:
    """Return one row per repository, whose prediction is by models that were not fitted on it.

    Returns
    -------
    DataFrame, shape (n_repositories, n_columns)
        ``full_name``, ``owner``; ``set``: training, validation, test or left out; ``fold``: that of a training row, else missing;
        ``stars``; ``predicted``, ``low`` and ``high`` [stars] of ``policy``, the widest that answers; ``decade``, the lowest
        count of the decade of ``stars``; language, license, type of the owner, topics, dates, ``created_year``, own columns;
        ``predicted_POLICY``, ``low_POLICY`` and ``high_POLICY`` of each policy; ``bundle``, the digest.
    """
    held_out, repositories = inputs.held_out, inputs.dataset.repositories
    stars = held_out["stars"].to_numpy()
    columns: dict[str, Any] = {
        "full_name": held_out["full_name"],
        "owner": parse_owners(held_out["full_name"]),
        "set": held_out["set"],
        "fold": held_out["fold"].astype("Int16").mask(held_out["fold"] < 0),
        "stars": stars,
        **{name: held_out[name] for name in ESTIMATES},
        "policy": held_out["policy"],
        "decade": np.asarray(DECADES, dtype="int64")[np.searchsorted(DECADES, stars, side="right") - 1],
        **{name: repositories[name] for name in GROUPING_FIELDS},
        "created_year": repositories["created_at"].dt.year.astype("Int32"),
        **{column.name: repositories[column.name] for column in inputs.dataset.own_columns},
    }
    for policy in POLICIES:
        columns |= {
            f"{name}_{policy}": held_out[f"{name}_{policy}"] for name in ESTIMATES if f"{name}_{policy}" in held_out
        }
    frame = pd.DataFrame({**columns, "bundle": inputs.bundle.digest})
    for name in ("created_at", "fetched_at"):
        frame[name] = frame[name].dt.strftime("%Y-%m-%d")
    return frame


def write_predictions(inputs: ReportInputs, path: Path) -> int:
    """Write the rows of :func:`list_predictions` as CSV, JSON lines or Parquet, and return their number."""
    frame = list_predictions(inputs)
    with open_table(path) as table:
        table.write(frame)
    return len(frame)


def score_by_language_and_decade(inputs: ReportInputs) -> pd.DataFrame:
    """Return the errors of all held-out predictions by language and decade of true stars, with the number of repositories.

    Training rows are predicted out-of-fold, validation and test rows by the final models. Rare languages share their rows.

    Returns
    -------
    DataFrame
        ``language``, ``decade``, ``repositories``, of which ``test_repositories``, ``rmsle`` [nat], ``rmse`` [stars],
        ``typical_factor``, ``predicted_to_true``, ``coverage``.
    """
    held_out = inputs.held_out
    languages = inputs.dataset.repositories["language"].fillna("unknown").astype("str")
    frequent = find_frequent_languages(languages)
    stars, predicted = (held_out[name].to_numpy(dtype="float64") for name in ("stars", "predicted"))
    frame = pd.DataFrame(
        {
            "language": languages.where(languages.isin(frequent), OTHERS).to_numpy(),
            "decade": label_decades(stars),
            "is_test": (held_out["set"] == "test").to_numpy(),
            "error": np.log1p(predicted) - np.log1p(stars),
            "difference": predicted - stars,
            "is_covered": ((held_out["low"] <= stars) & (stars <= held_out["high"])).to_numpy(),
        }
    )
    rows = []
    for language in (*frequent, OTHERS):
        for decade in list_decades():
            group = frame[(frame["language"] == language) & (frame["decade"] == decade)]
            if len(group):
                rows.append({"language": language, "decade": decade, **_score_group(group)})
    return pd.DataFrame(rows)


def _score_group(group: pd.DataFrame) -> dict[str, float]:
    return {
        "repositories": len(group),
        "test_repositories": int(group["is_test"].sum()),
        "rmsle": float(np.sqrt(np.mean(group["error"] ** 2))),
        "rmse": float(np.sqrt(np.mean(group["difference"] ** 2))),
        "typical_factor": float(np.exp(group["error"].abs().median())),
        "predicted_to_true": float(np.exp(group["error"].median())),
        "coverage": float(group["is_covered"].mean()),
    }


def tabulate_errors(groups: pd.DataFrame) -> pd.DataFrame:
    """Return a row per language and a column per decade: the RMSLE, and the number of repositories in parentheses."""
    columns = ("language", "decade", "rmsle", "repositories")
    cells: dict[str, dict[str, str]] = {}
    for language, decade, rmsle, count in zip(*(groups[name].tolist() for name in columns), strict=True):
        cells.setdefault(language, {})[decade] = f"{rmsle:.2f} ({count:,})"
    decades = [name for name in list_decades() if (groups["decade"] == name).any()]
    rows = [{"language": name, **{decade: row.get(decade, "–") for decade in decades}} for name, row in cells.items()]
    return pd.DataFrame(rows)

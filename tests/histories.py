"""Synthetic star histories with decreasing and noisy weekly gains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.features.history.read import tidy_history

BEGIN = "2022-01-03"


def histories(number: int = 40, weeks: int = 150, seed: int = 0) -> pd.DataFrame:
    """Return the history of several repositories, with a count every Monday."""
    random = np.random.default_rng(seed)
    parts = []
    for i in range(number):
        rate, decay = random.lognormal(2.0, 1.0), random.uniform(0.97, 1.0)
        gains = random.poisson(rate * decay ** np.arange(weeks)) - (random.random(weeks) < 0.02)
        stars = np.maximum(np.round(random.lognormal(6.0, 1.0)) + np.cumsum(gains), 0.0)
        parts.append(one_history(f"owner{i}/name{i}", stars, language=("Go", "C", "Rust")[i % 3]))
    return pd.concat(parts, ignore_index=True)


def one_history(name: str, stars: np.ndarray | list[float], begin: str = BEGIN, language: str = "Go") -> pd.DataFrame:
    """Return the history of one repository, with a count every seven days."""
    counts = np.asarray(stars, dtype="float64")
    days = pd.date_range(begin, periods=len(counts), freq="7D", tz="UTC")
    columns = {"full_name": name, "date": days, "stars": counts, "forks": np.floor(counts / 5)}
    return tidy_history(pd.DataFrame({**columns, "issues": 3.0, "language": language, "last_commit": days}))

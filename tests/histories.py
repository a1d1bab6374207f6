"""Made-up histories: repositories whose weekly gains fade, burst and shrink, by a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.features.history.read import tidy_history

BEGIN = "2022-01-03"


def histories(number: int = 40, weeks: int = 150, seed: int = 0) -> pd.DataFrame:
    """Make so many repositories, counted every Monday; growth fades, each at its own pace, with noise."""
    random = np.random.default_rng(seed)
    parts = []
    for place in range(number):
        pace, fading = random.lognormal(2.0, 1.0), random.uniform(0.97, 1.0)
        gained = random.poisson(pace * fading ** np.arange(weeks)) - (random.random(weeks) < 0.02)
        stars = np.maximum(np.round(random.lognormal(6.0, 1.0)) + np.cumsum(gained), 0.0)
        parts.append(one_history(f"owner{place}/name{place}", stars, language=("Go", "C", "Rust")[place % 3]))
    return pd.concat(parts, ignore_index=True)


def one_history(name: str, stars: np.ndarray | list[float], begin: str = BEGIN, language: str = "Go") -> pd.DataFrame:
    """Make one repository that is counted every seven days."""
    counts = np.asarray(stars, dtype="float64")
    days = pd.date_range(begin, periods=len(counts), freq="7D", tz="UTC")
    columns = {"full_name": name, "date": days, "stars": counts, "forks": np.floor(counts / 5)}
    return tidy_history(pd.DataFrame({**columns, "issues": 3.0, "language": language, "last_commit": days}))

"""Repositories with own columns: a number and a category that follow the stars, and a flag of noise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.features.own_columns import OwnColumn, conform, write_repositories_file
from stargaze.store import Store

SCORE, TEAM, VIP = "review score: [0–9]", "team", "vip"
OWN = (OwnColumn(SCORE, "number", "static"), OwnColumn(TEAM, "category", "all"), OwnColumn(VIP, "flag", "activity"))


def add_own_columns(repositories: pd.DataFrame) -> pd.DataFrame:
    """Return the repositories with the own columns :data:`OWN`; a tenth of the scores are missing."""
    random, log_stars = np.random.default_rng(11), np.log1p(repositories["stars"].to_numpy())
    score = np.round(10 * (log_stars + random.normal(0.0, 0.6, len(repositories))))
    score[random.random(len(repositories)) < 0.1] = np.nan
    own = {
        SCORE: score,
        TEAM: np.where(log_stars + random.normal(0.0, 1.0, len(repositories)) > np.median(log_stars), "core", "labs"),
        VIP: random.integers(0, 2, len(repositories)).astype("float64"),
    }
    return conform(repositories.assign(**own), OWN)


def write_own_columns(store: Store, repositories: pd.DataFrame) -> pd.DataFrame:
    """Write the repositories with own columns to a store and return them."""
    store.root.mkdir(parents=True, exist_ok=True)
    repositories = add_own_columns(repositories)
    write_repositories_file(store.repositories, repositories, OWN)
    return repositories

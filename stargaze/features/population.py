"""How the repositories of a dataset were chosen, as far as the records tell: the page and the model card state it."""

from __future__ import annotations

import importlib.resources

import pandas as pd

SAMPLE_POPULATION = "repositories using Electron"
"""The shipped sample, as docs/data.md describes it."""
MIN_STARS = 10
"""A dataset whose least starred repository has fewer stars was hardly chosen by them."""


def describe_population(repositories: pd.DataFrame) -> str:
    """Return what follows "Trained on 9,535": the shipped sample, or the common language and the smallest star count.

    >>> from stargaze.features import schema
    >>> records = {"id": [10**9, 10**9 + 1], "full_name": ["a/b", "c/d"], "stars": [1000, 1200], "language": ["Rust", "Rust"]}
    >>> describe_population(schema.conform(pd.DataFrame(records)))
    'public Rust repositories with 1,000 or more stars'
    """
    sample = importlib.resources.files("stargaze") / "data" / "sample.parquet"
    with importlib.resources.as_file(sample) as path:
        known = pd.read_parquet(path, columns=["id"])["id"]
    if repositories["id"].isin(known).all():
        return SAMPLE_POPULATION
    languages, fewest = repositories["language"].dropna().unique(), repositories["stars"].min()
    language = f"{languages[0]} " if len(languages) == 1 else ""
    stars = f" with {fewest:,.0f} or more stars" if fewest >= MIN_STARS else ""
    return f"public {language}repositories{stars}"

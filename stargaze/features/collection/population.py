"""How the repositories of a dataset were chosen, as far as the records tell: the page and the model card state it."""

from __future__ import annotations

import pandas as pd

from stargaze.features.samples import SAMPLES, open_sample

MIN_STARS = 10
"""A dataset whose least starred repository has fewer stars was hardly chosen by them."""


def describe_population(repositories: pd.DataFrame) -> str:
    """Return what follows "Trained on 9,535": a sample or a part of one, or the common language and the smallest star count.

    >>> from stargaze.features import schema
    >>> records = {"id": [10**9, 10**9 + 1], "full_name": ["a/b", "c/d"], "stars": [1000, 1200], "language": ["Rust", "Rust"]}
    >>> describe_population(schema.conform(pd.DataFrame(records)))
    'public Rust repositories with 1,000 or more stars'
    """
    if name := _find_sample(repositories):
        return SAMPLES[name].population
    languages, fewest = repositories["language"].dropna().unique(), repositories["stars"].min()
    language = f"{languages[0]} " if len(languages) == 1 else ""
    stars = f" with {fewest:,.0f} or more stars" if fewest >= MIN_STARS else ""
    return f"public {language}repositories{stars}"


def describe_choice(repositories: pd.DataFrame) -> str:
    """Return in a sentence how the repositories were chosen: a sample's choice, or the smallest star count of a table.

    >>> from stargaze.features import schema
    >>> describe_choice(schema.conform(pd.DataFrame({"full_name": ["a/b", "c/d"], "stars": [1000, 1200]})))
    'All of them have 1,000 or more stars.'
    """
    if name := _find_sample(repositories):
        return SAMPLES[name].choice
    fewest = repositories["stars"].min()
    return (
        f"All of them have {fewest:,.0f} or more stars."
        if fewest >= MIN_STARS
        else "How they were chosen is not known."
    )


def _find_sample(repositories: pd.DataFrame) -> str:
    """Return the name of the sample that contains all repositories; empty if there is none."""
    return next((name for name in SAMPLES if _is_part_of(repositories, name)), "")


def _is_part_of(repositories: pd.DataFrame, name: str) -> bool:
    """Return whether all repositories are those of a sample; the same names with other stars are of another day."""
    with open_sample(name) as path:
        sample = pd.read_parquet(path, columns=["full_name", "stars"])
    known = dict(zip(sample["full_name"], sample["stars"], strict=True))
    pairs = zip(repositories["full_name"], repositories["stars"], strict=True)
    return all(known.get(full_name) == stars for full_name, stars in pairs)

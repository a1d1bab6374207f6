"""The description of the training population."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from stargaze.features import schema
from stargaze.features.collection.population import describe_choice, describe_population
from stargaze.features.samples import open_sample


def test_the_sample_and_a_part_of_it_are_named(sample: pd.DataFrame) -> None:
    assert describe_population(sample) == "repositories using Electron"
    assert describe_population(sample.head(50)) == "repositories using Electron"


def test_other_repositories_are_described_by_language_and_stars(make_repositories: Callable[..., pd.DataFrame]) -> None:
    assert describe_population(make_repositories(50)) == "public repositories"
    assert (
        describe_population(make_repositories(50, stars=range(10, 60))) == "public repositories with 10 or more stars"
    )
    assert describe_population(make_repositories(50, language="C")) == "public C repositories"


def test_the_best_of_sample_is_recognized_by_names_and_stars() -> None:
    """It has no ids; the same repositories on another day were chosen by somebody else."""
    with open_sample("best-of") as path:
        repositories = schema.conform(pd.read_parquet(path))

    assert describe_population(repositories.head(300)) == "repositories of best-of lists"
    assert "best-of lists" in describe_choice(repositories)
    assert describe_population(repositories.assign(stars=repositories["stars"] + 1)) == "public repositories"


def test_the_choice_of_other_repositories_is_their_smallest_star_count(
    sample: pd.DataFrame, make_repositories: Callable[..., pd.DataFrame]
) -> None:
    assert "not chosen by their stars" in describe_choice(sample)
    assert describe_choice(make_repositories(50, stars=range(10, 60))) == "All of them have 10 or more stars."
    assert describe_choice(make_repositories(50, stars=range(50))) == "How they were chosen is not known."

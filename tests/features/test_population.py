"""The description of the training population."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from stargaze.features.population import describe_population


def test_the_sample_and_a_part_of_it_are_named(sample: pd.DataFrame) -> None:
    assert describe_population(sample) == "repositories using Electron"
    assert describe_population(sample.head(50)) == "repositories using Electron"


def test_other_repositories_are_described_by_language_and_stars(make_repositories: Callable[..., pd.DataFrame]) -> None:
    assert describe_population(make_repositories(50)) == "public repositories"
    assert (
        describe_population(make_repositories(50, stars=range(10, 60))) == "public repositories with 10 or more stars"
    )
    assert describe_population(make_repositories(50, language="C")) == "public C repositories"

"""What a bundle says about itself beside its scores: outliers from predictions of models that did not see them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.tuning.training.calibrate_policy import FieldRemoval
from stargaze.tuning.training.scoring import MAX_BY_OWNER, MAX_OUTLIERS, field_importance, find_outliers


def test_the_importance_of_a_field_is_its_share_of_the_growth_of_the_error() -> None:
    target, inputs = np.zeros(4), np.zeros((4, 1))

    def removal(field: str, after: float, *, is_first: bool = True) -> FieldRemoval:
        return FieldRemoval(field, (inputs, np.full(4, 1.0)), (inputs, np.full(4, after)), is_first)

    removals = [removal("forks", 2.0), removal("size_kb", np.sqrt(2.0)), removal("topics", 0.5)]
    removals.append(removal("forks", 9.0, is_first=False))

    assert field_importance(removals, target) == {"forks": 0.75, "size_kb": 0.25, "topics": 0.0}


def _repositories(names: list[str], stars: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"full_name": names, "stars": stars})


def test_outliers_are_outside_their_interval_and_the_farthest_first() -> None:
    repositories = _repositories(["a/x", "b/x", "c/x", "d/x", "e/x"], [1000.0, 100.0, 50.0, 0.0, 20.0])
    held_out = np.array(
        [[50.0, 50.0, 50.0, 500.0, 100.0], [10.0, 10.0, 10.0, 100.0, 30.0], [90.0, 90.0, 90.0, 900.0, 300.0]]
    )

    found = find_outliers(repositories, held_out)

    assert [item["full_name"] for item in found["more"]] == ["a/x", "b/x"]
    assert [item["full_name"] for item in found["fewer"]] == ["d/x", "e/x"]
    assert found["more"][0] == {
        "full_name": "a/x",
        "expected_stars": 50.0,
        "interval_low": 10.0,
        "interval_high": 90.0,
        "actual_stars": 1000.0,
    }


def test_an_owner_is_listed_twice_at_most_and_the_list_is_short() -> None:
    names = [f"Owner/{i}" for i in range(5)] + [f"owner/{i}" for i in range(5, 8)] + [f"o{i}/x" for i in range(20)]
    repositories = _repositories(names, [1e5] * 8 + [1e4] * 20)

    more = find_outliers(repositories, np.tile([[50.0], [10.0], [90.0]], 28))["more"]

    assert len(more) == MAX_OUTLIERS
    assert sum(item["full_name"].lower().startswith("owner/") for item in more) == MAX_BY_OWNER


def test_a_repository_with_few_stars_is_no_outlier() -> None:
    """An estimate of 0.1 stars and nine true ones says nothing."""
    found = find_outliers(_repositories(["a/x", "b/x"], [9.0, 0.0]), np.array([[0.1, 5.0], [0.0, 2.0], [1.0, 7.0]]))

    assert found == {"more": [], "fewer": []}

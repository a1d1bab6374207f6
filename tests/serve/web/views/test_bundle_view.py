"""The part of a bundle that the page shows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.web.views.bundle_view import load_bundle_view


def test_names_are_sorted_by_stars(bundle_folder: Path, sample: pd.DataFrame) -> None:
    assert load_bundle_view(bundle_folder).names == tuple(sample["full_name"])


def test_excluded_repositories_are_not_shown(bundle_folder: Path, sample: pd.DataFrame) -> None:
    owner, _, _ = sample["full_name"].iloc[0].partition("/")

    view = load_bundle_view(bundle_folder, Exclusions.parse([f"{owner}/*", sample["full_name"].iloc[80]]))

    assert sample["full_name"].iloc[80] not in view.names + view.examples
    assert not [name for name in view.names if name.startswith(f"{owner}/")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "2,000 public repositories, January 2017"),
        ({"population": "repositories using Electron"}, "2,000 repositories using Electron, January 2017"),
        ({"earliest": "2015-03-31T00:00:00+00:00"}, "2,000 public repositories, March 2015 to January 2017"),
    ],
)
def test_the_training_population_is_stated(bundle_folder: Path, data: dict[str, str], text: str) -> None:
    view = load_bundle_view(bundle_folder)
    view.meta["data"] |= data

    assert view.training_population == text


def test_coverage_is_stated_for_each_decade_of_expected_stars(bundle_folder: Path) -> None:
    view = load_bundle_view(bundle_folder)
    view.scores["coverage_by_predicted_decade"] = [
        {"decade": "0", "n": 90, "coverage": 0.95},
        {"decade": "1000-9999", "n": 30, "coverage": 0.731},
        {"decade": "10-99", "n": 29, "coverage": 0.5},
        {"decade": "10000-99999", "n": 0, "coverage": None},
    ]

    assert view.coverage_by_decade == "95% below 1, 73% at 1,000–9,999"


def test_a_damaged_bundle_is_rejected(bundle_folder: Path, tmp_path: Path) -> None:
    for path in bundle_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"lightgbm", b"LIGHTGBM"))

    with pytest.raises(BadBundleError):
        load_bundle_view(tmp_path)

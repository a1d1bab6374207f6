"""The part of a bundle that the page shows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.serve.web.pages.bundle_view import load_bundle_view


def test_names_are_sorted_by_stars(bundle_folder: Path, sample: pd.DataFrame) -> None:
    assert load_bundle_view(bundle_folder).names == tuple(sample["full_name"])


def test_the_typical_error_is_a_factor(bundle_folder: Path) -> None:
    """RMSLE 0.5: e to the 0.5."""
    assert load_bundle_view(bundle_folder).typical_error == "1.6"


def test_a_damaged_bundle_is_rejected(bundle_folder: Path, tmp_path: Path) -> None:
    for path in bundle_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"lightgbm", b"LIGHTGBM"))

    with pytest.raises(BadBundleError):
        load_bundle_view(tmp_path)

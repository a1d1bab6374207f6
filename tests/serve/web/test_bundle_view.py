"""The part of a bundle that the page shows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.serve.web.bundle_view import load_shown


def test_the_names_come_most_starred_first(bundle_folder: Path, sample: pd.DataFrame) -> None:
    assert load_shown(bundle_folder).names == tuple(sample["full_name"])


def test_a_typical_error_is_a_factor(bundle_folder: Path) -> None:
    """RMSLE 0.5: e to the 0.5."""
    assert load_shown(bundle_folder).typical_error == "1.6"


def test_a_changed_bundle_is_not_shown(bundle_folder: Path, tmp_path: Path) -> None:
    for path in bundle_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"lightgbm", b"LIGHTGBM"))

    with pytest.raises(BadBundleError):
        load_shown(tmp_path)

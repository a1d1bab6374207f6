"""Each repository is found in its set, and malformed sets are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.bundle.repository_sets import RepositorySets
from stargaze.bundle.star_bundle import Bundle
from stargaze.features.split import TEST, VALIDATION

NAMES = st.lists(st.from_regex(r"[a-z]{1,3}/[a-z]{1,3}", fullmatch=True), unique=True, max_size=30)


@given(NAMES, st.integers(0, 2**32 - 1))
def test_a_repository_is_found_in_its_set_and_no_other_is(names: list[str], seed: int) -> None:
    folds = np.random.default_rng(seed).choice([TEST, VALIDATION, 0, 1, 4], len(names))

    sets = RepositorySets.from_bytes(RepositorySets.of(names, folds).to_bytes())

    expected = [{TEST: "test", VALIDATION: "validation"}.get(int(fold), "training") for fold in folds]
    assert sets.find([name.upper() for name in names]).tolist() == expected
    assert sets.find([f"{name}-" for name in names]).tolist() == [""] * len(names)


def numbers(*values: int) -> bytes:
    """Return numbers as they are in the file."""
    return np.array(values, dtype="<u8").tobytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        numbers(0, 0),
        numbers(1, 0, 0),
        numbers(0, 0, 0, 7),
        numbers(0, 0, 0) + b"1",
        numbers(2, 0, 0, 7, 7),
        numbers(0, 2, 0, 8, 7),
        numbers(2**63, 2**63, 0),
        numbers(2**64 - 1, 2, 0, 7),
    ],
)
def test_a_malformed_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadBundleError, match=r"sets\.bin") as caught:
        RepositorySets.from_bytes(data)

    assert caught.value.hint == "stargaze tune"


def test_a_bundle_with_malformed_sets_is_not_loaded(bundle_folder: Path, tmp_path: Path) -> None:
    for path in bundle_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "sets.bin").write_bytes(numbers(1, 0, 0))
    (tmp_path / "manifest.json").unlink()
    write_manifest(tmp_path)

    with pytest.raises(BadBundleError, match=r"sets\.bin"):
        Bundle.load(tmp_path)

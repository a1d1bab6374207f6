"""The bundle: what was tested is what is read back, and a bundle that is not sound is refused before it answers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle import Bundle, Intervals, write_bundle
from stargaze.manifest import NAME, BadBundleError, verify_files, write_manifest

Meta = dict[str, Any]


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that may be spoilt."""
    return Path(shutil.copytree(bundle_folder, tmp_path / "copy"))


def described_anew(folder: Path, change: Callable[[Meta], object]) -> Path:
    """Change the description and make the manifest fit again, as somebody with the signing key could."""
    meta = json.loads((folder / "bundle.json").read_text())
    changed = change(meta)
    (folder / "bundle.json").write_text(json.dumps(meta if changed is None else changed))
    write_manifest(folder)
    return folder


def test_a_bundle_comes_back_as_it_was_written(bundle_folder: Path, sample: pd.DataFrame) -> None:
    bundle = Bundle.load(bundle_folder)

    bundle.check_prototype()
    assert bundle.digest == bundle_folder.name == verify_files(bundle_folder)
    assert set(bundle.models) == {"activity", "all"}
    pd.testing.assert_frame_equal(bundle.known, sample)


def test_a_bundle_lies_under_its_digest_and_nothing_else_is_left(bundle_folder: Path) -> None:
    assert [path.name for path in bundle_folder.parent.iterdir()] == [bundle_folder.name]
    assert sorted(path.name for path in bundle_folder.iterdir()) == [
        "bundle.json",
        "known.parquet",
        "manifest.json",
        "model-activity.txt",
        "model-all.txt",
    ]


def test_a_bundle_is_loaded_through_a_link(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle_folder)

    assert Bundle.load(tmp_path / "current").digest == bundle_folder.name


def test_models_are_read_from_the_bytes_that_were_hashed(copy: Path, sample: pd.DataFrame) -> None:
    """Whoever changes the file after the check changes nothing."""
    bundle = Bundle.load(copy)
    before = Bundle.load(copy).estimate(sample.head(3))

    (copy / "model-all.txt").write_text("garbage")

    assert np.array_equal(bundle.estimate(sample.head(3)), before)


def test_no_estimate_is_below_no_star(bundle_folder: Path, sample: pd.DataFrame) -> None:
    assert (Bundle.load(bundle_folder).estimate(sample) >= 0).all()


def test_a_changed_prototype_is_noticed(copy: Path) -> None:
    described_anew(copy, lambda meta: meta["prototype"]["predicted"].update({"all": 1.0}))

    with pytest.raises(BadBundleError, match=r"policy all predicts .* not 1\.0"):
        Bundle.load(copy).check_prototype()


def test_a_changed_model_is_noticed_even_if_the_manifest_fits(copy: Path) -> None:
    whole = lightgbm.Booster(model_file=copy / "model-all.txt")
    (copy / "model-all.txt").write_text(whole.model_to_string(num_iteration=whole.num_trees() // 2))
    write_manifest(copy)

    with pytest.raises(BadBundleError, match="policy all predicts"):
        Bundle.load(copy).check_prototype()


def _no_expectation(meta: Meta) -> None:
    meta["prototype"]["predicted"] = {}


def _only_one_expectation(meta: Meta) -> None:
    del meta["prototype"]["predicted"]["activity"]


def _not_a_number(meta: Meta) -> None:
    meta["prototype"]["predicted"]["all"] = float("nan")


def _no_record(meta: Meta) -> None:
    del meta["prototype"]["record"]


def _odd_record(meta: Meta) -> None:
    meta["prototype"]["record"] = {"forks": "many"}


def _other_columns(meta: Meta) -> None:
    meta["features"]["all"] = meta["features"]["all"][:-1]


def _not_the_format(meta: Meta) -> None:
    meta["models"]["all"]["format"] = "skops"


def _unknown_format(meta: Meta) -> None:
    meta["models"]["all"]["format"] = "pickle"


def _no_vocabularies(meta: Meta) -> None:
    meta["vocabularies"] = []


@pytest.mark.parametrize(
    "spoil",
    [
        _no_expectation,
        _only_one_expectation,
        _not_a_number,
        _no_record,
        _odd_record,
        _other_columns,
        _not_the_format,
        _unknown_format,
        _no_vocabularies,
    ],
)
def test_a_bundle_whose_prototype_cannot_be_repeated_is_refused(copy: Path, spoil: Callable[[Meta], None]) -> None:
    """Each model must have been asked: a description that expects nothing would let any model in."""
    with pytest.raises(BadBundleError):
        Bundle.load(described_anew(copy, spoil)).check_prototype()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": None},
        {"features": {"all": ["no_such_feature"], "activity": ["forks"]}},
        {"features": []},
        {"features": {}},
        {"features": {"all": [["forks"]]}},
        {"estimate": "no such policy"},
        {"explain": "static"},
        {"models": {}},
        {"models": {"all": {}, "activity": {}}},
        {"models": {"all": {"file": "../../x", "format": "lightgbm"}, "activity": {"file": "x", "format": "skops"}}},
        {"intervals": {}},
        {"intervals": {"coverage": "0.9", "edges": [], "lower": [0], "upper": [0]}},
        {"intervals": {"coverage": 0.9, "edges": [1.0, 2.0], "lower": [0], "upper": [0]}},
        {"intervals": None},
        {"split": {"no": "such key"}},
        {"star_quantiles": []},
        {"star_quantiles": ["a"]},
        {"star_quantiles": None},
    ],
    ids=str,
)
def test_a_bundle_of_another_version_is_refused(copy: Path, change: Meta) -> None:
    with pytest.raises(BadBundleError):
        Bundle.load(described_anew(copy, lambda meta: meta | change))


def test_an_unknown_feature_is_named(copy: Path) -> None:
    described_anew(copy, lambda meta: meta["features"]["all"].append("moon_phase"))

    with pytest.raises(BadBundleError, match="another version: moon_phase"):
        Bundle.load(copy)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", '"a"', "{", "[" * 100_000, "\x00"])
def test_a_description_that_is_none_is_refused(copy: Path, text: str) -> None:
    (copy / "bundle.json").write_text(text)
    write_manifest(copy)

    with pytest.raises(BadBundleError, match="not well-formed"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["bundle.json", "model-all.txt", "known.parquet", NAME])
def test_a_bundle_without_one_of_its_files_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    if name != NAME:
        write_manifest(copy)

    with pytest.raises(BadBundleError):
        len(Bundle.load(copy).known)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet", b"PAR1" + b"\x00" * 100 + b"PAR1"])
def test_known_repositories_that_cannot_be_read_are_refused(copy: Path, data: bytes) -> None:
    (copy / "known.parquet").write_bytes(data)
    write_manifest(copy)

    with pytest.raises(BadBundleError, match=r"known\.parquet"):
        len(Bundle.load(copy).known)


def test_the_same_content_is_the_same_bundle(bundle_folder: Path, tmp_path: Path, sample: pd.DataFrame) -> None:
    """One that is there already stays as it is."""
    meta = json.loads((bundle_folder / "bundle.json").read_text())
    models = {
        "all": _Stored(bundle_folder / "model-all.txt"),
        "activity": _Stored(bundle_folder / "model-activity.txt"),
    }

    folders = [write_bundle(tmp_path, meta, models, sample) for _ in range(2)]

    assert {folder.name for folder in folders} == {bundle_folder.name}
    assert [path.name for path in tmp_path.iterdir()] == [bundle_folder.name]


def test_a_bundle_that_would_be_refused_is_not_written(bundle_folder: Path, tmp_path: Path) -> None:
    meta = json.loads((bundle_folder / "bundle.json").read_text())
    meta["prototype"]["predicted"]["all"] = 99.0

    with pytest.raises(BadBundleError):
        write_bundle(tmp_path, meta, {"all": _Stored(bundle_folder / "model-all.txt")}, pd.DataFrame())

    assert list(tmp_path.iterdir()) == []


@dataclasses.dataclass
class _Stored:
    """A model that writes the text it was read from."""

    path: Path

    @property
    def booster(self) -> _Stored:
        return self

    def model_to_string(self) -> str:
        return self.path.read_text()


offsets = st.floats(-8, 8)


@given(
    st.lists(st.floats(0, 16), min_size=1, max_size=20),
    st.lists(st.tuples(st.one_of(st.none(), offsets), offsets), min_size=1, max_size=4),
)
def test_an_interval_is_never_empty_or_below_no_star(
    predicted: list[float], pairs: list[tuple[float | None, float]]
) -> None:
    lower, upper = zip(*[(low, high if low is None else max(low, high)) for low, high in pairs], strict=True)
    edges = tuple(np.linspace(1, 10, len(pairs) - 1).tolist())

    low, high = Intervals(0.9, edges, lower, upper).around(np.array(predicted))

    assert (low <= high).all()
    assert (low >= 0).all()
    assert np.array_equal(low, np.round(low))
    assert np.array_equal(high, np.round(high))


def test_an_interval_is_the_one_of_its_predictions_bin() -> None:
    intervals = Intervals(0.9, (2.0,), (None, -0.5), (0.0, 0.5))

    low, high = intervals.around(np.array([1.0, 2.0, 3.0]))

    assert low.tolist() == [0.0, np.ceil(np.expm1(1.5)), np.ceil(np.expm1(2.5))]
    assert high.tolist() == [1.0, np.floor(np.expm1(2.5)), np.floor(np.expm1(3.5))]


def test_between_whole_numbers_the_nearest_is_taken() -> None:
    low, high = Intervals(0.9, (), (-0.001,), (0.001,)).around(np.log1p(np.array([10.4])))

    assert (low[0], high[0]) == (10.0, 10.0)

"""The star bundle: it is read back unchanged, and an invalid one is refused before it predicts."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.manifest import MANIFEST, STAR_FORMAT, BadBundleError, verify_files, write_manifest
from stargaze.bundle.repository_sets import RepositorySets
from stargaze.bundle.serialization import Ensemble
from stargaze.bundle.star_bundle import Bundle
from stargaze.bundle.write import write_bundle
from stargaze.serve.web.verify_bundle import verify_bundle
from stargaze.store import Store
from tests.conftest import Ended
from tests.previous_format import META, write_previous_bundle

Meta = dict[str, Any]
ODD_INTERVALS = {
    "coverage": 0.9,
    "count_classes": [0, 20],
    "prediction_classes": [0, 20],
    "radius": [[1.0, 1.0], [1.0, 1.0]],
}
"""Valid intervals, to which a test adds one key."""


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(bundle_folder, tmp_path / "copy"))


def change_description(folder: Path, change: Callable[[Meta], object]) -> Path:
    """Change the description and rewrite the manifest, as a holder of the signing key could."""
    meta = json.loads((folder / "bundle.json").read_text())
    changed = change(meta)
    (folder / "bundle.json").write_text(json.dumps(meta if changed is None else changed))
    write_manifest(folder)
    return folder


def test_a_written_bundle_loads_unchanged(bundle_folder: Path, sample: pd.DataFrame) -> None:
    bundle = Bundle.load(bundle_folder)

    bundle.check_prototype()
    assert bundle.digest == bundle_folder.name == verify_files(bundle_folder)
    assert set(bundle.models) == {"activity", "all"}
    pd.testing.assert_frame_equal(bundle.known, sample)


def test_memory_is_released_after_the_arrow_table_of_known_repositories(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that still exists at that time keeps 46 MB of a worker with 50,000 repositories."""
    pool, allocated = pa.default_memory_pool(), list[int]()
    unused = SimpleNamespace(release_unused=lambda: allocated.append(pool.bytes_allocated()))
    monkeypatch.setattr("stargaze.bundle.known_repositories.pa.default_memory_pool", lambda: unused)
    before = pool.bytes_allocated()

    known = Bundle.load(bundle_folder).known

    assert allocated[-1] - before < known.memory_usage(deep=True).sum() / 2


def test_a_bundle_is_stored_under_its_digest_without_temporary_files(bundle_folder: Path) -> None:
    assert [path.name for path in bundle_folder.parent.iterdir()] == [bundle_folder.name]
    assert sorted(path.name for path in bundle_folder.iterdir()) == [
        "bundle.json",
        "known.parquet",
        "manifest.json",
        "model-activity-1.txt",
        "model-all-1.txt",
        "sets.bin",
        "spread-all.txt",
    ]


def test_a_bundle_is_loaded_through_a_link(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle_folder)

    assert Bundle.load(tmp_path / "current").digest == bundle_folder.name


def test_models_are_parsed_from_the_hashed_bytes(copy: Path, sample: pd.DataFrame) -> None:
    """A change of the file after the check has no effect."""
    bundle = Bundle.load(copy)
    before = Bundle.load(copy).predict_repositories(sample.head(3))

    (copy / "model-all-1.txt").write_text("garbage")

    assert np.array_equal(bundle.predict_repositories(sample.head(3)), before)


def test_no_prediction_is_negative(bundle_folder: Path, sample: pd.DataFrame) -> None:
    assert (Bundle.load(bundle_folder).predict_repositories(sample) >= 0).all()


def test_a_changed_prototype_is_refused(copy: Path) -> None:
    change_description(copy, lambda meta: meta["prototype"]["predicted"].update({"all": [1.0, 1.0]}))

    with pytest.raises(BadBundleError, match=r"policy all predicts .* not 1\.0"):
        Bundle.load(copy).check_prototype()


def test_a_changed_model_is_refused_even_if_the_manifest_matches(copy: Path) -> None:
    whole = lightgbm.Booster(model_file=copy / "model-all-1.txt")
    (copy / "model-all-1.txt").write_text(whole.model_to_string(num_iteration=whole.num_trees() // 2))
    write_manifest(copy)

    with pytest.raises(BadBundleError, match="policy all predicts"):
        Bundle.load(copy).check_prototype()


def _no_expectation(meta: Meta) -> None:
    meta["prototype"]["predicted"] = {}


def _only_one_expectation(meta: Meta) -> None:
    del meta["prototype"]["predicted"]["activity"]


def _not_a_number(meta: Meta) -> None:
    meta["prototype"]["predicted"]["all"][0] = float("nan")


def _no_spread_expected(meta: Meta) -> None:
    meta["prototype"]["predicted"]["all"].pop()


def _one_more_expected(meta: Meta) -> None:
    meta["prototype"]["predicted"]["activity"].append(1.0)


def _no_record(meta: Meta) -> None:
    del meta["prototype"]["record"]


def _odd_record(meta: Meta) -> None:
    meta["prototype"]["record"] = {"forks": "many"}


def _other_columns(meta: Meta) -> None:
    meta["features"]["all"] = meta["features"]["all"][:-1]


def test_a_bundle_in_the_previous_format_is_refused_in_one_line(run: Callable[..., Ended]) -> None:
    write_previous_bundle(Store(Path("store")), META)

    ended = run("predict", "a/b")

    assert ended.code == 5
    assert ended.error.endswith("another version wrote this bundle: format")
    assert ended.hint == "stargaze tune writes one for this version"


@pytest.mark.parametrize("number", [1, 3])
def test_a_description_in_the_previous_format_is_refused_whatever_its_number(
    run: Callable[..., Ended], number: int
) -> None:
    write_previous_bundle(Store(Path("store")), META | {"format": number})

    ended = run("predict", "a/b")

    assert ended.code == 5
    assert ended.hint == "stargaze tune writes one for this version"


def _not_the_format(meta: Meta) -> None:
    meta["models"]["all"][0]["format"] = "skops"


def _unknown_format(meta: Meta) -> None:
    meta["models"]["all"][0]["format"] = "pickle"


def _no_vocabularies(meta: Meta) -> None:
    meta["vocabularies"] = []


@pytest.mark.parametrize(
    "damage",
    [
        _no_expectation,
        _only_one_expectation,
        _not_a_number,
        _no_spread_expected,
        _one_more_expected,
        _no_record,
        _odd_record,
        _other_columns,
        _not_the_format,
        _unknown_format,
        _no_vocabularies,
    ],
)
def test_a_bundle_that_cannot_predict_its_prototype_is_refused(copy: Path, damage: Callable[[Meta], None]) -> None:
    """A description without an expected prediction would accept any model."""
    with pytest.raises(BadBundleError):
        Bundle.load(change_description(copy, damage)).check_prototype()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"format": 2},
        {"format": STAR_FORMAT + 1},
        {"format": None},
        {"features": {"all": ["no_such_feature"], "activity": ["forks"]}},
        {"features": []},
        {"features": {}},
        {"features": {"all": [["forks"]]}},
        {"estimate_policy": "no such policy"},
        {"models": {}},
        {"models": {"all": {}, "activity": {}}},
        {"models": {"all": [], "activity": []}},
        {"models": {"all": [{"file": "model-all-1.txt", "format": "lightgbm"}], "activity": []}},
        {"spreads": {}},
        {"spreads": None},
        {"spreads": {"all": {"file": "model-all-1.txt"}}},
        {"intervals": {}},
        {"intervals": ODD_INTERVALS | {"coverage": "most"}},
        {"intervals": ODD_INTERVALS | {"coverage": 1.5}},
        {"intervals": ODD_INTERVALS | {"count_classes": [0, 20, 10]}},
        {"intervals": ODD_INTERVALS | {"prediction_classes": [1, 2]}},
        {"intervals": ODD_INTERVALS | {"radius": [[1.0, 1.0]]}},
        {"intervals": ODD_INTERVALS | {"radius": [[1.0, 1.0], [1.0, float("nan")]]}},
        {"intervals": ODD_INTERVALS | {"radius": [[1.0, 1.0], [1.0, float("inf")]]}},
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
        Bundle.load(change_description(copy, lambda meta: meta | change))


def test_the_error_for_an_older_format_names_the_format(copy: Path) -> None:
    """Its intervals depended on the prediction only."""
    before = {"file": "model-all-1.txt", "format": "lightgbm"}
    change_description(copy, lambda meta: meta | {"format": 1, "models": {"all": before, "activity": before}})

    with pytest.raises(BadBundleError, match="another version wrote this bundle: format"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    "weight", [float("nan"), float("inf"), -1.0, 0.0, 1e300, 2.0, 0.5, True, "1.0", None, [1.0]], ids=str
)
def test_weights_that_are_not_fractions_are_refused(copy: Path, weight: Any) -> None:
    change_description(copy, lambda meta: meta["models"]["all"][0].update({"weight": weight}))

    with pytest.raises(BadBundleError):
        Bundle.load(copy)


def test_weights_that_cancel_out_are_refused(copy: Path) -> None:
    """Their sum is one, but predictions would be differences of large numbers."""
    change_description(copy, lambda meta: meta["models"].update({"all": _two_members(meta, 1000.0, -999.0)}))

    with pytest.raises(BadBundleError):
        Bundle.load(copy)


def _two_members(meta: Meta, *weights: float) -> list[Meta]:
    return [meta["models"]["all"][0] | {"weight": weight} for weight in weights]


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "encoder.npy", "sitecustomize.py", "note.txt"])
def test_a_file_without_mention_in_the_description_is_not_opened(copy: Path, tmp_path: Path, name: str) -> None:
    """Even if the manifest matches."""
    trace = tmp_path / "trace"
    (copy / name).write_bytes(pickle.dumps(Malicious(trace)))
    write_manifest(copy)

    with pytest.raises(BadBundleError, match=f"and the manifest differ in {name}"):
        Bundle.load(copy)
    assert not trace.exists()


@pytest.mark.parametrize("place", [("models", "all", 0), ("spreads", "all")], ids=["model", "spread"])
@pytest.mark.parametrize("kind", ["lightgbm", "skops", "pickle", "joblib"])
def test_a_pickle_in_place_of_a_model_is_not_opened(
    copy: Path, tmp_path: Path, kind: str, place: tuple[Any, ...]
) -> None:
    trace = tmp_path / "trace"

    def plant(meta: Meta) -> None:
        item: Any = meta
        for step in place:
            item = item[step]
        (copy / item["file"]).write_bytes(pickle.dumps(Malicious(trace)))
        item["format"] = kind

    with pytest.raises(BadBundleError):
        Bundle.load(change_description(copy, plant)).check_prototype()
    assert not trace.exists()


class Malicious:
    """Creates a file if anything unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("file", ["../manifest.json", "/etc/passwd", "manifest.json", "no-such-file.txt", "", None])
@pytest.mark.parametrize("place", ["models", "spreads"])
def test_a_model_outside_of_the_manifest_is_refused(copy: Path, place: str, file: str | None) -> None:
    def point(meta: Meta) -> None:
        item = meta[place]["all"]
        (item[0] if place == "models" else item).update({"file": file})

    with pytest.raises(BadBundleError, match=r"and the manifest differ in|\.file is not a short text"):
        Bundle.load(change_description(copy, point))


def test_a_changed_error_model_is_refused_even_if_the_manifest_matches(copy: Path) -> None:
    """It could make every interval too narrow."""
    whole = lightgbm.Booster(model_file=copy / "spread-all.txt")
    (copy / "spread-all.txt").write_text(whole.model_to_string(num_iteration=2))
    write_manifest(copy)

    with pytest.raises(BadBundleError, match="policy all predicts"):
        Bundle.load(copy).check_prototype()


UNEXPECTED_VALUES = st.sampled_from(
    [None, True, 0, -1, 1e308, float("nan"), "", "x", "../x", [], [None], {}, {"file": "x"}]
)


@pytest.mark.thorough
@given(data=st.data())
def test_a_randomly_changed_description_is_refused_or_predicts(
    bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One random value is replaced; the result is a BadBundleError or whole counts around a prediction."""
    folder = tmp_path_factory.mktemp("fuzzed") / "copy"
    shutil.copytree(bundle_folder, folder)
    meta = json.loads((folder / "bundle.json").read_text())
    item, key = meta, data.draw(st.sampled_from(sorted(meta)))
    while isinstance(item[key], (dict, list)) and item[key] and data.draw(st.booleans()):
        item = item[key]
        key = data.draw(st.sampled_from(sorted(item) if isinstance(item, dict) else range(len(item))))
    item[key] = data.draw(UNEXPECTED_VALUES)
    change_description(folder, lambda _: meta)

    try:
        changed = Bundle.load(folder)
        changed.check_prototype()
        answer = changed.estimate(changed.known.head(2))
    except BadBundleError:
        return
    assert (answer.low <= answer.high).all()
    assert np.isfinite([answer.predicted, answer.low, answer.high]).all()


@given(
    place=st.integers(0, 10**6), value=st.integers(0, 255), name=st.sampled_from(["model-all-1.txt", "spread-all.txt"])
)
def test_a_changed_byte_is_refused_before_a_model_is_parsed(
    bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory, place: int, value: int, name: str
) -> None:
    folder = tmp_path_factory.mktemp("hurt") / "copy"
    shutil.copytree(bundle_folder, folder)
    data = bytearray((folder / name).read_bytes())
    data[place % len(data)] ^= value or 1
    (folder / name).write_bytes(bytes(data))

    with pytest.raises(BadBundleError, match="SHA-256"):
        Bundle.load(folder)


def test_an_unknown_feature_is_named(copy: Path) -> None:
    def add(meta: Meta) -> None:
        meta["features"]["all"].append("moon_phase")
        meta["background"]["all"].append(None)

    change_description(copy, add)

    with pytest.raises(BadBundleError, match="another version wrote this bundle: moon_phase"):
        Bundle.load(copy)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", '"a"', "{", "[" * 100_000, "\x00"])
def test_a_malformed_description_is_refused(copy: Path, text: str) -> None:
    (copy / "bundle.json").write_text(text)
    write_manifest(copy)

    with pytest.raises(BadBundleError, match="malformed"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["bundle.json", "model-all-1.txt", "known.parquet", MANIFEST])
def test_a_bundle_without_one_of_its_files_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    if name != MANIFEST:
        write_manifest(copy)

    with pytest.raises(BadBundleError):
        len(Bundle.load(copy).known)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet", b"PAR1" + b"\x00" * 100 + b"PAR1"])
def test_malformed_known_repositories_are_refused(copy: Path, data: bytes) -> None:
    (copy / "known.parquet").write_bytes(data)
    write_manifest(copy)

    with pytest.raises(BadBundleError, match=r"known\.parquet"):
        len(Bundle.load(copy).known)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("full_name", "<b>/../x", "not owner/name"),
        ("full_name", None, "a repository twice"),
        ("forks", -5.0, "negative"),
        ("size_kb", np.inf, "whole number"),
        ("stars", 1e300, "larger than any"),
        ("created_at", "9999-12-31", "in the future"),
        ("language", "x" * 500_000, "longer than 255"),
        ("has_wiki", 5.0, "true or false"),
    ],
)
def test_known_repositories_that_fetch_would_refuse_are_refused_before_installation(
    copy: Path, sample: pd.DataFrame, field: str, value: object, reason: str
) -> None:
    known = sample.copy()
    if field == "created_at":
        value = pd.Timestamp(str(value), tz="UTC").as_unit("s")
    known.loc[5, field] = value if value is not None else str(known.loc[4, field]).upper()
    known.to_parquet(copy / "known.parquet")
    write_manifest(copy)

    with pytest.raises(BadBundleError, match=reason) as caught:
        verify_bundle(copy)

    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "codes", [[[2**14]], [[-(2**14) - 1]], [[0.5]], [["web"]], [[[1]]], [2**40], [[None]], [[2**40]], ["[1]"]]
)
def test_hashed_words_that_are_no_codes_are_refused(copy: Path, sample: pd.DataFrame, codes: list[object]) -> None:
    """They are positions in the arrays of the encoder."""
    known = sample.head(2).drop(columns="description_tokens")
    known.assign(description_tokens=pd.Series([*codes, None], index=known.index)).to_parquet(copy / "known.parquet")
    write_manifest(copy)

    with pytest.raises(BadBundleError, match="description_tokens has"):
        verify_bundle(copy)


def test_hashed_words_of_known_repositories_are_kept(copy: Path, sample: pd.DataFrame) -> None:
    known = sample.head(3).drop(columns="description_tokens")
    codes = pd.Series([[-(2**14), 2**14 - 1], [], None], index=known.index)
    known.assign(description_tokens=codes).to_parquet(copy / "known.parquet")
    write_manifest(copy)

    read = Bundle.load(copy).known["description_tokens"].tolist()

    assert [None if row is None else list(row) for row in read] == codes.tolist()


def test_the_same_content_gives_the_same_digest(bundle_folder: Path, tmp_path: Path, sample: pd.DataFrame) -> None:
    """An existing folder is kept."""
    meta = json.loads((bundle_folder / "bundle.json").read_text())
    models = {
        policy: Ensemble((1.0,), (_Stored(bundle_folder / f"model-{policy}-1.txt"),)) for policy in ("all", "activity")
    }
    spreads = {"all": _Stored(bundle_folder / "spread-all.txt")}

    sets = RepositorySets.from_bytes((bundle_folder / "sets.bin").read_bytes())
    folders = [write_bundle(tmp_path, meta, models, spreads, sample, sets) for _ in range(2)]

    assert {folder.name for folder in folders} == {bundle_folder.name}
    assert [path.name for path in tmp_path.iterdir()] == [bundle_folder.name]


def test_an_invalid_bundle_is_not_written(bundle_folder: Path, tmp_path: Path, sample: pd.DataFrame) -> None:
    meta = json.loads((bundle_folder / "bundle.json").read_text())
    meta["prototype"]["predicted"]["all"][0] = 99.0
    models = {
        policy: Ensemble((1.0,), (_Stored(bundle_folder / f"model-{policy}-1.txt"),)) for policy in ("all", "activity")
    }

    spreads, sets = {"all": _Stored(bundle_folder / "spread-all.txt")}, RepositorySets.of([], np.zeros(0))
    with pytest.raises(BadBundleError, match=r"not 99\.0"):
        write_bundle(tmp_path, meta, models, spreads, sample, sets)

    assert list(tmp_path.iterdir()) == []


@dataclasses.dataclass
class _Stored:
    """A model that serializes to the text of a file."""

    path: Path

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return np.zeros(len(inputs))

    def contributions(self, inputs: np.ndarray) -> None:
        return None

    @property
    def booster(self) -> _Stored:
        return self

    def model_to_string(self) -> str:
        return self.path.read_text()


def test_a_bundle_without_known_repositories_serves(copy: Path, sample: pd.DataFrame) -> None:
    """With tuning.bundled_repositories = 0."""
    sample[["full_name", "stars"]].head(0).to_parquet(copy / "known.parquet")
    write_manifest(copy)

    verify_bundle(copy)

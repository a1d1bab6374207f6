"""A bundle declares its own columns; only declared names are accepted beside those of the catalog."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.description import check_star_description
from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.bundle.star_bundle import Bundle
from stargaze.features.own_columns import MAX_COLUMNS

Meta = dict[str, Any]
POINTS = {"name": "points", "kind": "number", "policy": "all"}


@pytest.fixture
def meta(bundle_folder: Path) -> Meta:
    """A description with an own column that matters to the estimate."""
    description: Meta = json.loads((bundle_folder / "bundle.json").read_text())
    description["own_columns"] = [dict(POINTS)]
    description["importance"] = {"all": {"points": 0.5, "forks": 0.5}}
    return description


def test_declared_columns_are_fields(meta: Meta) -> None:
    check_star_description(meta)


CHANGES: dict[str, tuple[Callable[[Meta], object], str]] = {
    "not declared": (lambda meta: meta.pop("own_columns"), "a key of importance.all"),
    "another declared": (lambda meta: meta["own_columns"][0].update(name="point"), "a key of importance.all"),
    "no list": (lambda meta: meta.update(own_columns={"points": "number"}), "own_columns is not a list"),
    "null": (lambda meta: meta.update(own_columns=None), "own_columns is not a list"),
    "no kind": (lambda meta: meta["own_columns"][0].pop("kind"), "without exactly kind, name, policy"),
    "more keys": (lambda meta: meta["own_columns"][0].update(unit="m"), "without exactly kind, name, policy"),
    "an unknown kind": (lambda meta: meta["own_columns"][0].update(kind="date"), "kind of an own column"),
    "an unknown policy": (lambda meta: meta["own_columns"][0].update(policy="live"), "policy of an own column"),
    "twice": (lambda meta: meta["own_columns"].append(dict(POINTS)), "a name twice"),
    "a field": (lambda meta: meta["own_columns"][0].update(name="subscribers"), "is a field of a repository"),
    "a feature": (lambda meta: meta["own_columns"][0].update(name="subscriber_rate"), "is a feature of stargaze"),
    "a long name": (lambda meta: meta["own_columns"][0].update(name="p" * 101), "1 to 100 characters"),
    "a name of two lines": (lambda meta: meta["own_columns"][0].update(name="a\nb"), "cannot be printed"),
    "a lone surrogate": (lambda meta: meta["own_columns"][0].update(name="\ud834"), "cannot be printed"),
    "a number": (lambda meta: meta["own_columns"][0].update(name=1), "1 to 100 characters"),
    "too many": (
        lambda meta: meta["own_columns"].extend(POINTS | {"name": f"points {i}"} for i in range(MAX_COLUMNS)),
        f"at most {MAX_COLUMNS}",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_malformed_declaration_is_refused(meta: Meta, change: str) -> None:
    function, message = CHANGES[change]
    function(meta)

    with pytest.raises(ValueError, match=message):
        check_star_description(meta)


@pytest.mark.parametrize("declared", [True, False])
def test_a_feature_must_be_in_the_catalog_or_declared(
    tmp_path: Path, bundle_folder: Path, meta: Meta, declared: bool
) -> None:
    changed = copy.deepcopy(meta) if declared else {key: value for key, value in meta.items() if key != "own_columns"}
    changed.pop("importance")
    changed["features"]["all"] = [name if name != "forks" else "points" for name in meta["features"]["all"]]
    for path in bundle_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "bundle.json").write_text(json.dumps(changed))
    (tmp_path / "manifest.json").unlink()
    write_manifest(tmp_path)

    if declared:
        bundle = Bundle.load(tmp_path)
        assert bundle.known["points"].isna().all()
        assert len(bundle.predict_repositories(bundle.known.head(3))) == 3
    else:
        with pytest.raises(BadBundleError, match="another version wrote this bundle: points"):
            Bundle.load(tmp_path)

"""Write bundles atomically; each is loaded and verified before it gets its name."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import stargaze
from stargaze.bundle import growth_bundle, star_bundle
from stargaze.bundle.manifest import DESCRIPTION, STAR_FORMAT, write_manifest
from stargaze.bundle.population_density import PopulationDensity
from stargaze.bundle.repository_sets import RepositorySets
from stargaze.bundle.serialization import serialize_model
from stargaze.features.encoding.encoder import Encoder
from stargaze.system.files import atomic_write, scratch_folder

SUFFIXES = {"lightgbm": "txt", "skops": "skops", "catboost": "json"}


def write_bundle(
    parent: Path,
    meta: Mapping[str, Any],
    models: Mapping[str, Any],
    spreads: Mapping[str, Any],
    known: pd.DataFrame,
    sets: RepositorySets,
    encoder: Encoder | None = None,
    population: PopulationDensity | None = None,
) -> Path:
    """Write a star bundle to ``parent/<digest>`` with one rename and return that folder; an existing one is kept.

    ``models`` maps each policy to an ensemble, ``spreads`` each answer policy to a model of the prediction error; ``sets``
    tell which repositories the models were fitted on, ``population`` what they are like. The bundle is loaded
    and must reproduce the stored prototype predictions before it gets its name.
    """
    files = {star_bundle.KNOWN: known.to_parquet(compression="zstd", index=False), star_bundle.SETS: sets.to_bytes()}
    if encoder is not None:
        files[star_bundle.ENCODER] = encoder.to_bytes()
    if population is not None:
        files[star_bundle.POPULATION] = population.to_bytes()
        meta = {**meta, "population_features": list(population.features)}

    def add_model(name: str, model: Any) -> dict[str, Any]:
        kind, content = serialize_model(model)
        file = f"{name}.{SUFFIXES[kind]}"
        files[file] = content
        return {"file": file, "format": kind}

    models_meta = {
        policy: [
            {**add_model(f"model-{policy}-{number}", model), "weight": weight}
            for number, (weight, model) in enumerate(zip(ensemble.weights, ensemble.models, strict=True), start=1)
        ]
        for policy, ensemble in models.items()
    }
    offsets = {policy: ensemble.offset for policy, ensemble in models.items()}
    spreads_meta = {policy: add_model(f"spread-{policy}", model) for policy, model in spreads.items()}
    meta = {**meta, "format": STAR_FORMAT, "models": models_meta, "offsets": offsets, "spreads": spreads_meta}
    return _write_folder(parent, meta, files, lambda folder: star_bundle.Bundle.load(folder).check_prototype())


def write_growth_bundle(parent: Path, meta: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write a growth bundle as :func:`write_bundle` does; ``files`` are the models that ``meta`` mentions."""
    meta = {**meta, "format": growth_bundle.FORMAT, "kind": growth_bundle.KIND}
    return _write_folder(parent, meta, files, growth_bundle.GrowthBundle.load)


def describe_origin(packages: Iterable[str]) -> dict[str, Any]:
    """Return the entries of a description that state with which versions a bundle was created; equal runs give equal bundles."""
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "version": stargaze.__version__,
        "versions": {**versions, "python": platform.python_version()},
    }


def record_newest(pointer: Path, folder: Path) -> None:
    """Write the digest of the newest bundle to a file of the store."""
    with atomic_write(pointer) as temporary:
        temporary.write_text(folder.name + "\n", encoding="utf-8")


def _write_folder(
    parent: Path, meta: Mapping[str, Any], files: Mapping[str, bytes], check: Callable[[Path], object]
) -> Path:
    text = _render(meta)
    with scratch_folder(parent) as folder:
        for name, content in {**files, DESCRIPTION: text.encode()}.items():
            (folder / name).write_bytes(content)
        final = parent / write_manifest(folder)
        check(folder)
        if not final.exists():
            folder.rename(final)
    return final


def _render(meta: Mapping[str, Any]) -> str:
    """Render a description with sorted keys, but the most important fields first."""
    ordered = json.loads(json.dumps(meta, sort_keys=True, allow_nan=False))
    for policy, shares in ordered.get("importance", {}).items():
        ordered["importance"][policy] = dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    return json.dumps(ordered, indent=1) + "\n"

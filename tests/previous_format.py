"""Artifacts as stargaze wrote them before the format of bundles became 3, reduced to the keys that are checked first."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from stargaze.bundle.manifest import write_manifest
from stargaze.store import Store

META: dict[str, Any] = {
    "format": 2,
    "asked": 2,
    "blend": {"all": [{"family": "ridge", "parameters": {"alpha": 10.0}, "seed": 0, "weight": 1.0}]},
    "coverage": 0.9,
    "data": {"feature_set": "9cfea43c25a11108"},
    "estimate": "all",
    "explain": "all",
    "features": {"all": ["forks", "subscribers"]},
    "intervals": {"counts": [0.0], "heights": [0.0], "coverage": 0.9, "radius": [[1.0]]},
    "models": {"all": [{"file": "model-all-1.txt", "format": "lightgbm", "weight": 1.0}]},
    "prototype": {"record": {"full_name": "a/b"}, "predicted": {"all": [1.0]}},
    "split": {"folds": 5, "leak": 0.97, "seed": 0, "split_by": "owner", "test": 0.15, "validation": 0.15},
    "spreads": {"all": {"file": "spread-all.txt", "format": "lightgbm"}},
    "star_quantiles": [0.0, 3.0, 1000.0],
    "steps": [{"policy": "all", "needs": ["forks"], "typical": {}, "intervals": {}}],
    "vocabularies": {},
}


def write_previous_bundle(store: Store, meta: dict[str, Any]) -> None:
    """Write a bundle with this description and make it the newest; its models are never parsed."""
    folder = store.bundles / "previous"
    folder.mkdir(parents=True)
    for name in ("known.parquet", "model-all-1.txt", "spread-all.txt"):
        (folder / name).write_bytes(b"tree")
    (folder / "bundle.json").write_text(json.dumps(meta))
    digest = write_manifest(folder)
    folder.rename(store.bundles / digest)
    store.latest.write_text(digest + "\n")


def write_previous_trials(store: Store) -> None:
    """Write two trials; their columns did not change."""
    row = {"family": "ridge", "parameters": '{"alpha": 10.0}', "rmsle": 0.65, "fold_0": 0.66, "fold_1": 0.64}
    row |= {"seconds": 0.9, "at": 18.0, "stopped": "done"}
    pd.DataFrame([row, row]).to_parquet(store.trials)

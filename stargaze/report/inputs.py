"""What the report is made from: the artefacts of a store, read once, and refused if they do not belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import ExternalError, StargazeError
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset_and_features
from stargaze.store import Store
from stargaze.system.files import read_json
from stargaze.tuning.screen import read_leaderboard


@dataclass(frozen=True)
class Evidence:
    """Repositories with their sides, the feature set, the leaderboard, the trials, the reasons of the selection, the bundle."""

    table: Dataset
    feature_set: FeatureSet
    board: pd.DataFrame
    trials: pd.DataFrame
    selection: pd.DataFrame
    bundle: Bundle
    source: str = ""

    @property
    def test(self) -> pd.DataFrame:
        """The repositories that are looked at in the end."""
        return self.table.repositories.iloc[self.table.test]


def read(store: Store) -> Evidence:
    """Read the newest bundle and what it was made from.

    Raises
    ------
    MissingInputError
        If a stage before is not done yet.
    ExternalError
        If a file is broken, a bundle was changed, or one artefact is older than another.
    """
    table, feature_set = read_dataset_and_features(store)
    board = read_leaderboard(store, feature_set)
    trials = _read(store.require(store.trials), pd.read_parquet, "tune")
    selection = _read(store.require(store.selection), pd.read_csv, "select-features")
    bundle = Bundle.load(store.bundles / store.require(store.latest).read_text(encoding="utf-8").strip())
    if bundle.meta["data"].get("feature_set") != feature_set.digest:
        raise ExternalError(
            f"bundle {bundle.digest[:12]} was made from another feature set than {store.features}", hint="stargaze tune"
        )
    return Evidence(table, feature_set, board, trials, selection, bundle, _source(store))


def _read(path: Path, reader: Callable[[Path], pd.DataFrame], maker: str) -> pd.DataFrame:
    try:
        return reader(path)
    except (OSError, ValueError) as error:
        raise ExternalError(f"{path}: cannot be read: {error}", hint=f"stargaze {maker} creates it again") from error


def _source(store: Store) -> str:
    """Notify where the repositories came from, if a run has noted it and none has fetched since."""
    record = store.settings / "fetch.json"
    if not record.exists() or store.repositories.stat().st_mtime > record.stat().st_mtime:
        return "not recorded"
    try:
        noted = read_json(record, "run")
        files = [Path(str(name)).name for name in noted.get("files", [])]  # a folder's name is nobody else's concern
    except (StargazeError, AttributeError, TypeError):
        return "not recorded"
    if noted.get("github"):
        return "GitHub, asked by stargaze fetch"
    return ", ".join(files) or "the sample that is shipped with stargaze"

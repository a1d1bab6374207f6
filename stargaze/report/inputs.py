"""The artifacts of a store that the report needs, read once and checked to belong together."""

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
from stargaze.tuning.training.held_out import read_held_out


@dataclass(frozen=True)
class ReportInputs:
    """Dataset, feature set, leaderboard, trials, feature selection and bundle, and where the repositories came from."""

    dataset: Dataset
    feature_set: FeatureSet
    leaderboard: pd.DataFrame
    trials: pd.DataFrame
    selection: pd.DataFrame
    bundle: Bundle
    held_out: pd.DataFrame
    """The rows of :func:`read_held_out`."""
    source: str = ""

    @property
    def test(self) -> pd.DataFrame:
        """The repositories of the test set."""
        return self.dataset.repositories.iloc[self.dataset.test]


def read_report_inputs(store: Store) -> ReportInputs:
    """Read the newest bundle and the artifacts that it was created from.

    Raise MissingInputError if an earlier stage has not run yet; ExternalError if a file is broken, a bundle was
    changed, or one artifact is older than another.
    """
    dataset, feature_set = read_dataset_and_features(store)
    leaderboard = read_leaderboard(store, feature_set)
    trials = _read_table(store.require(store.trials), pd.read_parquet, {"family", "parameters"}, "tune")
    columns = {"feature", "missing", *(f"importance_{policy}" for policy in feature_set.policies)}
    selection = _read_table(store.require(store.selection), pd.read_csv, columns, "select-features")
    bundle = Bundle.load(store.bundles / store.require(store.latest).read_text(encoding="utf-8").strip())
    if bundle.meta["data"].get("feature_set") != feature_set.digest:
        raise ExternalError(
            f"bundle {bundle.digest[:12]} was created from another feature set than {store.features}",
            hint="stargaze tune",
        )
    held_out = read_held_out(store.require(store.held_out), dataset, bundle.digest)
    source = _describe_source(store, dataset.fingerprint)
    return ReportInputs(dataset, feature_set, leaderboard, trials, selection, bundle, held_out, source)


def _read_table(path: Path, reader: Callable[[Path], pd.DataFrame], columns: set[str], stage: str) -> pd.DataFrame:
    hint = f"stargaze {stage} creates it again"
    try:
        table = reader(path)
    except (OSError, ValueError) as error:
        raise ExternalError(f"{path}: cannot be read: {error}", hint=hint) from error
    if missing := ", ".join(sorted(columns - set(table))):
        raise ExternalError(f"{path}: was written by another version: it lacks {missing}", hint=hint)
    return table


def _describe_source(store: Store, fingerprint: str) -> str:
    """Return where the repositories came from, if that is recorded of these repositories."""
    try:
        record = read_json(store.settings / "fetch.json", "fetch")
        if record["artifacts"][store.repositories.name] != fingerprint:
            return "not recorded"
        files = [str(name) for name, _ in record["keys"].get("fetch.files", [])]
        sample = record["keys"].get("fetch.sample", "")
        if record["keys"].get("github"):
            return "GitHub, by stargaze fetch"
    except (StargazeError, LookupError, AttributeError, TypeError, ValueError):
        return "not recorded"
    return ", ".join(files) or " ".join(filter(None, ("the sample", sample, "that is shipped with stargaze")))

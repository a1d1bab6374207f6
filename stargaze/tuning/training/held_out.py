"""The held-out predictions of a tuning: each repository by models that were not fitted on it, with the digest of the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.bundle.repository_sets import SETS
from stargaze.errors import ExternalError
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.matrix import build_matrix, is_any_known, own_features
from stargaze.system.files import atomic_write

BUNDLE = b"stargaze.bundle"
"""The key in the metadata of the Parquet file."""
ESTIMATES = ("predicted", "low", "high")
LEFT_OUT_SET = "left out"
"""The set of repositories whose owners are in a test set by name."""
HINT = "stargaze tune creates it again"


def find_answering_policies(table: Dataset, feature_set: FeatureSet, policies: Sequence[str]) -> np.ndarray:
    """Return the policy that answers for each repository: the widest of which an own feature is known; shape (n,).

    ``policies`` are the answering ones, the narrowest first.
    """
    answering = np.full(len(table.target), policies[0], dtype="object")
    for policy in policies[1:]:
        names = feature_set.selected[policy]
        own = [names[place] for place in own_features(names, policies, policy, feature_set.catalog)]
        matrix = build_matrix(table.repositories, own, feature_set.vocabularies, catalog=feature_set.catalog)
        answering[is_any_known(matrix.to_numpy(), range(len(own))) if own else slice(None)] = policy
    return answering


def write_held_out(
    path: Path, table: Dataset, held_out: Mapping[str, np.ndarray], answering: np.ndarray, digest: str
) -> None:
    """Write ``held_out.parquet``: one row per repository with its set, its fold, and the estimates of each policy [stars].

    ``held_out`` has estimate and bounds by policy, shape (3, n) each; ``digest`` is that of the bundle.
    """
    columns = {
        "full_name": table.repositories["full_name"].astype("str").to_numpy(),
        "set": name_sets(table),
        "fold": table.folds.astype("int16"),
        "stars": table.repositories["stars"].to_numpy(dtype="float64"),
        "policy": answering,
    }
    for policy, values in held_out.items():
        columns |= {f"{name}_{policy}": values[i] for i, name in enumerate(ESTIMATES)}
    rows = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
    with atomic_write(path) as temporary:
        pq.write_table(rows.replace_schema_metadata({BUNDLE: digest.encode()}), temporary, compression="zstd")


def read_held_out(path: Path, table: Dataset, digest: str) -> pd.DataFrame:
    """Return the rows of :func:`write_held_out`, with the answering policy's ``predicted``, ``low`` and ``high`` [stars].

    Raise ExternalError if they cannot be read, or belong to other repositories or another bundle.
    """
    try:
        stored = pq.read_table(path)
        bundle = _find_digest(stored.schema)
        frame: pd.DataFrame = stored.to_pandas()
        policies = [name.removeprefix("predicted_") for name in map(str, frame) if name.startswith("predicted_")]
        numbers = [f"{name}_{policy}" for policy in policies for name in ESTIMATES]
        frame[numbers] = frame[numbers].astype("float64")
        is_valid = (
            frame["full_name"].tolist() == table.repositories["full_name"].tolist()
            and set(frame["policy"]) <= set(policies)
            and bool(np.isfinite(frame[numbers].to_numpy()).all())
            and (frame["set"] == name_sets(table)).all()
        )
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ExternalError(f"{path}: cannot be read: {reason}", hint=HINT) from error
    if bundle != digest or not is_valid:
        raise ExternalError(f"{path}: belongs to another bundle than {digest[:12]}", hint=HINT)
    place = np.array([policies.index(policy) for policy in frame["policy"]], dtype="int64")
    for name in ESTIMATES:
        values = frame[[f"{name}_{policy}" for policy in policies]].to_numpy()
        frame[name] = values[np.arange(len(frame)), place]
    return frame


def read_bundle_digest(path: Path) -> str:
    """Return the digest of the bundle that the predictions belong to; raise OSError or ValueError if they cannot be read."""
    return _find_digest(pq.read_schema(path))


def _find_digest(schema: pa.Schema) -> str:
    return str((schema.metadata or {}).get(BUNDLE, b"").decode(errors="replace"))


def name_sets(table: Dataset) -> np.ndarray:
    """Return the set of each repository: training, validation, test, or left out; shape (n,)."""
    names = np.full(len(table.target), LEFT_OUT_SET, dtype="object")
    for name in SETS:
        names[getattr(table, name)] = name
    return names

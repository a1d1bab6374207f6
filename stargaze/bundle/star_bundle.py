"""The bundle: a fitted predictor in files that run no code on load, checked before any of it is used.

It lies between the room that makes it (tuning) and the room that uses it (serve): both read its models and
intervals through the same few functions, so a figure on the page is the figure that was tested.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from stargaze.bundle.manifest import (
    BadBundleError,
    check_kind,
    check_named,
    read_verified,
    verify_files,
    write_manifest,
)
from stargaze.bundle.prediction_intervals import Intervals, with_predicted
from stargaze.bundle.serialization import MALFORMED as BROKEN
from stargaze.bundle.serialization import Blend, Model, from_bytes, to_bytes
from stargaze.config import FeaturesSection
from stargaze.features import schema
from stargaze.features.catalog import CATALOG
from stargaze.features.encoding.encoder import Encoder, needs_encoder
from stargaze.features.ingest.user_input import rows_by_name
from stargaze.features.matrix import build_matrix
from stargaze.features.split import assign_folds
from stargaze.system.files import scratch_folder

__all__ = ["BadBundleError", "Bundle", "Intervals", "verify_files", "write_bundle"]

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What Python, NumPy and pandas raise where a description is not made as it should be."""
FORMAT = 2
SUFFIXES = {"lightgbm": "txt", "skops": "skops", "xgboost": "json", "catboost": "json"}
DESCRIPTION, KNOWN, ENCODER = "bundle.json", "known.parquet", "encoder.npz"
TOLERANCE = 1e-4
"""How far the prototype's prediction may lie from the stored one [nat]: room for another processor's rounding."""
AT_ONCE = 2_000
"""Known repositories whose features are computed together: what is in between stays below 30 MB [rows]."""


@dataclass(frozen=True)
class Step:
    """One policy a repository can be judged under, and what must be known of it for that.

    ``needs`` are features that were always known in training and weigh much: a model takes a missing one for none at all.
    ``typical`` stands in for those that were always known and weigh little.
    """

    policy: str
    needs: tuple[str, ...]
    typical: Mapping[str, float]
    intervals: Intervals

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Step:
        """Read what :meth:`as_dict` wrote."""
        typical = {str(name): float(number) for name, number in value["typical"].items()}
        return cls(str(value["policy"]), tuple(value["needs"]), typical, Intervals.read(value["intervals"]))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Estimate:
    """Predictions of log1p(stars) [nat], their intervals [stars] and the policy of each row; shapes (n,)."""

    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    policy: np.ndarray


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; models are read from bytes that were hashed, never from the disk again."""

    digest: str
    meta: dict[str, Any]
    content: Mapping[str, bytes]

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Verify every file against the manifest, then read the description.

        Raises
        ------
        BadBundleError
            If a file was changed, or the description is not one that this version can use.
        """
        digest, content = read_verified(folder.resolve())
        try:
            meta = json.loads(content[DESCRIPTION])
            check_kind(meta, "stars", folder)
            bundle = cls(digest, meta, content)
            current = meta["format"] == FORMAT
            unknown = {name for names in meta["features"].values() for name in names} - set(CATALOG)
            if current:
                check_named(bundle.named, content, folder, "stargaze tune makes a bundle; nothing of this one was run")
            usable = current and bundle.is_complete()
        except MALFORMED as error:
            raise BadBundleError(
                f"{folder}: bundle.json is not well-formed: {error!r}", hint="stargaze tune"
            ) from error
        if not usable or unknown:
            raise BadBundleError(
                f"{folder}: was made by another version: {', '.join(sorted(map(str, unknown))) or 'format'}",
                hint="stargaze tune makes one for this version",
            )
        return bundle

    def is_complete(self) -> bool:
        """Tell whether everything is there that an answer is made of."""
        meta, intervals = self.meta, self.intervals
        return (
            {meta["estimate"], meta["explain"]} <= set(meta["models"]) <= set(meta["features"])
            and intervals.is_sound()
            and self.split.folds > 1
            and {step.policy for step in self.steps} <= set(meta["models"]) & set(meta["spreads"])
            and all(step.intervals.is_sound() for step in self.steps)
            and np.isfinite(np.asarray(meta["star_quantiles"], dtype="float64")).sum() > 1
            and all(_are_weights([item["weight"] for item in members]) for members in meta["models"].values())
        )

    @property
    def named(self) -> set[str]:
        """The names of all files that the description gives a meaning; any other could be anything."""
        parts = [item for members in self.meta["models"].values() for item in members]
        taught = {ENCODER} if any(map(needs_encoder, self.meta["features"].values())) else set()
        return {DESCRIPTION, KNOWN, *taught} | {str(item["file"]) for item in (*parts, *self.meta["spreads"].values())}

    @cached_property
    def intervals(self) -> Intervals:
        """The interval of the estimate."""
        return Intervals.read(self.meta["intervals"])

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The policy of the estimate and, where the bundle has them, the narrower ones it can fall back to."""
        found = tuple(Step.read(value) for value in self.meta.get("steps", ()))
        return found or (Step(self.meta["estimate"], (), {}, self.intervals),)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the known repositories."""
        return frozenset(self.known["full_name"])

    @cached_property
    def places(self) -> dict[str, int]:
        """In which row of the known repositories each is, by its name in lower case."""
        return rows_by_name(self.known)

    @cached_property
    def fitted_on(self) -> frozenset[str]:
        """The names of the known repositories that the models were fitted on."""
        names = self.known["full_name"]
        return frozenset(names[(assign_folds(names, self.split) >= 0) & self.known["stars"].notna()])

    @cached_property
    def split(self) -> FeaturesSection:
        """The rule by which repositories were parted when the model was fitted."""
        return FeaturesSection(**self.meta["split"])

    @cached_property
    def models(self) -> dict[str, Blend]:
        """One blend a policy."""
        return {
            policy: Blend(
                tuple(float(item["weight"]) for item in members), tuple(self._model(item) for item in members)
            )
            for policy, members in self.meta["models"].items()
        }

    @cached_property
    def encoder(self) -> Encoder:
        """What tells the columns that training rows taught."""
        try:
            return Encoder.from_bytes(self.content[ENCODER])
        except BROKEN as error:
            raise BadBundleError(f"{ENCODER} cannot be read: {error!r}", hint="stargaze tune") from error

    @cached_property
    def spreads(self) -> dict[str, Model]:
        """For each policy that is answered under, the model that tells how far off a prediction is [nat]."""
        return {policy: self._model(item) for policy, item in self.meta["spreads"].items()}

    def _model(self, item: Mapping[str, str]) -> Model:
        return from_bytes(item["format"], self.content[item["file"]])

    @cached_property
    def known(self) -> pd.DataFrame:
        """The repositories that travel with the bundle, every column of the schema."""
        try:
            return schema.conform(_table(self.content[KNOWN]))
        except (*MALFORMED, OSError) as error:
            raise BadBundleError(f"known.parquet cannot be read: {error}", hint="stargaze tune") from error
        finally:
            pa.default_memory_pool().release_unused()  # Arrow would keep 20 MB for a next time that does not come

    def inputs(self, repositories: pd.DataFrame, policy: str) -> pd.DataFrame:
        """Compute what the policy's model is given; what was always known in training is never missing here."""
        names = self.meta["features"][policy]
        learned = self.encoder.transform(repositories) if needs_encoder(names) else None
        inputs = build_matrix(repositories, names, self.meta["vocabularies"], learned)
        typical = next((step.typical for step in self.steps if step.policy == policy), {})
        return inputs.fillna(dict(typical)) if typical else inputs

    def estimate(self, repositories: pd.DataFrame, policy: str | None = None) -> np.ndarray:
        """Predict log1p(stars) [nat], at least 0, under one policy; shape (n,)."""
        chosen = policy or self.meta["estimate"]
        return self.predict(self.inputs(repositories, chosen).to_numpy(), chosen)

    def predict(self, inputs: np.ndarray, policy: str) -> np.ndarray:
        """Predict log1p(stars) [nat], at least 0, from what the policy's models are given; shape (n,)."""
        predicted: np.ndarray = np.maximum(self.models[policy].predict(inputs), 0.0)
        return predicted

    def spread(self, inputs: np.ndarray, predicted: np.ndarray, policy: str) -> np.ndarray:
        """Tell how far off each prediction is thought to be [nat]; shape (n,)."""
        return self.spreads[policy].predict(with_predicted(inputs, predicted))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every feature that a policy's models are given or that a step needs."""
        needs = [step.needs for step in self.steps]
        return tuple(dict.fromkeys(name for names in (*self.meta["features"].values(), *needs) for name in names))

    def features(self, repositories: pd.DataFrame) -> np.ndarray:
        """Compute :attr:`columns` once for all policies; shape (n, n_columns), float32, NaN where it is not known."""
        learned = self.encoder.transform(repositories) if needs_encoder(self.columns) else None
        return build_matrix(repositories, self.columns, self.meta["vocabularies"], learned).to_numpy()

    @cached_property
    def known_features(self) -> np.ndarray:
        """The features of the known repositories; shape (n_known, n_columns)."""
        begins = range(0, len(self.known), AT_ONCE)
        parts = [self.features(self.known.iloc[begin : begin + AT_ONCE]) for begin in begins]
        return np.concatenate(parts) if parts else self.features(self.known)

    def given(self, features: np.ndarray, policy: str) -> np.ndarray:
        """Take from computed features what the policy's models are given, as :meth:`inputs` does."""
        places, typical = self._taken[policy]
        inputs = features[:, places]
        return inputs if typical is None else np.where(np.isnan(inputs), typical, inputs)

    @cached_property
    def _taken(self) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """For each policy the places of its columns, and what stands in for a missing value."""
        steps = {step.policy: step.typical for step in self.steps}
        taken: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for policy, names in self.meta["features"].items():
            places = np.array([self.columns.index(name) for name in names], dtype="int64")
            typical = steps.get(policy)
            values = [typical.get(name, np.nan) for name in names] if typical else None
            taken[policy] = (places, None if values is None else np.array(values, dtype="float32"))
        return taken

    def answer(self, repositories: pd.DataFrame) -> Estimate:
        """Predict each repository under the widest policy whose needs are known of it."""
        return self.judge(self.features(repositories))

    def judge(self, features: np.ndarray) -> Estimate:
        """Do what :meth:`answer` does with features that are computed already; shape (n, n_columns)."""
        n_rows = len(features)
        predicted, low, high = np.zeros(n_rows), np.zeros(n_rows), np.zeros(n_rows)
        policy = np.full(n_rows, "", dtype="object")
        for step in self.steps:
            known = ~self._lacks(features, step).any(axis=1) | (step == self.steps[-1])
            rows = np.flatnonzero(known & (policy == ""))
            if len(rows):
                predicted[rows], low[rows], high[rows] = self.under(features[rows], step)
                policy[rows] = step.policy
        return Estimate(predicted, low, high, policy)

    def under(self, features: np.ndarray, step: Step) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict log1p(stars) [nat] and the interval [stars] under the policy of one step; shapes (n,)."""
        inputs = self.given(features, step.policy)
        predicted = self.predict(inputs, step.policy)
        return (predicted, *step.intervals.around(predicted, self.spread(inputs, predicted, step.policy)))

    def absent(self, features: np.ndarray, step: Step) -> list[list[str]]:
        """Name for each row what a step needs and the repository does not tell."""
        absent = self._lacks(features, step)
        return [[name for name, gone in zip(step.needs, row, strict=True) if gone] for row in absent.tolist()]

    def _lacks(self, features: np.ndarray, step: Step) -> np.ndarray:
        lacks: np.ndarray = np.isnan(features[:, [self.columns.index(name) for name in step.needs]])
        return lacks

    def check_prototype(self) -> None:
        """Ask every model of every policy about the stored prototype row and compare.

        Raises
        ------
        BadBundleError
            If an answer is not the one that was stored when the bundle was made.
        """
        unchanged = "stargaze tune makes a new bundle; nothing was changed in production"
        try:
            prototype = self.meta["prototype"]
            found = self.asked(schema.conform(pd.DataFrame([prototype["record"]])))
            expected = {policy: [float(value) for value in prototype["predicted"][policy]] for policy in found}
        except MALFORMED as error:
            raise BadBundleError(f"the prototype row cannot be predicted: {error!r}", hint=unchanged) from error
        for policy, values in found.items():
            told = list(zip(values, expected[policy], strict=False))
            wrong = next((pair for pair in told if not abs(pair[0] - pair[1]) <= TOLERANCE), None)
            if wrong or len(values) != len(expected[policy]):
                value, other = wrong or (len(values), len(expected[policy]))
                raise BadBundleError(
                    f"the model of policy {policy} predicts {value:.6f} for the prototype row, not {other:.6f}",
                    hint=unchanged,
                )

    def asked(self, record: pd.DataFrame) -> dict[str, list[float]]:
        """Return for each policy what each of its models says of one repository [nat], and last the spread where it has one."""
        said = {}
        for policy, blend in self.models.items():
            inputs = self.inputs(record, policy).to_numpy()
            said[policy] = [float(model.predict(inputs)[0]) for model in blend.models]
            if policy in self.spreads:
                said[policy].append(float(self.spread(inputs, self.predict(inputs, policy), policy)[0]))
        return said


def _table(content: bytes) -> pd.DataFrame:
    """Read a table without what pandas would load for tables in the cloud (15 MB)."""
    frame: pd.DataFrame = ParquetFile(io.BytesIO(content)).read(use_threads=False).to_pandas(use_threads=False)
    return frame


def _are_weights(weights: list[Any]) -> bool:
    """Tell whether these are shares of a whole; JSON may hold true, NaN and 1e999 as well."""
    plain = all(type(weight) in (int, float) and 0.0 < weight <= 1.0 for weight in weights)
    return plain and math.isclose(sum(weights), 1.0, abs_tol=1e-6)


def write_bundle(
    parent: Path,
    meta: dict[str, Any],
    models: Mapping[str, Any],
    spreads: Mapping[str, Any],
    known: pd.DataFrame,
    encoder: Encoder | None = None,
) -> Path:
    """Write a bundle into ``parent/<digest>`` in one rename and return that folder; one that is there already stays.

    ``models`` has a blend a policy, ``spreads`` a model of the spread for each policy that is answered under. The
    bundle is read back before it gets its name, and must say of the prototype what its makers said.
    """
    with scratch_folder(parent) as folder:
        described: dict[str, Any] = {
            "models": {
                policy: [
                    {**_put(folder, f"model-{policy}-{place}", model), "weight": weight}
                    for place, (weight, model) in enumerate(zip(blend.weights, blend.models, strict=True), start=1)
                ]
                for policy, blend in models.items()
            },
            "spreads": {policy: _put(folder, f"spread-{policy}", model) for policy, model in spreads.items()},
        }
        text = json.dumps({**meta, "format": FORMAT, **described}, indent=1, sort_keys=True, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        if encoder is not None:
            (folder / ENCODER).write_bytes(encoder.to_bytes())
        known.to_parquet(folder / KNOWN, compression="zstd", index=False)
        final = parent / write_manifest(folder)
        Bundle.load(folder).check_prototype()
        if not final.exists():
            folder.rename(final)
    return final


def _put(folder: Path, name: str, model: Any) -> dict[str, str]:
    """Write one model and say where it lies."""
    kind, data = to_bytes(model)
    file = f"{name}.{SUFFIXES[kind]}"
    (folder / file).write_bytes(data)
    return {"file": file, "format": kind}

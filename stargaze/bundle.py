"""The bundle: a fitted predictor in files that run no code on load, checked before any of it is used.

It lies between the room that makes it (tuning) and the room that uses it (serve): both read its models and
intervals through the same few functions, so a figure on the page is the figure that was tested.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.artifacts import scratch_folder
from stargaze.config import FeaturesSection
from stargaze.features import schema
from stargaze.features.catalogue import CATALOGUE
from stargaze.features.encode import Encoder, needed
from stargaze.features.extract import extract
from stargaze.features.matrix import matrix
from stargaze.formats import MALFORMED as BROKEN
from stargaze.formats import Model, from_bytes, to_bytes
from stargaze.manifest import BadBundleError, read_verified, verify_files, write_manifest

__all__ = ["BadBundleError", "Bundle", "Intervals", "verify_files", "write_bundle"]

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What Python, NumPy and pandas raise where a description is not made as it should be."""
ENCODER = "encoder.npz"
TOLERANCE = 1e-4
"""How far the prototype's prediction may lie from the stored one [nat]: room for another processor's rounding."""


@dataclass(frozen=True)
class Intervals:
    """Conformal offsets around a prediction, by how high the prediction is.

    ``edges`` (n_bins - 1,) cut predictions of log1p(stars) [nat]; ``lower`` and ``upper`` (n_bins,) are added to them.
    A lower offset of None reaches down to no star.
    """

    coverage: float
    edges: tuple[float, ...]
    lower: tuple[float | None, ...]
    upper: tuple[float, ...]

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Intervals:
        """Read what ``dataclasses.asdict`` wrote."""
        return cls(value["coverage"], tuple(value["edges"]), tuple(value["lower"]), tuple(value["upper"]))

    def around(self, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest whole count of stars inside each interval; shapes (n,)."""
        place = np.searchsorted(np.asarray(self.edges), predicted, side="right")
        lower = np.array([-np.inf if value is None else value for value in self.lower])[place]
        upper = np.asarray(self.upper)[place]
        low = np.ceil(np.expm1(np.maximum(predicted + lower, 0.0)) - 1e-9) + 0.0  # no -0
        high = np.floor(np.expm1(np.maximum(predicted + upper, 0.0)) + 1e-9)
        nearest = np.round(np.expm1(predicted))
        empty = low > high  # no whole number lies between: take the nearest one
        return np.where(empty, nearest, low), np.where(empty, nearest, high)


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
            meta = json.loads(content["bundle.json"])
            bundle = cls(digest, meta, content)
            unknown = {name for names in meta["features"].values() for name in names} - set(CATALOGUE)
            usable = meta["format"] == 1 and bundle.is_complete()
        except MALFORMED as error:
            raise BadBundleError(
                f"{folder}: bundle.json is not well-formed: {error!r}", hint="stargaze tune"
            ) from error
        if not usable or unknown:
            raise BadBundleError(
                f"{folder}: was made by another version: {', '.join(sorted(unknown)) or 'format'}",
                hint="stargaze tune makes one for this version",
            )
        return bundle

    def is_complete(self) -> bool:
        """Tell whether everything is there that an answer is made of."""
        meta, intervals = self.meta, self.intervals
        return (
            {meta["estimate"], meta["explain"]} <= set(meta["models"]) <= set(meta["features"])
            and intervals.coverage > 0
            and len(intervals.lower) == len(intervals.upper) == len(intervals.edges) + 1
            and self.split.folds > 1
            and {step.policy for step in self.steps} <= set(meta["models"])
            and np.isfinite(np.asarray(meta["star_quantiles"], dtype="float64")).sum() > 1
            and all(item["file"] in self.content for item in meta["models"].values())
            and (ENCODER in self.content or not any(map(needed, meta["features"].values())))
        )

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
    def split(self) -> FeaturesSection:
        """The rule by which repositories were parted when the model was fitted."""
        return FeaturesSection(**self.meta["split"])

    @cached_property
    def models(self) -> dict[str, Model]:
        """One model a policy."""
        return {
            policy: from_bytes(item["format"], self.content[item["file"]])
            for policy, item in self.meta["models"].items()
        }

    @cached_property
    def encoder(self) -> Encoder:
        """What tells the columns that training rows taught."""
        try:
            return Encoder.from_bytes(self.content[ENCODER])
        except BROKEN as error:
            raise BadBundleError(f"{ENCODER} cannot be read: {error!r}", hint="stargaze tune") from error

    @cached_property
    def known(self) -> pd.DataFrame:
        """The repositories that travel with the bundle, every column of the schema."""
        try:
            return schema.conform(pd.read_parquet(io.BytesIO(self.content["known.parquet"])))
        except (*MALFORMED, OSError) as error:
            raise BadBundleError(f"known.parquet cannot be read: {error}", hint="stargaze tune") from error

    def inputs(self, repositories: pd.DataFrame, policy: str) -> pd.DataFrame:
        """Compute what the policy's model is given; what was always known in training is never missing here."""
        names = self.meta["features"][policy]
        learned = self.encoder.transform(repositories) if needed(names) else None
        inputs = matrix(repositories, names, self.meta["vocabularies"], learned)
        typical = next((step.typical for step in self.steps if step.policy == policy), {})
        return inputs.fillna(dict(typical)) if typical else inputs

    def estimate(self, repositories: pd.DataFrame, policy: str | None = None) -> np.ndarray:
        """Predict log1p(stars) [nat], at least 0, under one policy; shape (n,)."""
        chosen = policy or self.meta["estimate"]
        inputs = self.inputs(repositories, chosen)
        predicted: np.ndarray = np.maximum(self.models[chosen].predict(inputs.to_numpy()), 0.0)
        return predicted

    def answer(self, repositories: pd.DataFrame) -> Estimate:
        """Predict each repository under the widest policy whose needs are known of it."""
        n_rows = len(repositories)
        predicted, low, high = np.zeros(n_rows), np.zeros(n_rows), np.zeros(n_rows)
        policy = np.full(n_rows, "", dtype="object")
        for step in self.steps:
            known = self.missing(repositories, step).eq("").to_numpy() | (step == self.steps[-1])
            rows = np.flatnonzero(known & (policy == ""))
            if len(rows):
                predicted[rows] = self.estimate(repositories.iloc[rows], step.policy)
                low[rows], high[rows] = step.intervals.around(predicted[rows])
                policy[rows] = step.policy
        return Estimate(predicted, low, high, policy)

    def missing(self, repositories: pd.DataFrame, step: Step) -> pd.Series:
        """Name what a step needs and a repository does not tell, with commas between; empty if it tells all."""
        absent = extract(repositories, list(step.needs)).isna()
        return pd.Series([", ".join(absent.columns[row]) for row in absent.to_numpy()], index=repositories.index)

    def check_prototype(self) -> None:
        """Predict the stored prototype row with every model and compare.

        Raises
        ------
        BadBundleError
            If a prediction is not the one that was stored when the bundle was made.
        """
        unchanged = "stargaze tune makes a new bundle; nothing was changed in production"
        try:
            prototype = self.meta["prototype"]
            record = schema.conform(pd.DataFrame([prototype["record"]]))
            found = {policy: float(self.estimate(record, policy)[0]) for policy in self.meta["models"]}
            expected = {policy: float(prototype["predicted"][policy]) for policy in found}
        except MALFORMED as error:
            raise BadBundleError(f"the prototype row cannot be predicted: {error!r}", hint=unchanged) from error
        for policy, value in found.items():
            if not abs(value - expected[policy]) <= TOLERANCE:
                raise BadBundleError(
                    f"the model of policy {policy} predicts {value:.6f} for the prototype row, not {expected[policy]:.6f}",
                    hint=unchanged,
                )


def write_bundle(
    parent: Path, meta: dict[str, Any], models: Mapping[str, Any], known: pd.DataFrame, encoder: Encoder | None = None
) -> Path:
    """Write a bundle into ``parent/<digest>`` in one rename and return that folder; one that is there already stays."""
    with scratch_folder(parent) as folder:
        described = {}
        for policy, model in models.items():
            kind, data = to_bytes(model)
            name = f"model-{policy}.{'txt' if kind == 'lightgbm' else 'skops'}"
            (folder / name).write_bytes(data)
            described[policy] = {"file": name, "format": kind}
        text = json.dumps({**meta, "format": 1, "models": described}, indent=1, sort_keys=True, allow_nan=False)
        (folder / "bundle.json").write_text(text + "\n", encoding="utf-8")
        if encoder is not None:
            (folder / ENCODER).write_bytes(encoder.to_bytes())
        known.to_parquet(folder / "known.parquet", compression="zstd", index=False)
        final = parent / write_manifest(folder)
        Bundle.load(folder).check_prototype()
        if not final.exists():
            folder.rename(final)
    return final

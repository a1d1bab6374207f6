"""The star bundle: models that predict stars, in files that run no code on load and are verified before use.

``tune`` writes it and serving reads it. Both use the same functions, so the served predictions are the tested ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.description import check_star_description, own_catalog
from stargaze.bundle.formats import skops_model
from stargaze.bundle.known_repositories import read_known
from stargaze.bundle.manifest import (
    DESCRIPTION,
    MALFORMED,
    STAR_FORMAT,
    STAR_HINT,
    BadBundleError,
    check_file_names,
    convert_malformed,
    read_description,
)
from stargaze.bundle.population_density import PopulationDensity
from stargaze.bundle.prediction_intervals import (
    MAX_LOG_STARS,
    AnswerPolicy,
    Intervals,
    PartialIntervals,
    append_prediction,
)
from stargaze.bundle.repository_sets import RepositorySets
from stargaze.bundle.serialization import Ensemble, Model, are_weights, deserialize_model
from stargaze.config import FeaturesSection
from stargaze.features.encoding.encoder import Encoder, needs_encoder
from stargaze.features.matrix import Catalog, build_matrix, find_missing_fields, is_any_known, own_features
from stargaze.features.own_columns import conform
from stargaze.features.split import parse_split

KNOWN, ENCODER, SETS, POPULATION = "known.parquet", "encoder.npz", "sets.bin", "population.bin"
TOLERANCE = 1e-4
"""Largest difference between the predicted and the stored prototype prediction [nat]: processors round differently."""
IMPLIED = frozenset({"full_name", "fetched_at"})
"""Fields that every record has."""
BATCH_ROWS = 2_000
"""Rows per batch when the features of the known repositories are computed: intermediate arrays stay below 30 MB."""


@dataclass(frozen=True)
class Estimate:
    """Predicted log1p(stars) [nat], prediction intervals [stars] and the policy used for each row; shapes (n,)."""

    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    policy: np.ndarray


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; models are parsed from the bytes that were hashed, never read from disk again."""

    digest: str
    meta: dict[str, Any]
    content: Mapping[str, bytes]

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Verify every file against the manifest, then parse the description.

        Raise BadBundleError if a file was changed, or the bundle has another kind, format or features.
        """
        digest, meta, content = read_description(folder, "stars", STAR_FORMAT, STAR_HINT)
        bundle = cls(digest, meta, content)
        with convert_malformed(folder, STAR_HINT):
            check_star_description(meta)
            unknown = {name for names in meta["features"].values() for name in names} - set(bundle.catalog)
            check_file_names(bundle.file_names, content, folder, STAR_HINT)
            usable = bundle.is_complete()
            _ = bundle.sets, bundle.population  # raises if one is malformed
        if not usable or unknown:
            parts = ", ".join(sorted(map(str, unknown))) or "format"
            raise BadBundleError(f"{folder}: another version wrote this bundle: {parts}", hint=STAR_HINT)
        return bundle

    def is_complete(self) -> bool:
        """Return whether the description has every part that a prediction needs."""
        meta, intervals = self.meta, self.intervals
        return (
            {meta["estimate_policy"]} <= set(meta["models"]) <= set(meta["features"])
            and intervals.is_valid()
            and self.split.folds > 1
            and {item.policy for item in self.answer_policies} <= set(meta["models"]) & set(meta["spreads"])
            and all(item.intervals.is_valid() for item in self.answer_policies)
            and np.isfinite(np.asarray(meta["star_quantiles"], dtype="float64")).sum() > 1
            and all(are_weights([item["weight"] for item in members]) for members in meta["models"].values())
        )

    @property
    def file_names(self) -> set[str]:
        """The names of all files that the description mentions."""
        parts = [item for members in self.meta["models"].values() for item in members]
        encoder = {ENCODER} if any(map(needs_encoder, self.meta["features"].values())) else set()
        population = {POPULATION} if "population_features" in self.meta else set()
        return {DESCRIPTION, KNOWN, SETS, *encoder, *population} | {
            str(item["file"]) for item in (*parts, *self.meta["spreads"].values())
        }

    @cached_property
    def catalog(self) -> Catalog:
        """The definitions of the features, among them the own columns of the known repositories."""
        return own_catalog(self.meta)

    @cached_property
    def intervals(self) -> Intervals:
        """The prediction intervals of the widest policy."""
        return Intervals.from_dict(self.meta["intervals"])

    @cached_property
    def answer_policies(self) -> tuple[AnswerPolicy, ...]:
        """The widest policy and, where the bundle has them, the narrower policies to fall back to."""
        policies = tuple(AnswerPolicy.from_dict(value) for value in self.meta.get("answer_policies", ()))
        return policies or (AnswerPolicy(self.meta["estimate_policy"], PartialIntervals.of(self.intervals)),)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the known repositories."""
        return frozenset(self.known["full_name"])

    @cached_property
    def row_by_name(self) -> dict[str, int]:
        """The row of each known repository, by its name in lower case."""
        return {name: row for row, name in enumerate(self.known["full_name"].str.lower().tolist())}

    @cached_property
    def sets(self) -> RepositorySets:
        """Which repositories the models were fitted, calibrated and tested on."""
        return RepositorySets.from_bytes(self.content[SETS])

    @cached_property
    def population(self) -> PopulationDensity | None:
        """The training repositories in the most important numbers; None if the bundle has none for comparison."""
        if "population_features" not in self.meta:
            return None
        return PopulationDensity.from_bytes(self.content[POPULATION], self.meta["population_features"])

    @cached_property
    def known_sets(self) -> np.ndarray:
        """The set of each known repository: training, validation or test; empty if it is in none; shape (n_known,)."""
        return np.where(self.known["stars"].notna(), self.sets.find(self.known["full_name"]), "")

    @cached_property
    def training_stars(self) -> np.ndarray:
        """The stars of the known repositories that the models were fitted on, in ascending order; shape (n,)."""
        return np.sort(self.known["stars"].to_numpy(dtype="float64")[self.known_sets == "training"])

    @cached_property
    def split(self) -> FeaturesSection:
        """The split of the repositories at the time of fitting."""
        return parse_split(self.meta["split"], "split")

    @cached_property
    def models(self) -> dict[str, Ensemble]:
        """One ensemble for each policy."""
        return {
            policy: Ensemble(
                tuple(float(item["weight"]) for item in members),
                tuple(self._model(item) for item in members),
                float(self.meta["offsets"][policy]),
            )
            for policy, members in self.meta["models"].items()
        }

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that was fitted on the training rows."""
        try:
            return Encoder.from_bytes(self.content[ENCODER])
        except skops_model.LOAD_ERRORS as error:
            raise BadBundleError(f"{ENCODER} cannot be read: {error!r}", hint="stargaze tune") from error

    @cached_property
    def spreads(self) -> dict[str, Model]:
        """For each answer policy, the model of the prediction error [nat]."""
        return {policy: self._model(item) for policy, item in self.meta["spreads"].items()}

    def _model(self, item: Mapping[str, str]) -> Model:
        return deserialize_model(item["format"], self.content[item["file"]])

    @cached_property
    def known(self) -> pd.DataFrame:
        """The repositories that the bundle contains, with every column of the schema and their own columns."""
        return read_known(self.content[KNOWN], self.catalog.own_columns)

    def conform(self, repositories: pd.DataFrame) -> pd.DataFrame:
        """Return any repositories with the columns of :attr:`known`."""
        return conform(repositories, self.catalog.own_columns)

    def inputs(self, repositories: pd.DataFrame, policy: str) -> pd.DataFrame:
        """Compute the inputs of a policy's models, NaN where a value is missing."""
        names = self.meta["features"][policy]
        learned = self.encoder.transform(repositories) if needs_encoder(names) else None
        return build_matrix(repositories, names, self.meta["vocabularies"], learned, self.catalog)

    def predict_repositories(self, repositories: pd.DataFrame, policy: str | None = None) -> np.ndarray:
        """Predict log1p(stars) [nat], at least 0, under one policy (default: the widest); shape (n,)."""
        policy = policy or str(self.meta["estimate_policy"])
        return self.predict(self.inputs(repositories, policy).to_numpy(), policy)

    def predict(self, inputs: np.ndarray, policy: str) -> np.ndarray:
        """Predict log1p(stars) [nat], from 0 to MAX_LOG_STARS, from the inputs of a policy's models; shape (n,)."""
        predicted: np.ndarray = np.clip(self.models[policy].predict(inputs), 0.0, MAX_LOG_STARS)
        return predicted

    def spread(self, inputs: np.ndarray, predicted: np.ndarray, policy: str) -> np.ndarray:
        """Predict the error of each prediction [nat]; shape (n,)."""
        return self.spreads[policy].predict(append_prediction(inputs, predicted))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every feature that a model takes."""
        return tuple(dict.fromkeys(name for names in self.meta["features"].values() for name in names))

    def features(self, repositories: pd.DataFrame) -> np.ndarray:
        """Compute :attr:`columns` once for all policies; shape (n, n_columns), float32, NaN where a value is missing."""
        learned = self.encoder.transform(repositories) if needs_encoder(self.columns) else None
        return build_matrix(repositories, self.columns, self.meta["vocabularies"], learned, self.catalog).to_numpy()

    @cached_property
    def known_features(self) -> np.ndarray:
        """The features of the known repositories; shape (n_known, n_columns)."""
        starts = range(0, len(self.known), BATCH_ROWS)
        batches = [self.features(self.known.iloc[start : start + BATCH_ROWS]) for start in starts]
        return np.concatenate(batches) if batches else self.features(self.known)

    def select_inputs(self, features: np.ndarray, policy: str) -> np.ndarray:
        """Return the inputs of a policy's models from computed features; the values are those of :meth:`inputs`."""
        return features[:, self._input_columns[policy]]

    @cached_property
    def _input_columns(self) -> dict[str, np.ndarray]:
        """For each policy the positions of its columns."""
        return {
            policy: np.array([self.columns.index(name) for name in names], dtype="int64")
            for policy, names in self.meta["features"].items()
        }

    def estimate(self, repositories: pd.DataFrame) -> Estimate:
        """Predict each repository under the widest policy of which at least one own feature is known."""
        return self.estimate_from_features(self.features(repositories))

    def estimate_from_features(self, features: np.ndarray) -> Estimate:
        """Return the result of :meth:`estimate` for computed features; shape (n, n_columns)."""
        predicted, low, high = np.zeros((3, len(features)))
        policy = np.full(len(features), "", dtype="object")
        for item in self.answer_policies:
            is_last = item == self.answer_policies[-1]
            rows = np.flatnonzero((policy == "") & (is_last | is_any_known(features, self._own_columns[item.policy])))
            if len(rows):
                predicted[rows], low[rows], high[rows] = self.predict_with_interval(features[rows], item)
                policy[rows] = item.policy
        return Estimate(predicted, low, high, policy)

    def predict_with_interval(
        self, features: np.ndarray, answer_policy: AnswerPolicy
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict log1p(stars) [nat] and the prediction interval [stars] under one policy; shapes (n,)."""
        inputs, intervals = self.select_inputs(features, answer_policy.policy), answer_policy.intervals
        predicted = self.predict(inputs, answer_policy.policy)
        spread = self.spread(inputs, predicted, answer_policy.policy)
        missing = find_missing_fields(
            inputs, self.meta["features"][answer_policy.policy], intervals.fields, self.catalog
        )
        return (predicted, *intervals.bounds(missing, predicted, spread))

    @cached_property
    def _own_columns(self) -> dict[str, np.ndarray]:
        """For each answering policy the positions of the features that no narrower one has; none for the narrowest."""
        policies = [item.policy for item in reversed(self.answer_policies)]
        return {
            policy: self._input_columns[policy][
                own_features(self.meta["features"][policy], policies, policy, self.catalog)
            ]
            for policy in policies
        }

    def missing_fields(self, features: np.ndarray) -> list[list[str]]:
        """Return for each row the record fields that it lacks and that matter to the widest policy, most important first.

        Fields that complete repositories often lack too, such as those of a package, have no importance for its intervals.
        """
        widest = self.answer_policies[0]
        effects = {name: effect.importance for name, effect in widest.intervals.fields.items()}
        fields = [field for field, importance in effects.items() if importance > 0 and field not in IMPLIED]
        ranked = sorted(fields, key=lambda field: -effects[field])
        inputs = self.select_inputs(features, widest.policy)
        missing = find_missing_fields(inputs, self.meta["features"][widest.policy], ranked, self.catalog)
        return [[field for field, lacks in zip(ranked, row, strict=True) if lacks] for row in missing.tolist()]

    def check_prototype(self) -> None:
        """Raise BadBundleError if a model's prediction of the prototype row differs from the stored one."""
        hint = "stargaze tune writes a new bundle; production was not changed"
        try:
            prototype = self.meta["prototype"]
            outputs = self.model_outputs(self.conform(pd.DataFrame([prototype["record"]])))
            expected = {policy: [float(value) for value in prototype["predicted"][policy]] for policy in outputs}
        except MALFORMED as error:
            raise BadBundleError(f"the prototype row cannot be predicted: {error!r}", hint=hint) from error
        for policy, values in outputs.items():
            pairs = zip(values, expected[policy], strict=False)
            wrong = next((pair for pair in pairs if not abs(pair[0] - pair[1]) <= TOLERANCE), None)
            if wrong or len(values) != len(expected[policy]):
                value, other = wrong or (len(values), len(expected[policy]))
                raise BadBundleError(
                    f"the model of policy {policy} predicts {value:.6f} for the prototype row, not {other:.6f}",
                    hint=hint,
                )

    def model_outputs(self, record: pd.DataFrame) -> dict[str, list[float]]:
        """Return for each policy the prediction of each model for one repository [nat], and last the predicted error if any."""
        outputs = {}
        for policy, ensemble in self.models.items():
            inputs = self.inputs(record, policy).to_numpy()
            outputs[policy] = [float(model.predict(inputs)[0]) for model in ensemble.models]
            if policy in self.spreads:
                outputs[policy].append(float(self.spread(inputs, self.predict(inputs, policy), policy)[0]))
        return outputs

"""All waiting requests in one table, predicted together: a data frame costs much per call and little per row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.growth_bundle import GrowthBundle
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import POLICIES
from stargaze.features.ingest.contradictions import describe_unusual
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.lookup.live import BundledRepositories, LookupResult, RepositoryLookup, Source
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.serve.prediction.controls import ControlIndex
from stargaze.serve.prediction.explanation import Explanation, explain
from stargaze.serve.prediction.neighbors import LeafIndex
from stargaze.serve.prediction.out_of_range import TrainingRanges, describe_unlike
from stargaze.serve.prediction.predict import (
    Prediction,
    RecordTable,
    estimate_without_popularity,
    records_of,
    to_predictions,
)
from stargaze.serve.prediction.track_record import TrackRecord
from stargaze.serve.prediction.what_if import adds_information, list_changes


@dataclass(frozen=True)
class Row:
    """One repository of one request: its row in the batch, and that of its what-if if there is one."""

    index: int
    source: Source
    notes: tuple[str, ...] = ()
    what_if: int | None = None


@dataclass(frozen=True)
class PredictionBatch:
    """The table: first repositories that were looked up, then entered ones, then what-ifs, which are added to it."""

    bundle: Bundle
    known_records: RecordTable
    """The records of the bundle's repositories."""
    lookup_result: LookupResult
    entered: pd.DataFrame
    what_ifs: list[pd.DataFrame] = field(default_factory=list)
    originals: dict[int, int] = field(default_factory=dict)
    """For each row of a what-if the row that it was derived from."""

    def rows(self, names: Sequence[str], entered: Iterable[int]) -> list[Row]:
        """Return the rows of one request; two names of the same repository are one row."""
        rows: dict[int, Row] = {}
        for name in map(str.lower, names):
            index, notes = self.lookup_result.rows[name], tuple(self.lookup_result.notes.get(name, ()))
            if index in rows:
                notes = tuple(dict.fromkeys((*rows[index].notes, *notes)))
            rows[index] = Row(index, self.lookup_result.source[name], notes)
        n_looked_up = self.lookup_result.n_rows
        return [*rows.values(), *(Row(n_looked_up + number, "entered") for number in entered)]

    def frame_of(self, row: Row) -> pd.DataFrame:
        """Return one row with all fields."""
        number = row.index - self.lookup_result.n_rows
        return self.lookup_result.frame.iloc[[row.index]] if number < 0 else self.entered.iloc[[number]]

    def add_what_if(self, row: Row, changed: pd.DataFrame) -> int:
        """Add a changed copy of a row and return its row in the table."""
        index = self._n_rows
        self.what_ifs.append(changed)
        self.originals[index] = row.index
        return index

    @cached_property
    def records(self) -> Sequence[Mapping[str, Any]]:
        """The fields of each row that an answer repeats, converted before for the bundle's own."""
        known, others = self._known_rows, self._other_rows
        records = dict(zip(known, self.known_records.take(list(known.values())), strict=True))
        if others:
            records |= zip(others, records_of(self._table.iloc[others], self.bundle.catalog.own_columns), strict=True)
        return [records[row] for row in range(self._n_rows)]

    @cached_property
    def features(self) -> np.ndarray:
        """The features of each row, precomputed for the bundle's own; shape (n_rows, n_columns)."""
        known, others = self._known_rows, self._other_rows
        features = np.empty((self._n_rows, len(self.bundle.columns)), dtype="float32")
        if known:
            features[list(known)] = self.bundle.known_features[list(known.values())]
        if others:
            features[others] = self.bundle.features(self._table.iloc[others])
        return features

    @cached_property
    def _known_rows(self) -> Mapping[int, int]:
        """The row in the bundle of each row that is one of the bundle's own."""
        found = self.lookup_result
        bundled = {row: name for name, row in found.rows.items() if found.source[name] == "bundle"}
        return {row: self.bundle.row_by_name[bundled[row]] for row in sorted(bundled)}

    @property
    def _n_rows(self) -> int:
        return self.lookup_result.n_rows + len(self.entered) + len(self.what_ifs)

    @property
    def _other_rows(self) -> list[int]:
        return [row for row in range(self._n_rows) if row not in self._known_rows]

    @cached_property
    def _table(self) -> pd.DataFrame:
        frames = [frame for frame in (self.lookup_result.frame, self.entered, *self.what_ifs) if len(frame)]
        return pd.concat(frames, ignore_index=True) if len(frames) > 1 else (frames or [self.entered])[0]


@dataclass(frozen=True)
class BatchResult:
    """Results by the row of the batch."""

    predictions: Mapping[int, Prediction]
    similar: Mapping[int, list[dict[str, Any]]]
    out_of_range: Mapping[int, list[dict[str, str]]]
    unlike_training: Mapping[int, dict[str, Any] | None]
    what_if: Mapping[int, dict[str, Any]]


def predict_batch(
    context: PredictionContext, batch: PredictionBatch, rows: Sequence[int], explained: Collection[int]
) -> BatchResult:
    """Predict these rows and all what-ifs; explain the rows in ``explained``."""
    bundle = context.bundle
    features, records = batch.features[list(rows)], [batch.records[row] for row in rows]
    estimate = bundle.estimate_from_features(features)
    chosen = [i for i, row in enumerate(rows) if row in explained]
    explanations: list[Explanation | None] = [None] * len(rows)
    for i, explanation in zip(
        chosen,
        explain(
            bundle, features[chosen], [records[i] for i in chosen], estimate.policy[chosen], estimate.predicted[chosen]
        ),
        strict=True,
    ):
        explanations[i] = explanation
    predictions = to_predictions(bundle, features, records, estimate, explanations)
    popular = [i for i in chosen if estimate.policy[i] == POLICIES[-1]]
    others = estimate_without_popularity(bundle, features[popular], [records[i] for i in popular])
    for i, other in zip(popular, others, strict=True):
        predictions[i] = dataclasses.replace(predictions[i], without_popularity=other)

    def out_of_range(part: list[int], policy: str) -> list[Any]:
        return context.training_ranges.find_outside(features[part], policy, [records[i] for i in part])

    def similar(part: list[int], policy: str) -> list[Any]:
        return context.leaf_index.nearest(features[part], policy, [predictions[i].full_name for i in part])

    def by_row(values: Mapping[int, Any]) -> dict[int, Any]:
        return {rows[i]: value for i, value in values.items()}

    before = {row: (estimate.predicted[i], estimate.policy[i]) for i, row in enumerate(rows)}
    outside = by_row(_by_policy(range(len(rows)), estimate.policy, out_of_range))
    return BatchResult(
        dict(zip(rows, predictions, strict=True)),
        by_row(_by_policy(chosen, estimate.policy, similar)),
        outside,
        dict(zip(rows, describe_unlike(bundle, features), strict=True)),
        _predict_what_ifs(context, batch, before, outside),
    )


def _by_policy(
    rows: Iterable[int], policies: Mapping[int, str] | np.ndarray, compute: Callable[[list[int], str], list[Any]]
) -> dict[int, Any]:
    """Call the function once for the rows of each policy."""
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(policies[row], []).append(row)
    results: dict[int, Any] = {}
    for policy, group in groups.items():
        results |= zip(group, compute(group, policy), strict=True)
    return results


def _predict_what_ifs(
    context: PredictionContext,
    batch: PredictionBatch,
    before: Mapping[int, tuple[float, str]],
    outside: Mapping[int, list[dict[str, str]]],
) -> dict[int, dict[str, Any]]:
    """Predict each what-if under the policy of its original row, or under a wider one that its new values allow.

    ``outside`` has the values out of range of the original rows.
    """
    bundle = context.bundle
    steps = {step.policy: step for step in bundle.answer_policies}
    policies = {row: before[original][1] for row, original in batch.originals.items()}
    informed = [row for row, old in batch.originals.items() if adds_information(batch.records[old], batch.records[row])]
    if informed:
        reached = bundle.estimate_from_features(batch.features[informed]).policy.tolist()
        policies |= {
            row: max(policies[row], new, key=POLICIES.index) for row, new in zip(informed, reached, strict=True)
        }

    def estimates(rows: list[int], policy: str) -> list[Any]:
        return list(zip(*bundle.predict_with_interval(batch.features[rows], steps[policy]), strict=True))

    def out_of_range(rows: list[int], policy: str) -> list[Any]:
        records = [batch.records[row] for row in rows]
        return context.training_ranges.find_outside(batch.features[rows], policy, records)

    new_outside = _by_policy(policies, policies, out_of_range)
    unlike = dict(zip(policies, describe_unlike(bundle, batch.features[list(policies)]), strict=True))
    return {
        row: {
            "expected_stars": float(np.expm1(predicted)),
            "interval_low": float(low),
            "interval_high": float(high),
            "factor": float(np.exp(predicted - before[batch.originals[row]][0])),
            "changes": list_changes(batch.records[batch.originals[row]], batch.records[row]),
            "notes": [
                *set(describe_unusual(batch.records[row])) - set(describe_unusual(batch.records[batch.originals[row]]))
            ],
            "out_of_range": [item for item in new_outside[row] if item not in outside[batch.originals[row]]],
            "unlike_training": unlike[row],
        }
        for row, (predicted, low, high) in _by_policy(policies, policies, estimates).items()
    }


@dataclass(frozen=True)
class PredictionContext:
    """One for each loaded release; its indexes are computed at the first use."""

    bundle: Bundle
    lookup: RepositoryLookup
    star_histories: StarHistories | None = None
    track_record: TrackRecord | None = None
    growth: GrowthBundle | None = None
    """The growth bundle of the same release."""
    exclusions: Exclusions = NO_EXCLUSIONS

    @cached_property
    def known_records(self) -> RecordTable:
        """The records of the bundle's repositories."""
        return RecordTable(self.bundle.known, self.bundle.catalog.own_columns)

    @cached_property
    def no_rows(self) -> pd.DataFrame:
        """A table without repositories."""
        return self.bundle.known.head(0)

    @cached_property
    def leaf_index(self) -> LeafIndex:
        """The leaves that the known repositories reach."""
        return LeafIndex(self.bundle, self.exclusions)

    @cached_property
    def controls(self) -> ControlIndex:
        """The fields that a what-if may change."""
        return ControlIndex(self.bundle)

    @cached_property
    def training_ranges(self) -> TrainingRanges:
        """The ranges of the training data."""
        return TrainingRanges(self.bundle)

    def prepare(self) -> None:
        """Compute the indexes of the widest policy and load the histories now, so that the first request does not wait."""
        if self.star_histories:
            self.star_histories.prepare()
        widest = self.bundle.answer_policies[0].policy
        self.training_ranges.for_policy(widest)
        self.leaf_index.prepare(widest)
        self.known_records.take([])

    def offline(self) -> PredictionContext:
        """Return a context without GitHub, histories and track record that shares the indexes."""
        other = PredictionContext(
            self.bundle, BundledRepositories(self.bundle, self.exclusions), exclusions=self.exclusions
        )
        shared = ("leaf_index", "training_ranges", "controls", "known_records")
        other.__dict__.update({name: getattr(self, name) for name in shared})  # cached_property stores its value there
        return other

"""Everything a worker needs to answer: the bundle, lookups, the track record, and indexes computed from the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.repositories import BundledRepositories, RepositoryLookup
from stargaze.serve.prediction.neighbors import LeafIndex
from stargaze.serve.prediction.out_of_range import TrainingRanges
from stargaze.serve.prediction_request import Answer


class StarHistorySource(Protocol):
    """Star histories by repository."""

    def find(self, full_name: str, now: datetime) -> Mapping[str, Any]:
        """Return ``history`` and ``forecast``, each None if there is none."""


class TrackRecordSink(Protocol):
    """Stores predictions until the true count is seen."""

    def record(self, answers: Sequence[Answer], now: datetime) -> None:
        """Store the predictions, and score earlier ones; never raises."""


@dataclass(frozen=True)
class PredictionContext:
    """One for each loaded bundle; its indexes are computed at the first use."""

    bundle: Bundle
    lookup: RepositoryLookup
    star_histories: StarHistorySource | None = None
    track_record: TrackRecordSink | None = None

    @cached_property
    def leaf_index(self) -> LeafIndex:
        """The leaves that the known repositories reach."""
        return LeafIndex(self.bundle)

    @cached_property
    def training_ranges(self) -> TrainingRanges:
        """The ranges of the training data."""
        return TrainingRanges(self.bundle)

    def prepare(self) -> None:
        """Compute the indexes of the widest policy now, so that the first request does not wait for them."""
        widest = self.bundle.answer_policies[0].policy
        self.training_ranges.for_policy(widest)
        self.leaf_index.prepare(widest)

    def offline(self) -> PredictionContext:
        """Return a context without GitHub, histories and track record that shares the indexes."""
        other = PredictionContext(self.bundle, BundledRepositories(self.bundle))
        indexes = {"leaf_index": self.leaf_index, "training_ranges": self.training_ranges}
        other.__dict__.update(indexes)  # where cached_property stores them
        return other

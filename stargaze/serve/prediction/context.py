"""What a worker has at hand when questions come in: the bundle, a way to find repositories, and what it drew from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Protocol

import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import StargazeError
from stargaze.features.ingest.user_input import unknown_repositories
from stargaze.serve.prediction.neighbors import LeafIndex
from stargaze.serve.prediction.out_of_range import TrainingRanges
from stargaze.serve.prediction_request import Answer, Error

Source = Literal["github", "known", "typed"]


@dataclass(frozen=True)
class LookupResult:
    """Repositories that were looked up; a name that was asked for is either in ``rows`` or in ``errors``, in lower case.

    ``frame`` has the columns of the schema, ``rows`` says in which row a name is. ``source`` is "known" only for a row that is
    the bundle's own, whose features are computed already. ``remarks`` are sentences for people.
    """

    frame: pd.DataFrame
    rows: Mapping[str, int] = field(default_factory=dict)
    source: Mapping[str, Source] = field(default_factory=dict)
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    errors: Mapping[str, Error] = field(default_factory=dict)


class RepositoryLookup(Protocol):
    """Where the figures of a repository come from."""

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        """Look all of them up at once; what one of them lacks is its own error and never raised."""


class StarHistorySource(Protocol):
    """What is known of how a repository came to its stars."""

    def of(self, full_name: str, now: datetime) -> Mapping[str, Any]:
        """Return its ``history`` and ``forecast``, each None where there is none."""


class TrackRecordSink(Protocol):
    """Where predictions are kept until the truth is seen."""

    def note(self, answers: Sequence[Answer], now: datetime) -> None:
        """Keep them, and score what was kept earlier; never raises."""


@dataclass(frozen=True)
class PredictionContext:
    """One for each loaded bundle: what is drawn from the bundle is computed at its first use and kept."""

    bundle: Bundle
    finder: RepositoryLookup
    past: StarHistorySource | None = None
    ledger: TrackRecordSink | None = None

    @cached_property
    def leaves(self) -> LeafIndex:
        """In which leaves the known repositories fall."""
        return LeafIndex(self.bundle)

    @cached_property
    def ranges(self) -> TrainingRanges:
        """Between which values the training repositories lie."""
        return TrainingRanges(self.bundle)

    def prepare(self) -> None:
        """Compute now what the first question would wait for; what the narrower policies need waits for theirs."""
        widest = self.bundle.steps[0].policy
        self.ranges.of(widest)
        self.leaves.prepare(widest)

    def alone(self) -> PredictionContext:
        """Return an office that asks nobody and keeps no record, with all that this one drew from the bundle."""
        other = PredictionContext(self.bundle, BundledRepositories(self.bundle))
        other.__dict__.update(leaves=self.leaves, ranges=self.ranges)  # where cached_property keeps them
        return other


@dataclass(frozen=True)
class BundledRepositories:
    """The simplest finder: the repositories that travel with the bundle, and no others."""

    bundle: Bundle

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        """Look names up among the known; the error of an unknown one has names that are near."""
        asked = {name.lower(): name for name in names}
        places = self.bundle.places
        there = [name for name in asked if name in places]
        return LookupResult(
            self.bundle.known.iloc[[places[name] for name in there]],
            {name: row for row, name in enumerate(there)},
            dict.fromkeys(there, "known"),
            errors={
                lower: as_error(unknown_repositories([name], self.bundle.known))
                for lower, name in asked.items()
                if lower not in places
            },
        )


def as_error(error: StargazeError) -> Error:
    """Return what travels instead of an answer."""
    return {"message": error.message, "hint": error.hint}

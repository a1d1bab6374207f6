"""The repositories of many questions as one table: computed together, because a data frame costs much a call and little a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.prediction.context import LookupResult, Source
from stargaze.serve.prediction.predict import records_of


@dataclass(frozen=True)
class Row:
    """One repository of one question: where it stands in the table, and where its figures came from."""

    place: int
    source: Source
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PredictionBatch:
    """Found repositories, then those whose figures were typed, then some of both with a lever moved."""

    bundle: Bundle
    found: LookupResult
    typed: pd.DataFrame
    moved: pd.DataFrame

    def rows(self, names: Sequence[str], typed: Sequence[int]) -> list[Row]:
        """Return the rows of one question; two names of one repository are one row."""
        rows: dict[int, Row] = {}
        for name in map(str.lower, names):
            place, remarks = self.found.rows[name], tuple(self.found.remarks.get(name, ()))
            if place in rows:
                remarks = tuple(dict.fromkeys((*rows[place].remarks, *remarks)))
            rows[place] = Row(place, self.found.source[name], remarks)
        return [*rows.values(), *(Row(len(self.found.frame) + row, "typed") for row in typed)]

    def frame_of(self, row: Row) -> pd.DataFrame:
        """Return one row with all its fields."""
        n_found = len(self.found.frame)
        return self.found.frame.iloc[[row.place]] if row.place < n_found else self.typed.iloc[[row.place - n_found]]

    @cached_property
    def records(self) -> list[Mapping[str, Any]]:
        """What of each row an answer repeats."""
        frames = (self.found.frame, self.typed, self.moved)
        return [record for frame in frames if len(frame) for record in records_of(frame)]

    @cached_property
    def features(self) -> np.ndarray:
        """The features of each row; those of known repositories were computed before; shape (n_rows, n_columns)."""
        known = self._known()
        fresh = [row for row in range(len(self.found.frame)) if row not in known]
        frames = [frame for frame in (self.found.frame.iloc[fresh], self.typed, self.moved) if len(frame)]
        features = np.empty((len(self.records), len(self.bundle.columns)), dtype="float32")
        if known:
            features[list(known)] = self.bundle.known_features[list(known.values())]
        if frames:
            others = [*fresh, *range(len(self.found.frame), len(features))]
            whole = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
            features[others] = self.bundle.features(whole)
        return features

    def _known(self) -> dict[int, int]:
        """Return for each row that is the bundle's own its place among the known ones."""
        own = {row for name, row in self.found.rows.items() if self.found.source[name] == "known"}
        return {row: self.bundle.places[self.records[row]["full_name"].lower()] for row in sorted(own)}

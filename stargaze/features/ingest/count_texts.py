"""Counts that files contain as texts: what 12.000 means is decided from all values of the column in the file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from stargaze.features import schema
from stargaze.features.ingest.parsing.grouped_numbers import (
    AUTO,
    SeparatorUse,
    depends_on_column,
    read_grouped,
    undecided_error,
)
from stargaze.features.ingest.write_repositories import RawBatch

COUNTS = frozenset(field.name for field in schema.FIELDS if field.kind == "count")
SIZES = frozenset(field.name for field in schema.FIELDS if field.unit in ("kB", "B"))
"""Counts of bytes or kilobytes, in which 12K is not 12,000."""
_NO_DIGIT = r"[^0-9]"


class CountTexts:
    """Converts counts with separators in batches of rows; reads a file again if its separators are not known yet."""

    def __init__(self, thousands: str, read_again: Callable[[int], Iterable[RawBatch]], names: list[str]) -> None:
        self._thousands = thousands
        self._read_again = read_again
        self._names = names
        self._uses: dict[int, dict[str, SeparatorUse]] = {}

    def convert(self, batch: RawBatch) -> RawBatch:
        """Return the batch with counts as digits.

        Raise BadDataError if a value may be thousands or decimals, and no value of its column in the file shows which.
        """
        sources = np.array(batch.sources, dtype=np.int64)
        changed = {}
        for name, rows in _find_texts(batch.frame):
            values = batch.frame[name].astype("object").to_numpy(copy=True)
            is_changed = False
            for source in np.unique(sources[rows]):
                at = rows[sources[rows] == source]
                digits = self._read_texts(int(source), name, set(values[at]))
                if any(text != value for value, text in digits.items()):
                    is_changed = True
                    values[at] = [digits[value] for value in values[at]]
            if is_changed:
                changed[name] = pd.Series(values, index=batch.frame.index, dtype="object")
        return RawBatch(batch.frame.assign(**changed), batch.sources, batch.positions) if changed else batch

    def _read_texts(self, source: int, name: str, values: set[str]) -> dict[str, str]:
        texts = {value: value.strip() for value in values}
        mark = self._mark(source, name, texts.values())
        has_unit = tuple("kKmM") if name in SIZES else ()
        return {value: text if text.endswith(has_unit) else read_grouped(text, mark) for value, text in texts.items()}

    def _mark(self, source: int, name: str, texts: Iterable[str]) -> str:
        if self._thousands != AUTO:
            return self._thousands
        if not any(map(depends_on_column, texts)):
            return ""
        if source not in self._uses:
            self._uses[source] = _collect_uses(self._read_again(source))
        mark, undecided = self._uses[source][name].find_thousands()
        if undecided:
            raise undecided_error(f"{self._names[source]}: {name}", undecided, "fetch.thousands")
        return mark


def _find_texts(frame: pd.DataFrame) -> Iterator[tuple[str, np.ndarray[tuple[int], np.dtype[np.intp]]]]:
    """Yield each column of counts that has texts other than digits, and their rows."""
    for name in COUNTS.intersection(frame.columns):
        column = frame[name]
        if column.dtype == "str":
            mask = column.str.contains(_NO_DIGIT, na=False).to_numpy(dtype=bool)
        elif column.dtype == "object":
            mask = np.array([isinstance(value, str) and not value.isdigit() for value in column], dtype=bool)
        else:
            continue
        if mask.any():
            yield name, np.flatnonzero(mask)


def _collect_uses(batches: Iterable[RawBatch]) -> dict[str, SeparatorUse]:
    """Return what all texts of one file show, by field."""
    uses: defaultdict[str, SeparatorUse] = defaultdict(SeparatorUse)
    for batch in batches:
        for name, rows in _find_texts(batch.frame):
            uses[name].add(value.strip() for value in batch.frame[name].iloc[rows].unique())
    return uses

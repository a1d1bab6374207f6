"""Predict the stars of any number of records, batch by batch: one row per record, with a prediction or with an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import BadDataError
from stargaze.features.streams.record_stream import RecordBatch, RecordStream
from stargaze.formatting import format_count
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, ExcludedRepositoryError, Exclusions
from stargaze.serve.prediction.out_of_range import describe_unlike
from stargaze.serve.prediction.sentence import format_range, round_estimate
from stargaze.system.progress import Report
from stargaze.system.text import replace_unprintable
from stargaze.table_files import open_table, to_json_lines

ROWS = 2_000
"""Records that are predicted at once: intermediate arrays stay below 30 MB."""
TEXTS = ("file", "full_name", "policy", "set", "unlike_training", "bundle", "error")
EMPTY: dict[str, Any] = {
    "file": "",
    "record": 0,
    "full_name": "",
    "predicted": np.nan,
    "low": np.nan,
    "high": np.nan,
    "policy": "",
    "stars": np.nan,
    "set": "",
    "unlike_training": "",
    "bundle": "",
    "error": "",
}
"""The columns of a result, and the values of a record without a prediction."""


@dataclass
class RecordCounts:
    """How many records have a prediction, how many have none, and the first reason."""

    bundle: str
    predicted: int = 0
    refused: int = 0
    first_error: str = ""

    def add(self, results: pd.DataFrame) -> None:
        """Count the rows of :func:`predict_records`."""
        is_refused = results["error"].notna()
        self.predicted += int((~is_refused).sum())
        self.refused += int(is_refused.sum())
        if is_refused.any() and not self.first_error:
            row = results[is_refused].iloc[0]
            self.first_error = f"{row['file']}: record {row['record']}: {row['error']}"

    def check(self) -> None:
        """Raise BadDataError if no record has a prediction."""
        if not self.predicted:
            reason = self.first_error or "there is no record"
            raise BadDataError(f"nothing was predicted: {reason}", hint="stargaze fetch --dry-run --from FILE")

    def as_text(self) -> str:
        """Return one line."""
        refused = f", {self.refused:,} refused: the column error says why" if self.refused else ""
        return f"predicted {self.predicted:,} records with bundle {self.bundle[:12]}{refused}"


def predict_to_table(
    path: Path, bundle: Bundle, stream: RecordStream, exclusions: Exclusions, report: Report
) -> RecordCounts:
    """Write the results of all records to a table; raise BadDataError, and write none, if no record has a prediction."""
    counts = RecordCounts(bundle.digest)
    with open_table(path) as table:
        for results in predict_records(bundle, stream, exclusions, report):
            counts.add(results)
            table.write(results)
        counts.check()
    return counts


def predict_to_lines(
    bundle: Bundle, stream: RecordStream, exclusions: Exclusions, counts: RecordCounts, *, as_json: bool
) -> Iterator[str]:
    """Yield the results of all records as lines for a terminal or as JSON lines, and count them."""
    if not as_json:
        yield f"{'repository':<44} {'predicted':>11} {'interval':>21} {'actual':>9}  {'policy':<8}  set or error"
    for results in predict_records(bundle, stream, exclusions):
        counts.add(results)
        yield to_json_lines(results) if as_json else "\n".join(map(_format_row, results.itertuples()))
    counts.check()


def predict_records(
    bundle: Bundle,
    stream: RecordStream,
    exclusions: Exclusions = NO_EXCLUSIONS,
    report: Report = lambda _what, _share: None,
) -> Iterator[pd.DataFrame]:
    """Yield the results of all records in their order.

    Yields
    ------
    DataFrame
        ``file``, ``record`` (its position from 1, in JSON lines the line), ``full_name``; ``predicted``, ``low`` and ``high``
        [stars] of ``policy``, the widest that answers; ``stars`` if they are known; ``set``: training, validation, test, or
        missing if the repository was not among the data; ``unlike_training``, numbers that set it apart most; ``bundle``,
        the digest; ``error``, why there is no prediction.
    """
    total, done = stream.scan(report), 0
    for batch in stream.read():
        results = _predict(bundle, stream.names, batch, exclusions)
        done += len(results)
        report(f"{done:,} of {total:,} records", done / max(total, 1))
        yield results


def _predict(bundle: Bundle, names: Sequence[str], batch: RecordBatch, exclusions: Exclusions) -> pd.DataFrame:
    """Return the results of a batch."""
    frame, excluded = batch.repositories, ExcludedRepositoryError().message
    is_excluded = np.array([exclusions.match(name) for name in frame["full_name"]], dtype=bool)
    rows = np.flatnonzero(~is_excluded)
    parts = [_predict_rows(bundle, names, batch, rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
    refused = [*batch.refused, *((batch.sources[i], batch.positions[i], excluded) for i in np.flatnonzero(is_excluded))]
    errors = [
        {**EMPTY, "file": names[source], "source": source, "record": position, "bundle": bundle.digest, "error": error}
        for source, position, error in refused
    ]
    parts.append(pd.DataFrame(errors, columns=["source", *EMPTY]))
    results = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    results = results.sort_values(["source", "record"], kind="stable", ignore_index=True)
    texts = {name: results[name].astype("str").mask(results[name] == "") for name in TEXTS}
    numbers = {name: results[name].astype("float64") for name in ("predicted", "low", "high", "stars")}
    return results.assign(**texts, **numbers, record=results["record"].astype("int64"))[[*EMPTY]]


def _predict_rows(bundle: Bundle, names: Sequence[str], batch: RecordBatch, rows: np.ndarray) -> pd.DataFrame:
    frame = batch.repositories.iloc[rows]
    features = bundle.features(frame)
    estimate, unlike = bundle.estimate_from_features(features), describe_unlike(bundle, features)
    columns: dict[str, Any] = {
        **EMPTY,
        "source": [batch.sources[row] for row in rows],
        "file": [names[batch.sources[row]] for row in rows],
        "record": [batch.positions[row] for row in rows],
        "full_name": frame["full_name"].to_numpy(),
        "predicted": np.expm1(estimate.predicted),
        "low": estimate.low,
        "high": estimate.high,
        "policy": estimate.policy,
        "stars": frame["stars"].to_numpy(),
        "set": bundle.sets.find(frame["full_name"]),
        "unlike_training": [", ".join(found["labels"]) if found else "" for found in unlike],
        "bundle": bundle.digest,
    }
    return pd.DataFrame(columns)


def _format_row(row: Any) -> str:
    if isinstance(row.error, str):
        return f"{f'record {row.record}':<44} {replace_unprintable(row.error)}"
    predicted = format_count(round_estimate(row.predicted, row.low, row.high))
    actual = "" if np.isnan(row.stars) else format_count(row.stars)
    name = replace_unprintable(str(row.full_name))
    used = row.set if isinstance(row.set, str) else ""
    line = f"{name:<44} {predicted:>11} {format_range(row.low, row.high):>21} {actual:>9}  {row.policy:<8}  {used}"
    return line.rstrip()

"""Write the report of a store: read the inputs, compute the tables, render the page, and replace the file atomically."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from stargaze.errors import UsageError
from stargaze.report.html import render_report
from stargaze.report.inputs import read_report_inputs
from stargaze.report.predictions import write_predictions
from stargaze.report.tables import ReportTables, compute_tables
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Report
from stargaze.table_files import check_table_path

BUNDLE_META = re.compile(r'<meta name="stargaze-bundle" content="([0-9a-f]{64})">')
"""The element that holds the digest of the bundle."""


@dataclass(frozen=True)
class WrittenReport:
    """A written page and its tables."""

    path: Path
    size: int
    tables: ReportTables
    predictions: Path | None = None
    """The file of held-out predictions, if it was requested."""
    n_predictions: int = 0

    def as_text(self) -> str:
        """Return a summary of two lines, and a third one about the predictions."""
        head = self.tables.headline
        written = f"\n{self.predictions}: {self.n_predictions:,} held-out predictions" if self.predictions else ""
        return (
            f"{self.path}: bundle {head['bundle'][:12]}, {self.size / 1000:,.0f} kB\n"
            f"RMSLE {head['rmsle']:.3f} ({head['rmsle_low']:.3f} to {head['rmsle_high']:.3f}) on "
            f"{head['test_repositories']:,} held-out repositories, intervals cover {head['coverage']:.1%}{written}"
        )


def write_report(
    store: Store,
    path: Path | None = None,
    report: Report = lambda _what, _done: None,
    *,
    predictions: Path | None = None,
) -> WrittenReport:
    """Write the page of the newest bundle, by default to ``store/report.html``, and the held-out predictions to a table.

    Raise MissingInputError if an earlier stage has not run yet; ExternalError if an artifact is broken or changed,
    or the page cannot be written.
    """
    _check_outputs(store, path, predictions)
    inputs = read_report_inputs(store)
    n_predictions = write_predictions(inputs, predictions) if predictions else 0
    tables = compute_tables(inputs, report)
    report("drawing", 0.9)
    content = render_report(inputs, tables).encode("utf-8")
    target = path or store.report
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    report("done", 1.0)
    return WrittenReport(target, len(content), tables, predictions, n_predictions)


def _check_outputs(store: Store, page: Path | None, predictions: Path | None) -> None:
    """Raise UsageError if the page or the predictions would replace each other or another artifact of the store."""
    target = page or store.report
    if target.resolve() != store.report.resolve():
        store.check_output(target)
    if predictions:
        store.check_output(predictions)
        check_table_path(predictions)
        if predictions.resolve() == target.resolve():
            raise UsageError(f"{predictions}: page and predictions have the same name", hint="name two files")


def read_report_bundle(path: Path) -> str:
    """Return the digest of the bundle that a page describes; empty if the page names none."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        match = BUNDLE_META.search(stream.read(4_000))
    return match[1] if match else ""

"""Write the report of a store: read the inputs, compute the tables, render the page, and replace the file atomically."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from stargaze.report.html import render_report
from stargaze.report.inputs import read_report_inputs
from stargaze.report.tables import ReportTables, compute_tables
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Report

BUNDLE_META = re.compile(r'<meta name="stargaze-bundle" content="([0-9a-f]{64})">')
"""The element that holds the digest of the bundle."""


@dataclass(frozen=True)
class WrittenReport:
    """A written page and its tables."""

    path: Path
    size: int
    tables: ReportTables

    def as_text(self) -> str:
        """Return a summary of two lines."""
        head = self.tables.headline
        return (
            f"{self.path}: bundle {head['bundle'][:12]}, {self.size / 1000:,.0f} kB\n"
            f"RMSLE {head['rmsle']:.3f} ({head['rmsle_low']:.3f} to {head['rmsle_high']:.3f}) on "
            f"{head['test_repositories']:,} held-out repositories, intervals cover {head['coverage']:.1%}"
        )


def write_report(store: Store, path: Path | None = None, report: Report = lambda _what, _done: None) -> WrittenReport:
    """Write the page of the newest bundle, by default to ``store/report.html``.

    Raise MissingInputError if an earlier stage has not run yet; ExternalError if an artifact is broken or changed,
    or the page cannot be written.
    """
    inputs = read_report_inputs(store)
    tables = compute_tables(inputs, report)
    report("drawing", 0.9)
    content = render_report(inputs, tables).encode("utf-8")
    target = path or store.report
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    report("done", 1.0)
    return WrittenReport(target, len(content), tables)


def read_report_bundle(path: Path) -> str:
    """Return the digest of the bundle that a page describes; empty if the page names none."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        match = BUNDLE_META.search(stream.read(4_000))
    return match[1] if match else ""

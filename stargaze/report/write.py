"""Make the report of a store: read, compute, draw, and put the page into place in one rename."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from stargaze.report.html import render
from stargaze.report.inputs import read
from stargaze.report.tables import Numbers, numbers
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Report

MARK = re.compile(r'<meta name="stargaze-bundle" content="([0-9a-f]{64})">')
"""How a page says which bundle it is of."""


@dataclass(frozen=True)
class Written:
    """The page that was written, and what it says."""

    path: Path
    size: int
    numbers: Numbers

    def as_text(self) -> str:
        """Return the lines that a person reads."""
        head = self.numbers.headline
        return (
            f"{self.path}: bundle {head['bundle'][:12]}, {self.size / 1000:,.0f} kB\n"
            f"RMSLE {head['rmsle']:.3f} ({head['rmsle_low']:.3f} to {head['rmsle_high']:.3f}) on "
            f"{head['test_repositories']:,} held-out repositories, intervals cover {head['coverage']:.1%}"
        )


def write_report(store: Store, path: Path | None = None, report: Report = lambda _what, _done: None) -> Written:
    """Write the page of the newest bundle, by default to ``store/report.html``.

    Raises
    ------
    MissingInputError
        If a stage before is not done yet.
    ExternalError
        If an artefact is broken or changed, or the page cannot be written.
    """
    evidence = read(store)
    found = numbers(evidence, report)
    report("drawing", 0.9)
    content = render(evidence, found).encode("utf-8")
    target = path or store.report
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    report("done", 1.0)
    return Written(target, len(content), found)


def bundle_of(path: Path) -> str:
    """Return the digest of the bundle that a page is of; empty if it does not say."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        found = MARK.search(stream.read(4_000))
    return found[1] if found else ""

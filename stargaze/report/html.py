"""The page itself: numbers and charts put into one HTML file that asks for nothing from outside and runs nothing."""

from __future__ import annotations

from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from stargaze.features.split import TEST, VALIDATION
from stargaze.report.figures import pictures
from stargaze.report.formatting import heading, percent, printable, shown
from stargaze.report.inputs import Evidence
from stargaze.report.tables import Numbers


def render(evidence: Evidence, numbers: Numbers) -> str:
    """Return the whole page; the same evidence gives the same bytes."""
    templates = Environment(
        loader=PackageLoader("stargaze.report"),
        autoescape=True,  # names of repositories, owners and languages are whatever strangers typed
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # not what is markup already
    )
    templates.filters |= {"table": _table, "heading": heading, "percent": percent}
    page = templates.get_template("report.html")
    return page.render(
        numbers=numbers,
        head=numbers.headline,
        charts=pictures(numbers),
        meta=evidence.bundle.meta,
        bundle=evidence.bundle,
        files={name: len(content) for name, content in sorted(evidence.bundle.content.items())},
        source=evidence.source,
        split=evidence.feature_set.split,
        sizes={
            "validation": int((evidence.table.folds == VALIDATION).sum()),
            "test": int((evidence.table.folds == TEST).sum()),
        },
    )


def _table(frame: pd.DataFrame) -> list[list[tuple[str, bool]]]:
    """Return rows of cells, each with whether it is a number."""
    numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame]
    rows: list[list[Any]] = frame.to_numpy(dtype="object").tolist()
    columns = [str(column) for column in frame]
    return [
        [(shown(column, value), is_number) for column, value, is_number in zip(columns, row, numeric, strict=True)]
        for row in rows
    ]

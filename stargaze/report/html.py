"""Render the report as one HTML file that loads nothing from outside and runs no script."""

from __future__ import annotations

from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from stargaze.report.figures import draw_charts
from stargaze.report.formatting import column_heading, format_share, format_value, replace_control_characters
from stargaze.report.inputs import ReportInputs
from stargaze.report.tables import ReportTables


def render_report(inputs: ReportInputs, tables: ReportTables) -> str:
    """Return the page; the same inputs give the same bytes."""
    environment = Environment(
        loader=PackageLoader("stargaze.report"),
        autoescape=True,  # names of repositories, owners and languages are untrusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: replace_control_characters(value) if type(value) is str else value,  # skips Markup
    )
    environment.filters |= {"table": _format_rows, "heading": column_heading, "percent": format_share}
    return environment.get_template("report.html").render(
        tables=tables,
        head=tables.headline,
        charts=draw_charts(tables),
        meta=inputs.bundle.meta,
        files={name: len(content) for name, content in sorted(inputs.bundle.content.items())},
        source=inputs.source,
        split=inputs.feature_set.split,
    )


def _format_rows(frame: pd.DataFrame) -> list[list[tuple[str, bool]]]:
    """Return rows of cells: the text, and whether it is a number."""
    columns = [(str(column), pd.api.types.is_numeric_dtype(frame[column])) for column in frame]
    rows: list[list[Any]] = frame.to_numpy(dtype="object").tolist()
    return [
        [(format_value(name, value), is_number) for (name, is_number), value in zip(columns, row, strict=True)]
        for row in rows
    ]

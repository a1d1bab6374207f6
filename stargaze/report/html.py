"""Render the report as one HTML file that loads nothing from outside and runs no script."""

from __future__ import annotations

import pandas as pd
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from stargaze.report.figures import draw_charts
from stargaze.report.formatting import column_heading, format_share, format_value, replace_control_characters
from stargaze.report.inputs import ReportInputs
from stargaze.report.predictions import tabulate_errors
from stargaze.report.tables import ReportTables


def render_report(inputs: ReportInputs, tables: ReportTables) -> str:
    """Return the page; the same inputs give the same bytes."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("stargaze.report"), PackageLoader("stargaze.serve.web", "static")]),
        autoescape=True,  # names of repositories, owners and languages are untrusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: replace_control_characters(value) if type(value) is str else value,  # skips Markup
    )
    environment.filters |= {
        "tabulate_errors": tabulate_errors,
        "table": _format_rows,
        "heading": column_heading,
        "percent": format_share,
    }
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
    columns = [(str(name), values.tolist(), pd.api.types.is_numeric_dtype(values)) for name, values in frame.items()]
    cells = [[(format_value(name, value), is_number) for value in values] for name, values, is_number in columns]
    return [list(row) for row in zip(*cells, strict=True)]

"""The plot of a selection: the importance of each selected feature under each policy."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stargaze.config import POLICIES

MAX_BARS = 25
"""Bars per policy; more are illegible."""


def draw_selection(reasons: pd.DataFrame, path: Path) -> None:
    """Write a bar chart of the importances [nat²] with one panel per policy, as SVG with selectable text."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "stargaze", "font.size": 9}):
        figure = Figure(figsize=(13, 7), layout="constrained")
        for axes, policy in zip(figure.subplots(1, len(POLICIES)), POLICIES, strict=True):
            selected = reasons[reasons[policy] == "selected"]
            shown = selected.nlargest(MAX_BARS, f"importance_{policy}").iloc[::-1]
            axes.barh(shown["feature"], shown[f"importance_{policy}"], color="#2a6f97")
            axes.set_xscale("symlog", linthresh=1e-3)
            axes.set_title(f"{policy}: {len(selected)} features selected")
            axes.set_xlabel("increase of the squared error when shuffled [nat²]")
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})

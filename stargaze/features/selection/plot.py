"""The picture of a selection: what each kept feature is worth under each policy."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stargaze.config import POLICIES

MOST = 25
"""Bars a policy; more cannot be read."""


def draw_selection(reasons: pd.DataFrame, path: Path) -> None:
    """Draw the importances [nat²] as horizontal bars, a panel a policy, as SVG with its text as text."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "stargaze", "font.size": 9}):
        figure = Figure(figsize=(13, 7), layout="constrained")
        for axes, policy in zip(figure.subplots(1, len(POLICIES)), POLICIES, strict=True):
            kept = reasons[reasons[policy] == "kept"].nlargest(MOST, f"importance_{policy}").iloc[::-1]
            axes.barh(kept["feature"], kept[f"importance_{policy}"], color="#2a6f97")
            axes.set_xscale("symlog", linthresh=1e-3)
            axes.set_title(f"{policy}: {(reasons[policy] == 'kept').sum()} features kept")
            axes.set_xlabel("growth of the squared error when shuffled [nat²]")
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})

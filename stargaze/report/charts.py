"""One plotting function per chart; each takes a figure and the frame to plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stargaze.report.svg import FIRST, INK, LINE, MUTED, PAPER, SECOND, SPAN, THIRD
from stargaze.tuning.search.racing import DONE

SERIES_STYLES = (("o", FIRST, "-"), ("s", SECOND, "--"), ("^", THIRD, ":"), ("D", INK, "-."), ("v", MUTED, "-"))
"""Marker, color and line of each series; no two series differ by color alone."""
TICKS = (0.0, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0)
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.0f}%")
TICK_LABELS = ("0", "1", "10", "100", "1k", "10k", "100k", "1M")


def plot_decades(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot the number of repositories per decade of stars."""
    axes = figure.add_subplot()
    bars = axes.barh(frame["decade"], frame["repositories"].clip(lower=0.5), color=FIRST, height=0.66)
    axes.bar_label(bars, labels=[f"{count:,}" for count in frame["repositories"]], padding=4, fontsize=9)
    axes.set_xscale("log", nonpositive="clip")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(0.5, 6 * max(frame["repositories"].max(), 1))
    axes.invert_yaxis()
    axes.set_xlabel("repositories (log scale)")
    axes.set_ylabel("stars")


def plot_leaderboard(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot each family's score and spread over folds, one marker per policy."""
    axes = figure.add_subplot()
    families = list(dict.fromkeys(frame["family"]))
    positions = {family: float(number) for number, family in enumerate(families)}
    for number, (policy, subset) in enumerate(frame[frame["status"] == "ok"].groupby("policy", sort=False)):
        marker, color, _ = SERIES_STYLES[number % len(SERIES_STYLES)]
        height = subset["family"].map(positions) + 0.18 * (number - 1)
        axes.errorbar(subset["rmsle"], height, xerr=subset["spread"], fmt=marker, color=color, label=str(policy))
    dummy = frame.loc[frame["family"] == "dummy", "rmsle"].mean()
    if np.isfinite(dummy):
        axes.axvline(dummy, color=MUTED, linestyle=":", zorder=0)
    axes.set_yticks(list(positions.values()), families)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlabel("RMSLE [nat] ± spread over folds")
    _add_legend(figure, title="feature policy")


def plot_trials(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot each trial's score at its end and the best score so far; a cross is a stopped trial."""
    axes, metric = figure.add_subplot(), "rmse" if "rmse" in frame else "rmsle"
    is_timed = bool(frame["at"].notna().all())
    x = frame["at"] if is_timed else frame["trial"]
    is_done = (frame["stopped"] == DONE).to_numpy()
    for number, family in enumerate(dict.fromkeys(frame["family"])):
        marker, color, _ = SERIES_STYLES[number % len(SERIES_STYLES)]
        rows = (frame["family"] == family).to_numpy() & is_done
        axes.plot(x[rows], frame[metric][rows], marker, color=color, label=str(family))
    if not is_done.all():
        axes.plot(x[~is_done], frame[metric][~is_done], "x", color=MUTED, label="stopped early")
    axes.step(x, frame["best"], where="post", color=INK, label="best so far")
    axes.grid(axis="y")
    axes.set_xlabel("time since the start of tuning [s]" if is_timed else "trial (the order was not recorded)")
    axes.set_ylabel("RMSE [stars]" if metric == "rmse" else "RMSLE [nat]")
    _add_legend(figure)


def plot_learning_curve(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot the error on the test set over the number of training owners."""
    axes = figure.add_subplot()
    for number, (policy, subset) in enumerate(frame.groupby("policy", sort=False)):
        marker, color, line = SERIES_STYLES[number % len(SERIES_STYLES)]
        style: dict[str, Any] = {"marker": marker, "color": color, "linestyle": line, "label": str(policy)}
        axes.errorbar(subset["owners"], subset["rmsle"], yerr=_error_bars(subset, "rmsle"), **style)
    axes.set_xscale("log")
    ticks = sorted(set(frame["owners"].round()))
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.set_xlabel("training owners (log scale)")
    axes.set_ylabel("RMSLE on the test set [nat]")
    _add_legend(figure, title="feature policy")


def plot_predictions(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot true over predicted counts with intervals; a cross lies outside its interval."""
    axes = figure.add_subplot()
    top = float(np.log1p(frame[["true", "predicted", "high"]].max().max())) * 1.03
    x = np.log1p(frame["predicted"])
    axes.vlines(x, np.log1p(frame["low"]), np.log1p(frame["high"]), color=SPAN, linewidth=2.2, label="interval")
    _draw_diagonal(axes, top, "predicted = true")
    for label, marker, color in (("inside", "o", FIRST), ("outside", "x", SECOND)):
        rows = frame["inside"] == label
        style: dict[str, Any] = {
            "color": color,
            "markersize": 4,
            "markeredgewidth": 1.1,
            "label": f"true count, {label}",
        }
        face = PAPER if marker == "o" else color
        axes.plot(x[rows], np.log1p(frame["true"][rows]), marker, markerfacecolor=face, **style)
    _set_star_axes(axes, top, "predicted stars", "true stars")
    _add_legend(figure, columns=2)


def plot_groups(figure: Figure, frame: pd.DataFrame, column: str, nominal: float) -> None:
    """Plot the coverage, with its uncertainty, and the error of each group."""
    left, right = figure.subplots(1, 2, sharey=True)
    positions = np.arange(len(frame))
    left.errorbar(frame["coverage"], positions, xerr=_error_bars(frame, "coverage"), fmt="o", color=FIRST)
    left.axvline(nominal, color=INK, linestyle="--", linewidth=1)
    left.set_xlim(min(0.5, float(np.floor(10 * frame["coverage_low"].min())) / 10), 1.01)
    left.xaxis.set_major_formatter(PERCENT)
    left.set_xlabel("coverage")
    right.barh(positions, frame["rmsle"], color=SECOND, height=0.6)
    right.set_xlabel("RMSLE [nat]")
    left.set_yticks(
        positions, [f"{label} ({count:,})" for label, count in zip(frame[column], frame["repositories"], strict=True)]
    )
    left.set_ylim(max(len(frame), 2) - 0.4, -0.6)
    _set_few_ticks(left, right)


def plot_calibration(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot the mean truth over the mean prediction of each bin."""
    axes = figure.add_subplot()
    logs = frame[["predicted", "true", "true_low", "true_high"]].transform(np.log1p)
    x, true = logs["predicted"], logs["true"]
    top = float(max(x.max(), logs["true_high"].max())) * 1.05
    _draw_diagonal(axes, top, "predicted = true")
    axes.errorbar(x, true, yerr=_error_bars(logs, "true"), fmt="o", color=FIRST, label="mean ± 2 standard errors")
    _set_star_axes(axes, top, "mean predicted stars", "mean true stars")
    _add_legend(figure, columns=2)


def plot_coverage_by_level(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot the coverage of intervals over their nominal level."""
    axes = figure.add_subplot()
    _draw_diagonal(axes, 1, "ideal")
    for interval, marker, color, size in (("residual ranks", "o", FIRST, 5), ("bundle", "*", SECOND, 12)):
        rows = frame[frame["interval"] == interval]
        style: dict[str, Any] = {"fmt": marker, "color": color, "markersize": size, "label": interval}
        axes.errorbar(rows["nominal"], rows["coverage"], yerr=_error_bars(rows, "coverage"), **style)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    axes.grid()
    axes.set_xlabel("nominal coverage")
    axes.set_ylabel("share of true counts inside")
    _add_legend(figure)


def plot_ranks(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot the histogram of the ranks of the truth."""
    axes = figure.add_subplot()
    axes.bar(
        frame["from"], frame["share"], width=frame["to"] - frame["from"], align="edge", color=FIRST, edgecolor=PAPER
    )
    axes.axhline(float(frame["expected"].iloc[0]), color=INK, linestyle="--", linewidth=1)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("rank of the truth among similar counts")
    axes.set_ylabel("share of repositories")


def plot_importance(figure: Figure, frame: pd.DataFrame) -> None:
    """Plot the mean contribution and the permutation importance of each feature."""
    left, right = figure.subplots(1, 2, sharey=True)
    positions = np.arange(len(frame))
    left.barh(positions, frame["contribution"], color=FIRST, height=0.62)
    right.hlines(positions, 0, frame["importance"], color=LINE, linewidth=1)
    right.plot(frame["importance"], positions, "D", color=SECOND, markersize=5)
    left.set_yticks(positions, list(frame["feature"]))
    left.tick_params(axis="y", labelsize=8.5)
    left.invert_yaxis()
    left.set_xlabel("contribution [nat]")
    right.set_xlabel("if shuffled [nat²]")
    _set_few_ticks(left, right)


def _add_legend(figure: Figure, *, columns: int = 3, title: str | None = None) -> None:
    figure.legend(loc="outside upper left", ncols=columns, title=title, alignment="left", title_fontsize=9)


def _set_few_ticks(*axes: Axes) -> None:
    for each in axes:
        each.locator_params(axis="x", nbins=3)
        each.grid(axis="x")


def _draw_diagonal(axes: Axes, top: float, label: str) -> None:
    axes.plot([0, top], [0, top], color=MUTED, linestyle="--", linewidth=1, label=label)


def _error_bars(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return the distances of a column to its bounds below and above; shape (2, n)."""
    value = frame[column]
    return np.clip([value - frame[f"{column}_low"], frame[f"{column}_high"] - value], 0, None)


def _set_star_axes(axes: Axes, top: float, x_label: str, y_label: str) -> None:
    """Label both axes in stars on the log1p scale, which includes zero."""
    is_visible = np.log1p(TICKS) <= top
    positions: Sequence[float] = np.log1p(TICKS)[is_visible].tolist()
    labels = [label for label, visible in zip(TICK_LABELS, is_visible, strict=True) if visible]
    axes.set_xticks(positions, labels)
    axes.set_yticks(positions, labels)
    axes.set_xlim(-0.15, top)
    axes.set_ylim(-0.15, top)
    axes.set_aspect("equal")
    axes.grid()
    axes.set_xlabel(f"{x_label} (log scale)")
    axes.set_ylabel(f"{y_label} (log scale)")

"""Each chart as a thin function from a figure and the frame that it shows; nothing is computed here but where marks lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stargaze.report.svg import FIRST, INK, LINE, PAPER, QUIET, SECOND, SPAN, THIRD
from stargaze.tuning.search.racing import DONE

MARKS = (("o", FIRST, "-"), ("s", SECOND, "--"), ("^", THIRD, ":"), ("D", INK, "-."), ("v", QUIET, "-"))
"""Marker, colour and line of each series: no two differ by their colour alone."""
TICKS = (0.0, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0)
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.0f} %")
NAMES = ("0", "1", "10", "100", "1k", "10k", "100k", "1M")


def decades(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw how many repositories have how many stars."""
    axes = figure.add_subplot()
    bars = axes.barh(frame["decade"], frame["repositories"].clip(lower=0.5), color=FIRST, height=0.66)
    axes.bar_label(bars, labels=[f"{count:,}" for count in frame["repositories"]], padding=4, fontsize=9)
    axes.set_xscale("log", nonpositive="clip")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(0.5, 6 * max(frame["repositories"].max(), 1))
    axes.invert_yaxis()
    axes.set_xlabel("repositories (log scale)")
    axes.set_ylabel("stars")


def leaderboard(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw each family's score with its spread over folds, a mark a policy."""
    axes = figure.add_subplot()
    families = list(dict.fromkeys(frame["family"]))
    place = {family: float(row) for row, family in enumerate(families)}
    for row, (policy, part) in enumerate(frame[frame["status"] == "ok"].groupby("policy", sort=False)):
        marker, colour, _ = MARKS[row % len(MARKS)]
        height = part["family"].map(place) + 0.18 * (row - 1)
        axes.errorbar(part["rmsle"], height, xerr=part["spread"], fmt=marker, color=colour, label=str(policy))
    dummy = frame.loc[frame["family"] == "dummy", "rmsle"].mean()
    if np.isfinite(dummy):
        axes.axvline(dummy, color=QUIET, linestyle=":", zorder=0)
    axes.set_yticks(list(place.values()), families)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlabel("RMSLE [nat] ± spread over folds")
    figure.legend(loc="outside upper left", ncols=3, title="feature policy", alignment="left", title_fontsize=9)


def trials(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw each trial's score when it ended and the best until then; a cross is a trial that was stopped."""
    axes = figure.add_subplot()
    timed = bool(frame["at"].notna().all())
    when = frame["at"] if timed else frame["trial"]
    done = (frame["stopped"] == DONE).to_numpy()
    for row, family in enumerate(dict.fromkeys(frame["family"])):
        marker, colour, _ = MARKS[row % len(MARKS)]
        own = (frame["family"] == family).to_numpy() & done
        axes.plot(when[own], frame["rmsle"][own], marker, color=colour, label=str(family))
    if not done.all():
        axes.plot(when[~done], frame["rmsle"][~done], "x", color=QUIET, label="stopped early")
    axes.step(when, frame["best"], where="post", color=INK, label="best so far")
    axes.grid(axis="y")
    axes.set_xlabel("time since the tuning began [s]" if timed else "trial (the order was not recorded)")
    axes.set_ylabel("RMSLE [nat]")
    figure.legend(loc="outside upper left", ncols=3)


def learning_curve(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw the error on the test side over the number of owners learnt from."""
    axes = figure.add_subplot()
    for row, (policy, part) in enumerate(frame.groupby("policy", sort=False)):
        marker, colour, line = MARKS[row % len(MARKS)]
        spread = [part["rmsle"] - part["rmsle_low"], part["rmsle_high"] - part["rmsle"]]
        axes.errorbar(
            part["owners"], part["rmsle"], yerr=spread, marker=marker, color=colour, linestyle=line, label=str(policy)
        )
    axes.set_xscale("log")
    ticks = sorted(set(frame["owners"].round()))
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.set_xlabel("owners learnt from (log scale)")
    axes.set_ylabel("RMSLE on the test side [nat]")
    figure.legend(loc="outside upper left", ncols=3, title="feature policy", alignment="left", title_fontsize=9)


def predictions(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw true over predicted counts, each with its interval; a cross lies outside of its own."""
    axes = figure.add_subplot()
    top = float(np.log1p(frame[["true", "predicted", "high"]].max().max())) * 1.03
    at = np.log1p(frame["predicted"])
    axes.vlines(at, np.log1p(frame["low"]), np.log1p(frame["high"]), color=SPAN, linewidth=2.2, label="interval")
    axes.plot([0, top], [0, top], color=QUIET, linestyle="--", linewidth=1, label="predicted = true")
    for label, marker, colour in (("inside", "o", FIRST), ("outside", "x", SECOND)):
        own = frame["inside"] == label
        axes.plot(
            *(at[own], np.log1p(frame["true"][own]), marker),
            color=colour,
            markersize=4,
            markeredgewidth=1.1,
            markerfacecolor=PAPER if marker == "o" else colour,
            label=f"true count, {label}",
        )
    _stars(axes, top, "predicted stars", "true stars")
    figure.legend(loc="outside upper left", ncols=2)


def groups(figure: Figure, frame: pd.DataFrame, name: str, nominal: float) -> None:
    """Draw coverage with its uncertainty and the error of each group."""
    left, right = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(frame))
    spread = [frame["coverage"] - frame["coverage_low"], frame["coverage_high"] - frame["coverage"]]
    left.errorbar(frame["coverage"], place, xerr=np.clip(spread, 0, None), fmt="o", color=FIRST)
    left.axvline(nominal, color=INK, linestyle="--", linewidth=1)
    left.set_xlim(min(0.5, float(np.floor(10 * frame["coverage_low"].min())) / 10), 1.01)
    left.xaxis.set_major_formatter(PERCENT)
    left.set_xlabel("coverage")
    right.barh(place, frame["rmsle"], color=SECOND, height=0.6)
    right.set_xlabel("RMSLE [nat]")
    left.set_yticks(
        place, [f"{label} ({count:,})" for label, count in zip(frame[name], frame["repositories"], strict=True)]
    )
    left.set_ylim(max(len(frame), 2) - 0.4, -0.6)
    for axes in (left, right):
        axes.locator_params(axis="x", nbins=3)
        axes.grid(axis="x")


def calibration(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw the mean truth over the mean prediction of each bin."""
    axes = figure.add_subplot()
    at, true = np.log1p(frame["predicted"]), np.log1p(frame["true"])
    spread = [true - np.log1p(frame["true_low"]), np.log1p(frame["true_high"]) - true]
    top = float(max(at.max(), np.log1p(frame["true_high"]).max())) * 1.05
    axes.plot([0, top], [0, top], color=QUIET, linestyle="--", linewidth=1, label="predicted = true")
    axes.errorbar(at, true, yerr=np.clip(spread, 0, None), fmt="o", color=FIRST, label="mean ± 2 standard errors")
    _stars(axes, top, "mean predicted stars", "mean true stars")
    figure.legend(loc="outside upper left", ncols=2)


def nominal(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw how often intervals of each level hold the truth."""
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1, label="as asked")
    marks = (("by ranks", "o", FIRST, 5), ("of the bundle", "*", SECOND, 12))
    for interval, marker, colour, size in marks:
        own = frame[frame["interval"] == interval]
        spread = [own["coverage"] - own["coverage_low"], own["coverage_high"] - own["coverage"]]
        axes.errorbar(
            *(own["nominal"], own["coverage"]), yerr=spread, fmt=marker, color=colour, markersize=size, label=interval
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    axes.grid()
    axes.set_xlabel("nominal coverage")
    axes.set_ylabel("share of true counts inside")
    figure.legend(loc="outside upper left", ncols=3)


def ranks(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw how the ranks of the truth are spread."""
    axes = figure.add_subplot()
    axes.bar(
        frame["from"], frame["share"], width=frame["to"] - frame["from"], align="edge", color=FIRST, edgecolor=PAPER
    )
    axes.axhline(float(frame["expected"].iloc[0]), color=INK, linestyle="--", linewidth=1)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("rank of the truth among similar ones")
    axes.set_ylabel("share of repositories")


def importance(figure: Figure, frame: pd.DataFrame) -> None:
    """Draw what each feature adds to predictions beside what shuffling it costs."""
    left, right = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(frame))
    left.barh(place, frame["contribution"], color=FIRST, height=0.62)
    right.hlines(place, 0, frame["importance"], color=LINE, linewidth=1)
    right.plot(frame["importance"], place, "D", color=SECOND, markersize=5)
    left.set_yticks(place, list(frame["feature"]))
    left.tick_params(axis="y", labelsize=8.5)
    left.invert_yaxis()
    left.set_xlabel("contribution [nat]")
    right.set_xlabel("if shuffled [nat²]")
    for axes in (left, right):
        axes.locator_params(axis="x", nbins=3)
        axes.grid(axis="x")


def _stars(axes: Axes, top: float, across: str, up: str) -> None:
    """Let both axes count stars on the scale of the target, on which nothing is a place too."""
    shown = np.log1p(TICKS) <= top
    places: Sequence[float] = np.log1p(TICKS)[shown].tolist()
    names = [name for name, is_shown in zip(NAMES, shown, strict=True) if is_shown]
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    axes.set_xlim(-0.15, top)
    axes.set_ylim(-0.15, top)
    axes.set_aspect("equal")
    axes.grid()
    axes.set_xlabel(f"{across} (log scale)")
    axes.set_ylabel(f"{up} (log scale)")

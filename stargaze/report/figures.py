"""The charts of the page: title, alternative text, note, and the frame that is plotted and printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd

from stargaze.report import charts
from stargaze.report.formatting import format_share, replace_control_characters
from stargaze.report.search import MAX_ROWS, find_metric
from stargaze.report.svg import render_svg
from stargaze.report.tables import ReportTables
from stargaze.tuning.search.racing import DONE

WIDTH = 4.4
"""Width of a chart [inch]: two fit side by side on a desktop, and 10-point text is legible on a phone."""
MAX_FEATURES = 15
"""Maximum number of features plotted; the table lists all."""


@dataclass(frozen=True)
class Chart:
    """One chart: ``alt`` is the alternative text, ``note`` explains how to read it, ``frame`` holds the plotted numbers."""

    name: str
    title: str
    alt: str
    note: str
    frame: pd.DataFrame
    svg: str


def draw_charts(tables: ReportTables) -> dict[str, Chart]:
    """Draw all charts of the report."""
    charts = [
        *_dataset_charts(tables),
        *_search_charts(tables),
        *_test_charts(tables),
        *_calibration_charts(tables),
        *_importance_charts(tables),
    ]
    return {chart.name: chart for chart in charts}


def _draw_chart(
    name: str, title: str, alt: str, note: str, frame: pd.DataFrame, height: float, plot: Callable[..., None]
) -> Chart:
    """Draw one chart with ``plot(figure, frame=frame)``."""
    alt = replace_control_characters(alt)
    return Chart(name, title, alt, note, frame, render_svg(name, alt, (WIDTH, height), partial(plot, frame=frame)))


def _dataset_charts(tables: ReportTables) -> list[Chart]:
    frame = tables["stars"]
    largest = frame.iloc[int(frame["repositories"].argmax())]
    alt = f"Bars on a log scale: of {frame['repositories'].sum():,} repositories, {largest['repositories']:,}, the largest "
    alt += f"group, have {largest['decade']} stars; {int(frame['repositories'].iloc[3:].sum()):,} have at least 100."
    note = "Only repositories with a known number of stars are counted."
    return [_draw_chart("stars", "Repositories by stars", alt, note, frame, 2.6, charts.plot_decades)]


def _search_charts(tables: ReportTables) -> list[Chart]:
    board, trials, curve = tables["leaderboard"], tables["trials"], tables["learning_curve"]
    scored = board[board["status"] == "ok"]
    first, dummy = scored.iloc[0], scored.loc[scored["family"] == "dummy", "rmsle"].mean()
    families = board["family"].nunique()
    board_alt = f"{families} model families under each feature policy. The best is {first['family']} under "
    board_alt += f"{first['policy']}: RMSLE {first['rmsle']:.3f} ± {first['spread']:.3f}; the dummy has {dummy:.3f}."
    done = trials[trials["stopped"] == DONE]
    trials_alt = f"{len(trials)} trials, {len(trials) - len(done) or 'none'} of them stopped early; "
    metric = find_metric(trials)
    name = {"rmsle": "RMSLE", "rmse": "RMSE [stars]"}[metric]
    trials_alt += f"the best finished trial has {name} {done[metric].min():,.5g}."
    ends = [f"{policy}: from {subset['rmsle'].iloc[0]:.3f} with {subset['owners'].iloc[0]:,.0f} owners to "
            f"{subset['rmsle'].iloc[-1]:.3f} with {subset['owners'].iloc[-1]:,.0f}"
            for policy, subset in curve.groupby("policy", sort=False)]  # fmt: skip
    return [
        _draw_chart(
            "leaderboard",
            "Leaderboard",
            board_alt,
            "Markers are the mean over the folds of cross-validation, bars the standard deviation. The dotted line is the "
            "dummy, which always predicts the median.",
            board,
            1.6 + 0.3 * families,
            charts.plot_leaderboard,
        ),
        _draw_chart(
            "trials",
            "Trials over time",
            trials_alt,
            "Each marker is a configuration; the line is the best one scored on every fold. A cross is a trial that was "
            "stopped early because it could not win; its score assumes that its gap to the best stays the same.",
            trials,
            3.3,
            charts.plot_trials,
        ),
        _draw_chart(
            "learning_curve",
            "Learning curve",
            f"RMSLE on the test set by policy and number of training owners. {'; '.join(ends)}.",
            "The best configuration, refitted on an eighth, a quarter, a half and all of the training owners; bars are the "
            f"minimum and maximum of three draws of at most {MAX_ROWS:,} repositories. A line that still falls means that "
            "more repositories would help.",
            curve,
            3.3,
            charts.plot_learning_curve,
        ),
    ]


def _test_charts(tables: ReportTables) -> list[Chart]:
    points, nominal, n_test = tables["predictions"], tables.headline["nominal"], tables.headline["test_repositories"]
    covered = (points["inside"] == "inside").mean()
    return [
        _draw_chart(
            "predictions",
            "Predicted against true",
            f"True over predicted stars of {len(points)} test repositories, from {points['predicted'].min():,.0f} to "
            f"{points['predicted'].max():,.0f} predicted; {format_share(covered, 0)} of those plotted lie in their interval.",
            f"{len(points)} of {n_test:,} repositories of the test set, sampled evenly over the range of predictions, so that "
            "the many with few stars do not hide the others. A vertical bar is the interval, a circle a true count inside "
            "it, a cross one outside. The share of crosses in the sample differs from the share in the test set.",
            points,
            4.6,
            charts.plot_predictions,
        ),
        _group_chart("decades", tables["decades"], "Coverage and error by true stars", nominal),
        _group_chart("by_language", tables["by_language"], "Coverage and error by language", nominal),
    ]


def _group_chart(name: str, frame: pd.DataFrame, title: str, nominal: float) -> Chart:
    label = frame.columns[0]
    frame = frame.assign(**{label: frame[label].map(replace_control_characters)})
    worst, best = (frame.iloc[row] for row in (frame["coverage"].argmin(), frame["coverage"].argmax()))
    alt = f"Coverage is lowest, {format_share(worst['coverage'])}, for {worst[label]} ({worst['repositories']:,} repositories), "
    alt += f"and highest, {format_share(best['coverage'])}, for {best[label]}; nominal is {format_share(nominal, 0)}."
    if len(frame) == 1:
        alt = f"All {worst['repositories']:,} test repositories are in one group, {worst[label]}: coverage is "
        alt += f"{format_share(worst['coverage'])}, the nominal coverage {format_share(nominal, 0)}."
    note = "Bars around the coverage are 95% Wilson intervals. In parentheses: repositories of the test set."
    if label == "decade":
        note += " Groups by the true count exaggerate errors: a repository with more stars than its features suggest "
        note += "is by nature predicted too low."
    plot = partial(charts.plot_groups, column=str(label), nominal=nominal)
    return _draw_chart(name, title, alt, note, frame, 1.0 + 0.3 * len(frame), plot)


def _calibration_charts(tables: ReportTables) -> list[Chart]:
    means, levels, ranks = tables["calibration"], tables["nominal"], tables["ranks"]
    bundle = levels[levels["interval"] == "bundle"].iloc[0]
    n_near = int(means["predicted"].between(means["true_low"], means["true_high"]).sum())
    largest = (levels["coverage"] - levels["nominal"]).abs().max()
    return [
        _draw_chart(
            "calibration",
            "Mean truth over mean prediction",
            f"In {n_near} of {len(means)} bins of prediction the mean truth lies within two standard errors of the mean "
            "prediction.",
            "Test repositories in bins of similar prediction; means are of log1p(stars).",
            means,
            4.2,
            charts.plot_calibration,
        ),
        _draw_chart(
            "nominal",
            "Coverage at every level",
            f"Coverage is within {format_share(largest)} of nominal at every level; the intervals of the bundle cover "
            f"{format_share(bundle['coverage'])} at nominal {format_share(bundle['nominal'], 0)}.",
            "Circles: central intervals from the residuals of the 200 validation repositories of most similar prediction; "
            "star: the intervals of the bundle. Bars are 95% Wilson intervals.",
            levels,
            3.6,
            charts.plot_coverage_by_level,
        ),
        _draw_chart(
            "ranks",
            "Ranks of the truth",
            f"Ten bins of ranks hold between {format_share(ranks['share'].min())} and {format_share(ranks['share'].max())} each; "
            f"{format_share(0.1, 0)} is expected.",
            "The rank of each true count among the prediction plus those 200 residuals (the randomized probability integral "
            "transform for counts). Flat: calibrated. Hump: intervals too wide. Bowl: too narrow. Slope: biased.",
            ranks,
            3.0,
            charts.plot_ranks,
        ),
    ]


def _importance_charts(tables: ReportTables) -> list[Chart]:
    drawn = []
    for name, frame in tables.frames.items():
        if not name.startswith("importance_"):
            continue
        policy, top = name.removeprefix("importance_"), frame.head(MAX_FEATURES)
        alt = f"Under policy {policy} the largest mean contribution is that of {top['feature'].iloc[0]} "
        alt += f"({top['contribution'].iloc[0]:.3f} nat), then {', '.join(top['feature'].iloc[1:4])}."
        drawn.append(
            _draw_chart(
                name,
                f"Policy {policy}",
                alt,
                f"The {len(top)} of {len(frame)} features with the largest contribution. Left: mean absolute contribution to a "
                "prediction. Right: growth of the squared error when the feature was shuffled at selection.",
                frame,
                0.9 + 0.24 * len(top),
                lambda figure, frame: charts.plot_importance(figure, frame.head(MAX_FEATURES)),
            )
        )
    return drawn

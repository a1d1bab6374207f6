"""The charts of the page: each with its title, what it tells in words, and the frame that it is drawn from and printed with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from stargaze.report import charts
from stargaze.report import search as searched
from stargaze.report.formatting import percent, printable
from stargaze.report.svg import draw
from stargaze.report.tables import Numbers
from stargaze.tuning.search.racing import DONE

WIDTH = 4.4
"""Width of a chart [inch]: two stand side by side on a desk, and words of 10 points are still read on a phone."""
BARS = 15
"""Features that are drawn; the table has all."""


@dataclass(frozen=True)
class Chart:
    """One picture: ``alt`` says what can be seen in it, ``note`` how to read it, ``frame`` holds the very numbers drawn."""

    name: str
    title: str
    alt: str
    note: str
    frame: pd.DataFrame
    svg: str


def pictures(numbers: Numbers) -> dict[str, Chart]:
    """Draw every chart from the numbers."""
    made = [
        *_of_data(numbers),
        *_of_search(numbers),
        *_of_test(numbers),
        *_of_calibration(numbers),
        *_of_reasons(numbers),
    ]
    return {chart.name: chart for chart in made}


def _chart(
    name: str, title: str, alt: str, note: str, frame: pd.DataFrame, height: float, paint: Callable[[Figure], None]
) -> Chart:
    return Chart(name, title, printable(alt), note, frame, draw(name, printable(alt), (WIDTH, height), paint))


def _of_data(numbers: Numbers) -> list[Chart]:
    frame = numbers["stars"]
    most = frame.iloc[int(frame["repositories"].argmax())]
    alt = f"Bars on a log scale: of {frame['repositories'].sum():,} repositories most, {most['repositories']:,}, have "
    alt += f"{most['decade']} stars; {int(frame['repositories'].iloc[3:].sum()):,} have a hundred or more."
    note = "Every count is of repositories with a known number of stars."
    return [_chart("stars", "Repositories by stars", alt, note, frame, 2.6, partial(charts.decades, frame=frame))]


def _of_search(numbers: Numbers) -> list[Chart]:
    board, trials, curve = numbers["leaderboard"], numbers["trials"], numbers["learning_curve"]
    good = board[board["status"] == "ok"]
    first, dummy = good.iloc[0], good.loc[good["family"] == "dummy", "rmsle"].mean()
    families = board["family"].nunique()
    board_alt = (
        f"{families} model families under each feature policy. {first['family']} leads under {first['policy']}: "
    )
    board_alt += f"RMSLE {first['rmsle']:.3f} ± {first['spread']:.3f}; the dummy has {dummy:.3f}."
    done = trials[trials["stopped"] == DONE]
    trials_alt = f"{len(trials)} trials, {len(trials) - len(done) or 'none'} of them stopped early; "
    trials_alt += f"the best of the finished has RMSLE {done['rmsle'].min():.4f}."
    ends = [f"{policy}: from {part['rmsle'].iloc[0]:.3f} with {part['owners'].iloc[0]:,.0f} owners to "
            f"{part['rmsle'].iloc[-1]:.3f} with {part['owners'].iloc[-1]:,.0f}"
            for policy, part in curve.groupby("policy", sort=False)]  # fmt: skip
    return [
        _chart(
            "leaderboard",
            "Leaderboard",
            board_alt,
            "Mean over the folds of cross-validation, bars are the standard deviation over folds. The dotted line is the "
            "dummy, which answers the median for all.",
            board,
            1.6 + 0.3 * families,
            partial(charts.leaderboard, frame=board),
        ),
        _chart(
            "trials",
            "Trials over time",
            trials_alt,
            "Each mark is a configuration, the line the best that was judged on every fold. A cross was stopped after the "
            "fold that showed that it could not win; its score is what it would have had if its gap to the best had stayed.",
            trials,
            3.3,
            partial(charts.trials, frame=trials),
        ),
        _chart(
            "learning_curve",
            "Learning curve",
            f"RMSLE on the test side by policy and owners learnt from. {'; '.join(ends)}.",
            "The best configuration, fitted anew on an eighth, a quarter, a half and all of the training owners; bars are "
            f"the least and the most of three draws, of {searched.MOST_ROWS:,} repositories at most. A line that still falls "
            "says that more repositories would help.",
            curve,
            3.3,
            partial(charts.learning_curve, frame=curve),
        ),
    ]


def _of_test(numbers: Numbers) -> list[Chart]:
    points, decades, languages = numbers["predictions"], numbers["decades"], numbers["by_language"]
    asked, test = numbers.headline["nominal"], numbers.headline["test_repositories"]
    held = (points["inside"] == "inside").mean()
    made = [
        _chart(
            "predictions",
            "Predicted against true",
            f"True over predicted stars of {len(points)} test repositories, from {points['predicted'].min():,.0f} to "
            f"{points['predicted'].max():,.0f} predicted; {percent(held, 0)} of those drawn lie in their interval.",
            f"{len(points)} of {test:,} repositories of the test side, drawn evenly over the range of predictions, so that "
            "the many with few stars do not hide the others. A vertical bar is the interval, a circle a true count inside "
            "it, a cross one outside. The share of crosses among those drawn is not the share among all.",
            points,
            4.6,
            partial(charts.predictions, frame=points),
        )
    ]
    for name, frame, title in (
        ("decades", decades, "Coverage and error by true stars"),
        ("by_language", languages, "Coverage and error by language"),
    ):
        made.append(_groups(name, frame, title, asked))
    return made


def _groups(name: str, frame: pd.DataFrame, title: str, asked: float) -> Chart:
    label = frame.columns[0]
    frame = frame.assign(**{label: frame[label].map(printable)})
    worst, best = (frame.iloc[place] for place in (frame["coverage"].argmin(), frame["coverage"].argmax()))
    alt = f"Coverage is least, {percent(worst['coverage'])}, for {worst[label]} ({worst['repositories']:,} repositories) and "
    alt += f"most, {percent(best['coverage'])}, for {best[label]}; {percent(asked, 0)} was asked for."
    if len(frame) == 1:
        alt = f"All {worst['repositories']:,} test repositories are in one group, {worst[label]}: coverage is "
        alt += f"{percent(worst['coverage'])}, {percent(asked, 0)} was asked for."
    note = "Bars around coverage are 95 % intervals of a share (Wilson). In brackets: repositories of the test side."
    if label == "decade":
        note += " Errors are larger among repositories that are chosen by their true count: whoever has more stars than its "
        note += "figures tell is by nature predicted too low."
    height = 1.0 + 0.3 * len(frame)
    return _chart(
        name, title, alt, note, frame, height, partial(charts.groups, frame=frame, name=str(label), nominal=asked)
    )


def _of_calibration(numbers: Numbers) -> list[Chart]:
    means, levels, ranks = numbers["calibration"], numbers["nominal"], numbers["ranks"]
    own = levels[levels["interval"] == "of the bundle"].iloc[0]
    near = int(means["predicted"].between(means["true_low"], means["true_high"]).sum())
    far = (levels["coverage"] - levels["nominal"]).abs().max()
    return [
        _chart(
            "calibration",
            "Mean truth over mean prediction",
            f"In {near} of {len(means)} bins of prediction the mean truth lies within two standard errors of the mean "
            "prediction.",
            "Test repositories in bins of similar prediction; means are on the scale of the target, log1p(stars).",
            means,
            4.2,
            partial(charts.calibration, frame=means),
        ),
        _chart(
            "nominal",
            "Coverage at every level",
            f"Coverage is within {percent(far)} of what is asked at every level; the bundle's own intervals hold "
            f"{percent(own['coverage'])} where {percent(own['nominal'], 0)} was asked.",
            "Circles: central intervals made from the residuals of the 200 validation repositories of most similar "
            "prediction; star: the intervals of the bundle. Bars are 95 % intervals (Wilson).",
            levels,
            3.6,
            partial(charts.nominal, frame=levels),
        ),
        _chart(
            "ranks",
            "Ranks of the truth",
            f"Ten bins of ranks hold between {percent(ranks['share'].min())} and {percent(ranks['share'].max())} each; "
            f"{percent(0.1, 0)} is expected.",
            "The rank of each true count among what those 200 residuals would have made of it (the randomised probability "
            "integral transform for counts). Flat is calibrated, a hump too wide, a bowl too narrow, a slope off to one side.",
            ranks,
            3.0,
            partial(charts.ranks, frame=ranks),
        ),
    ]


def _of_reasons(numbers: Numbers) -> list[Chart]:
    made = []
    for name, frame in numbers.frames.items():
        if not name.startswith("importance_"):
            continue
        policy, top = name.removeprefix("importance_"), frame.head(BARS)
        alt = f"Under policy {policy} predictions move most with {top['feature'].iloc[0]} "
        alt += f"({top['contribution'].iloc[0]:.3f} nat), then {', '.join(top['feature'].iloc[1:4])}."
        made.append(
            _chart(
                name,
                f"Policy {policy}",
                alt,
                f"The {len(top)} of {len(frame)} features that move predictions most. Left: what the model adds or takes for "
                "the feature, in mean. Right: the growth of the squared error when it was shuffled at selection.",
                frame,
                0.9 + 0.24 * len(top),
                partial(charts.importance, frame=top),
            )
        )
    return made

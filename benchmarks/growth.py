"""Forecasts for 30, 90 and 365 days from 26 weeks of history: trained on data before a day, tested on later origins.

    python benchmarks/growth.py ranking-weekly.parquet
    python benchmarks/growth.py FILE --anomalies anomalies.csv   also write every anomaly

Prophet and StatsForecast (AutoETS, AutoTheta), if they are installed (stargaze[bench] includes Prophet), forecast a
random subset of the test examples, one series each; stargaze is evaluated on the same examples.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.forecast import find_milestone
from stargaze.bundle.growth_bundle import HorizonModel, log_growth
from stargaze.config import GrowthSection, TuningSection
from stargaze.features.history.clean import clean_history
from stargaze.features.history.read import read_history
from stargaze.tuning.growth.evaluate import evaluate_horizons, growth_scores
from stargaze.tuning.growth.examples import Examples
from stargaze.tuning.growth.fit import MILESTONE_COVERAGE
from stargaze.tuning.growth.tune_growth import fit_horizons

DAY_ZERO = date(2000, 1, 1)
ForecastMethod = Callable[[np.ndarray, int], float]
"""A forecast of another library: from weekly counts and a number of days to a count."""


def main() -> None:
    """Read the arguments, print the anomalies of the history, fit, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--train-until", default=GrowthSection().train_until)
    parser.add_argument("--weeks", type=int, default=GrowthSection().history_weeks)
    parser.add_argument("--subset", type=int, default=300, help="examples per horizon for Prophet and StatsForecast")
    parser.add_argument("--anomalies", type=Path, help="write every anomaly to this CSV")
    arguments = parser.parse_args()
    start, section = time.monotonic(), GrowthSection(train_until=arguments.train_until, history_weeks=arguments.weeks)
    table = read_history(arguments.file, now=datetime.now(UTC))
    for item in table.refused:
        print(item.as_text())
    history = table.frame
    series = clean_history(history)
    whole = series.frame
    print(f"{len(whole):,} counts of {whole['full_name'].nunique():,} repositories; broken and renamed series:")
    print(pd.DataFrame(series.as_rows()).to_string(index=False))
    if arguments.anomalies:
        series.anomalies.to_csv(arguments.anomalies, index=False)
    fitted, examples, _ = fit_horizons(section, TuningSection(), history, series, lambda _what, _done: None)
    models = {days: horizon.model for days, horizon in fitted.items()}
    print(
        f"\nhistory of {arguments.weeks} weeks, trained until {arguments.train_until}; "
        "R² of log((later + 1) / (now + 1)), error of the stars gained"
    )
    print(_format_table(pd.DataFrame(evaluate_horizons(models, examples))))
    print("\ncoverage of the 90% interval, and its width, by stars and by expected error")
    print(
        pd.DataFrame([row for days in examples for row in _coverage(models[days], examples[days][1])])
        .round(3)
        .to_string(index=False)
    )
    print(_milestones(models, examples[max(examples)][1]))
    print(
        f"\n{time.monotonic() - start:.0f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB peak memory"
    )
    if methods := _other_methods():
        print(f"\n{arguments.subset} random test examples per horizon, compared with {', '.join(methods)}")
        rows = [row for days in examples for row in _compare(models[days], examples[days], methods, arguments.subset)]
        print(_format_table(pd.DataFrame(rows)))


def _format_table(rows: pd.DataFrame) -> str:
    shown = rows.drop(columns="median_nat")
    return shown.round(3).astype("object").where(shown.notna(), "").to_string(index=False)


def _coverage(model: HorizonModel, test: Examples) -> list[dict[str, Any]]:
    """Return coverage and width by decade of stars and by quarter of the interval's width."""
    _, low, high = model.growth(test.origins, test.features)
    inside, width = (low <= test.growth) & (test.growth <= high), high - low
    decade = np.floor(np.log10(np.maximum(test.origins.current_stars, 1.0)))
    quarter = np.searchsorted(np.quantile(width, (0.25, 0.5, 0.75)), width)
    parts = {f"{10**power:,.0f} to {10 ** (power + 1):,.0f} stars": decade == power for power in np.unique(decade)}
    parts |= {f"quarter {number + 1} by width": quarter == number for number in range(4)}
    return [
        {
            "days": test.days,
            "part": name,
            "examples": int(chosen.sum()),
            "coverage": inside[chosen].mean(),
            "width [nat]": np.median(width[chosen]),
        }
        for name, chosen in parts.items()
        if chosen.sum() >= 100
    ]


def _milestones(models: dict[int, HorizonModel], test: Examples) -> str:
    """Return how many milestones were reached inside their range of dates, of origins whose next year is known."""
    days, origins, counts = sorted(models), test.origins, test.origins.counts
    curves = [models[day].growth(origins, test.features, models[day].milestone_offsets) for day in days]
    stars, last = counts.column("stars"), np.searchsorted(counts.series, origins.series, side="right")
    late = early = total = open_ended = 0
    for i, row in enumerate(origins.rows):
        growth = [[float(values[i]) for values in curve] for curve in curves]
        milestone = find_milestone(float(stars[row]), DAY_ZERO, days, growth, MILESTONE_COVERAGE)
        if milestone is None:
            continue
        reached = np.flatnonzero(stars[row : last[i]] >= milestone.stars)
        reached_on = _day_of(stars, counts.day, row + reached[0], milestone.stars) if len(reached) else np.inf
        after = reached_on - origins.day[i]
        total, open_ended = total + 1, open_ended + (milestone.latest is None)
        early += np.ceil(after) < (milestone.earliest - DAY_ZERO).days
        late += milestone.latest is not None and after > (milestone.latest - DAY_ZERO).days
    return (
        f"\n{total} milestones are expected within {days[-1]} days ({open_ended} ranges are open): "
        f"{1 - (early + late) / total:.1%} were reached inside the {100 * MILESTONE_COVERAGE:g}% range, "
        f"{early / total:.1%} before it, {late / total:.1%} after it"
    )


def _day_of(stars: np.ndarray, day: np.ndarray, row: int, count: float) -> float:
    """Return the day on which a count was reached, interpolated between the row and the one before it."""
    share = (count - stars[row - 1]) / (stars[row] - stars[row - 1])
    return float(day[row - 1] + share * (day[row] - day[row - 1]))


def _compare(
    model: HorizonModel, examples: tuple[Examples, Examples], methods: dict[str, ForecastMethod], number: int
) -> list[dict[str, Any]]:
    train, test = examples
    rows_of_test = np.sort(np.random.default_rng(0).permutation(len(test))[:number])
    part = test.subset(rows_of_test)
    rows = evaluate_horizons({part.days: model}, {part.days: (train, part)})
    for name, method in methods.items():
        with ProcessPoolExecutor() as pool:
            predicted = np.array(list(pool.map(method, part.origins.stars, [part.days] * len(part), chunksize=10)))
        growth = log_growth(part.origins.current_stars, np.maximum(predicted, 0.0))
        rows.append({"days": part.days, "method": name, "examples": len(part)} | growth_scores(part, growth))
    return rows


def _other_methods() -> dict[str, ForecastMethod]:
    methods: dict[str, ForecastMethod] = {}
    if importlib.util.find_spec("prophet"):
        methods["Prophet"] = prophet
    if importlib.util.find_spec("statsforecast"):
        methods |= {"AutoETS": auto_ets, "AutoTheta": auto_theta}
    return methods


def prophet(stars: np.ndarray, days: int) -> float:
    """Forecast with Prophet; seasonality is off because the history is too short for it."""
    for name in ("cmdstanpy", "prophet", "prophet.plot"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from prophet import Prophet

    weeks = pd.date_range("2024-01-01", periods=len(stars), freq="7D")
    model = Prophet(yearly_seasonality=False, weekly_seasonality=False, daily_seasonality=False, uncertainty_samples=0)
    model.fit(pd.DataFrame({"ds": weeks, "y": stars}))
    later = pd.DataFrame({"ds": [weeks[-1] + pd.Timedelta(days=days)]})
    return float(model.predict(later)["yhat"].iloc[0])


def auto_ets(stars: np.ndarray, days: int) -> float:
    """Forecast with exponential smoothing, selected by AICc."""
    from statsforecast.models import AutoETS

    return _weekly(AutoETS(season_length=1), stars, days)


def auto_theta(stars: np.ndarray, days: int) -> float:
    """Forecast with the best of the theta methods."""
    from statsforecast.models import AutoTheta

    return _weekly(AutoTheta(season_length=1), stars, days)


def _weekly(model: Any, stars: np.ndarray, days: int) -> float:
    """Interpolate a weekly forecast linearly at a day."""
    path = model.forecast(y=stars.astype("float64"), h=days // 7 + 1)["mean"]
    return float(np.interp(days / 7, np.arange(len(path) + 1), [stars[-1], *path]))


if __name__ == "__main__":
    main()

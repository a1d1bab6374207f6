"""Predictions and forecasts for the terminal, without queue and worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.bundle.forecast import GrowthForecast, forecast_growth, next_round_number
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import GrowthSection
from stargaze.errors import BadDataError, InvalidInputError, MissingInputError, StargazeError, did_you_mean
from stargaze.features.history.read import read_history
from stargaze.features.history.table_format import ANY_FORMAT, HistoryFormat
from stargaze.features.ingest.parsing.repository_names import parse_name
from stargaze.features.ingest.user_input import METRICS_HINT, UnknownRepositoryError
from stargaze.features.ingest.validate import shorten
from stargaze.formatting import format_factor, format_stars
from stargaze.serve.lookup.exclusion import ExcludedRepositoryError, Exclusions
from stargaze.serve.lookup.growth import load_answering_growth, load_growth_bundle
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.lookup.star_history import StarHistories, coming_milestone
from stargaze.serve.prediction.answer import answer_or_raise
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.milestone_text import milestone_text
from stargaze.serve.prediction.sentence import SET_NOTES, prediction_sentence
from stargaze.serve.prediction_request import Answer, PredictionRequest, error_details
from stargaze.store import Store
from stargaze.system.progress import Notify

MAX_FACTORS = 3
SERVE_HINT = "stargaze serve looks it up on GitHub"


def predict_locally(
    store: Store,
    names: Sequence[str],
    *,
    now: datetime,
    history: str = "",
    form: HistoryFormat = ANY_FORMAT,
    exclude: Iterable[str] = (),
) -> Answer:
    """Return the answer that the page gives without GitHub.

    ``history`` names the file of the star histories, and ``form`` its format; ``exclude`` are the repositories of
    ``serve.exclude``.
    """
    unique, invalid = _parse_names(names)
    bundle = Bundle.load(find_bundle(store))
    exclusions = Exclusions.parse(exclude)
    lookup, growth = BundledRepositories(bundle, exclusions), load_answering_growth(store)
    histories = StarHistories(store, history, form=form)
    context = PredictionContext(bundle, lookup, histories, growth=growth, exclusions=exclusions)
    try:
        answer = answer_or_raise(context, PredictionRequest(tuple(unique.values())), now)
    except StargazeError as error:
        error.hint = _terminal_hint(error.hint)
        raise
    errors = [{**error, "hint": _terminal_hint(error["hint"])} for error in answer["errors"]]
    return {**answer, "errors": [*invalid, *errors]}


def _parse_names(names: Sequence[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return each name by its lower case, as GitHub's names are not case-sensitive, and an error for each text that is none.

    Raise the error if no text is a name.
    """
    unique: dict[str, str] = {}
    errors: dict[str, StargazeError] = {}
    for text in names:
        try:
            name = parse_name(text)
            unique.setdefault(name.lower(), name)
        except InvalidInputError as error:
            errors[text] = error
    if not unique:
        raise next(iter(errors.values()))
    return unique, [{"name": shorten(text), **error_details(error)} for text, error in errors.items()]


def _terminal_hint(hint: str) -> str:
    """Return a hint without the form of the page."""
    return hint.replace(METRICS_HINT, SERVE_HINT)


def answer_lines(answer: Answer) -> list[str]:
    """Return up to four lines for each repository: sentence, strongest factors, what it differs in, its set; last the bundle."""
    lines = []
    for prediction in answer["predictions"]:
        factors = prediction["explanation"]["factors"][:MAX_FACTORS]
        texts = [f"{_name_factor(item)} {format_factor(item['factor'])}" for item in factors]
        unlike = (prediction["unlike_training"] or {}).get("text", "")
        details = ["; ".join(texts), unlike, SET_NOTES.get(prediction["set"], "")]
        lines += [prediction_sentence(prediction), *(f"  {text}" for text in details if text)]
    return [*lines, f"bundle {answer['digest'][:12]}"]


def _name_factor(item: Mapping[str, Any]) -> str:
    """Return the label and the value of a factor; the text of a repository has no short value.

    >>> _name_factor({"label": "topics", "value": "2"}), _name_factor({"label": "words of the name", "value": ""})
    ('topics (2)', 'words of the name')
    """
    return f"{item['label']} ({item['value']})" if item["value"] else str(item["label"])


def find_bundle(store: Store) -> Path:
    """Return the released bundle, or the newest if none is released."""
    if store.current.is_dir():
        return store.current
    if store.latest.is_file():
        return store.bundles / store.latest.read_text(encoding="utf-8").strip()
    raise MissingInputError(f"there is no bundle below {store.root} yet", hint="stargaze run, or stargaze tune")


def forecast_rows(
    section: GrowthSection,
    store: Store,
    names: Sequence[str],
    *,
    now: datetime,
    exclude: Iterable[str] = (),
    notify: Notify = lambda _line: None,
) -> tuple[list[dict[str, Any]], list[StargazeError]]:
    """Return one row for each repository and horizon, and an error for each name without a forecast; raise if all have none.

    A row has last count and its day, forecast and interval [stars], and the repository's next milestone, None if it is not
    expected before the last horizon or its dates have passed. ``exclude`` are the repositories of ``serve.exclude``; ``notify``
    receives a line for each reason for which rows of the history are left out.
    """
    unique = {name.lower(): name for name in map(parse_name, names)}
    bundle, exclusions = load_growth_bundle(store), Exclusions.parse(exclude)
    path = store.history(section.history_file)
    history = _read_history(section, path, now, notify)
    history = history[[not exclusions.match(name) for name in history["full_name"]]]
    rows: list[dict[str, Any]] = []
    errors: list[StargazeError] = []
    lower = history["full_name"].str.lower()
    for key, name in unique.items():
        own_history = history[lower == key]
        if exclusions.match(name):
            errors.append(ExcludedRepositoryError())
        elif own_history.empty:
            fetched = f"stargaze fetch --name {name} --star-history {name}"
            command = f"add its counts to {path}, or unset growth.history_file" if section.history_file else fetched
            hint = did_you_mean(name, history["full_name"].unique(), command, cutoff=0.7)
            errors.append(UnknownRepositoryError(f"{name} is not in {path}", hint=hint))
        else:
            try:
                growth = forecast_growth(bundle, own_history)
                rows += _forecast_rows(growth, own_history["full_name"].iloc[-1], now)
            except BadDataError as error:  # too short since its last break
                errors.append(error)
    if not rows:
        raise errors[0]
    return rows, errors


def _read_history(section: GrowthSection, path: Path, now: datetime, notify: Notify) -> pd.DataFrame:
    table = read_history(path, now=now, form=HistoryFormat.of(section))
    for item in table.refused:
        notify(f"{path}: {item.as_text()}")
    return table.frame


def _forecast_rows(growth: GrowthForecast, name: str, now: datetime) -> list[dict[str, Any]]:
    milestone = coming_milestone(growth.milestone.to_json() if growth.milestone else None, now.date().isoformat())
    return [
        {
            "repository": name,
            "last_day": growth.last_day.isoformat(),
            "stars": growth.current_stars,
            "days": point.days,
            "forecast": point.stars,
            "low": point.low,
            "high": point.high,
            "milestone": milestone,
        }
        for point in growth.points
    ]


def milestone_lines(rows: Sequence[Mapping[str, Any]], today: date) -> list[str]:
    """Return one line about the next milestone of each repository of :func:`forecast_rows`."""
    last_rows = {row["repository"]: row for row in rows}
    return [f"{name}: {_milestone_line(row, today)}" for name, row in last_rows.items()]


def _milestone_line(row: Mapping[str, Any], today: date) -> str:
    if row["milestone"]:
        return milestone_text(row["milestone"])
    if date.fromisoformat(row["last_day"]) + timedelta(days=row["days"]) <= today:
        return f"the star history ends on {row['last_day']}, and the days of its forecast have passed"
    number = next_round_number(row["stars"])
    if row["forecast"] >= number:
        return f"{format_stars(number)} {'was' if number == 1 else 'were'} expected before today"
    return f"{format_stars(number)} {'is' if number == 1 else 'are'} not expected within {row['days']} days of {row['last_day']}"

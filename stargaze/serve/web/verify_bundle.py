"""Use a release, or a star bundle, as worker and page will, before it is installed.

``python -m stargaze.serve.web.verify_bundle FOLDER``: the folder has a star bundle and perhaps, in ``growth/``, a growth bundle.

The hooks run it in the sandbox: a fault here refuses the release, where in production it would fail every request.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.formats.skops_model import SkopsModel
from stargaze.bundle.manifest import BadBundleError
from stargaze.bundle.serialization import LeafModel, Model
from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import StargazeError
from stargaze.features.ingest.validate import validate_columns
from stargaze.serve.lookup.growth import load_release_growth
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.lookup.star_history import to_forecast
from stargaze.serve.prediction.answer import FAULTS, answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.contributions import contributions
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.serve.release.release_folder import check_release_name
from stargaze.serve.web.views.bundle_view import load_bundle_view
from stargaze.serve.web.views.model_card import model_card
from stargaze.serve.web.views.prediction_view import prediction_views

MAX_ROWS = 300
"""Known repositories that are predicted."""
EXTREMES = (np.nan, 1e9, 1e30, -1e30, *range(-1, 100))
"""Values that models must predict in every column: missing, too large, and each code of a category."""
MAX_EXPLAINED = 30
"""Known repositories whose contributions are computed; for some models one takes a tenth of a second."""
MAX_NAMES = 5
"""Known repositories that are requested by name."""
MAX_SECONDS = 10.0
"""Time of one answer [s of CPU]; real ones take a tenth of a second."""
LAST_DAY = datetime(9999, 1, 1, tzinfo=UTC)
HINT = "stargaze tune writes a new bundle; production was not changed"


def main(arguments: Sequence[str]) -> int:
    """Verify one folder and return the exit code; an error is printed to stderr as one line."""
    try:
        verify_bundle(Path(arguments[0]))
    except StargazeError as error:
        sys.stderr.write(f"{error.message} ({error.hint})\n")
        return 1
    return 0


def verify_bundle(folder: Path) -> None:
    """Raise BadBundleError if the bundles cannot predict, explain, forecast, answer a request or fill the model card."""
    bundle = Bundle.load(folder)
    bundle.check_prototype()
    checks: dict[str, Callable[[], None]] = {
        "known repositories": lambda: _check_known(bundle),
        "models": lambda: _check_models(bundle),
        "answers": lambda: _check_answers(bundle),
        "model card": lambda: _check_model_card(folder),
        "growth bundle": lambda: _check_growth(bundle, folder),
    }
    for part, check in checks.items():
        try:
            check()
        except BadBundleError:
            raise
        except FAULTS as error:
            raise BadBundleError(f"the bundle's {part} failed: {error!r}"[:300], hint=HINT) from error


def _check_known(bundle: Bundle) -> None:
    """Compare the known repositories with what ``fetch`` accepts, as of the day of the newest data."""
    known = bundle.known
    if known["full_name"].str.lower().duplicated().any():
        raise BadBundleError("known.parquet contains a repository twice", hint=HINT)
    latest = datetime.fromisoformat(bundle.meta["data"]["latest"])
    _, invalid = validate_columns(known, min(latest if latest.tzinfo else latest.replace(tzinfo=UTC), LAST_DAY))
    if invalid:
        raise BadBundleError(f"known.parquet, row {invalid[0][0] + 1}: {invalid[0][1]}", hint=HINT)


def _check_models(bundle: Bundle) -> None:
    """Compute predictions, intervals, contributions and leaf indices of known repositories, and predictions of extremes."""
    features = bundle.known_features[_spaced(len(bundle.known), MAX_ROWS)]
    features = np.vstack([features, np.full((1, len(bundle.columns)), np.nan, dtype="float32")])
    extremes = np.repeat(np.array(EXTREMES, dtype="float32")[:, np.newaxis], len(bundle.columns), axis=1)
    for policy, ensemble in bundle.models.items():
        inputs = bundle.select_inputs(features, policy)
        for model in ensemble.models:
            rows = np.vstack([inputs, bundle.select_inputs(extremes, policy)])
            _check_model(model, rows, f"a model of policy {policy}")
        explained = inputs[_spaced(len(inputs), _count_explained(ensemble.models))]
        _require_numbers(
            contributions(bundle, explained, policy)[1], (len(explained), inputs.shape[1] + 1), "contributions"
        )
    for answer_policy in bundle.answer_policies:
        inputs = bundle.select_inputs(features, answer_policy.policy)
        predicted = bundle.predict(inputs, answer_policy.policy)
        spread = bundle.spread(inputs, predicted, answer_policy.policy)
        _require_numbers(spread, (len(inputs),), f"the error model of policy {answer_policy.policy}")
        bounds = bundle.predict_with_interval(features, answer_policy)
        _require_numbers(np.stack(bounds), (3, len(inputs)), f"the intervals of policy {answer_policy.policy}")


def _count_explained(models: Sequence[Model]) -> int:
    """Return the number of rows to explain: few if contributions are sampled, with hundreds of predictions each."""
    return 2 if any(isinstance(model, SkopsModel) for model in models) else MAX_EXPLAINED


def _check_model(model: Model, inputs: np.ndarray, name: str) -> None:
    _require_numbers(np.asarray(model.predict(inputs)), (len(inputs),), name)
    if isinstance(model, LeafModel) and len(model.leaf_indices(inputs)) != len(inputs):
        raise BadBundleError(f"{name} has no leaf for some rows", hint=HINT)


def _require_numbers(values: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    if values.shape != shape or values.dtype.kind not in "fi" or not np.isfinite(values).all():
        raise BadBundleError(f"{name} returns something else than finite numbers", hint=HINT)


def _check_answers(bundle: Bundle) -> None:
    """Answer requests for known repositories and for entered figures, and prepare the page that shows them."""
    context = PredictionContext(bundle, BundledRepositories(bundle))
    context.prepare()
    names = [str(bundle.known["full_name"].iloc[row]) for row in _spaced(len(bundle.known), MAX_NAMES)]
    requests = [PredictionRequest(repositories=(name,)) for name in names]
    begin = time.process_time()
    answer_requests(context, requests[:1], datetime.now(UTC))
    if time.process_time() - begin > MAX_SECONDS:
        raise BadBundleError(f"one answer takes longer than {MAX_SECONDS:g} s", hint=HINT)
    requests.append(PredictionRequest(figures=({"full_name": "owner/name", "language": "Python", "forks": 10},)))
    for answer in answer_requests(context, requests, datetime.now(UTC)):
        predictions: Any = answer.get("predictions")
        if predictions is None:
            raise BadBundleError(f"a request fails: {answer['message']}", hint=HINT)
        json.dumps(answer, allow_nan=False).encode()
        prediction_views(predictions)


def _check_model_card(folder: Path) -> None:
    view = load_bundle_view(folder)
    shown = [
        model_card(view),
        view.training_population,
        view.training_choice,
        view.coverage_by_decade,
        sorted(view.fields),
        view.data_date,
        view.examples,
    ]
    json.dumps(shown, allow_nan=False).encode()


def _check_growth(bundle: Bundle, folder: Path) -> None:
    """Forecast histories of every kind, as the answer shows them."""
    try:
        growth = load_release_growth(folder)
    except BadBundleError as error:
        raise BadBundleError(f"growth bundle: {error.message}", hint=error.hint) from error
    check_release_name(folder, bundle.digest, growth.digest if growth else None)
    for history in _histories(growth.weeks + 1) if growth else ():
        begin = time.process_time()
        answer = to_forecast(history, growth)
        if time.process_time() - begin > MAX_SECONDS:
            raise BadBundleError(f"growth bundle: one forecast takes longer than {MAX_SECONDS:g} s", hint=HINT)
        if answer["forecast"] is None:
            raise BadBundleError(f"growth bundle: {answer['history_note']}", hint=HINT)
        json.dumps(answer, allow_nan=False).encode()


def _histories(weeks: int) -> list[pd.DataFrame]:
    """Return histories without growth, with constant and with exponential growth, as long as a forecast needs them."""
    days = pd.date_range("2024-01-01", periods=weeks, freq="7D", tz="UTC")
    step = np.arange(weeks)
    counts = (np.zeros(weeks), np.full(weeks, 1e6), 1000.0 + 7 * step, np.floor(10 * np.exp(3 * step / weeks)))
    return [pd.DataFrame({"full_name": "owner/name", "date": days, "stars": stars}) for stars in counts]


def _spaced(n: int, most: int) -> list[int]:
    """Return at most so many rows of n, the first and the last among them.

    >>> _spaced(10, 3), _spaced(2, 3)
    ([0, 4, 9], [0, 1])
    """
    rows: list[int] = np.linspace(0, n - 1, min(n, most)).astype("int64").tolist()
    return rows


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

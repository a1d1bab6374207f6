"""Use a changed bundle as hook, worker and page do, and classify the result."""

from __future__ import annotations

import functools
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stargaze.bundle.forecast import forecast_growth
from stargaze.bundle.growth_bundle import GrowthBundle, last_origin
from stargaze.bundle.serialization import LeafModel
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.errors import StargazeError
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.serve.web.app import make_web
from stargaze.serve.web.verify_bundle import verify_bundle
from stargaze.serve.web.views.prediction_view import prediction_views
from stargaze.store import Store
from tests.fuzz.cases import FileType
from tests.histories import one_history
from tests.serve.fake_queue import FakePredictionQueue

REFUSED, USED = "refused", "used"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FIGURES: list[dict[str, Any]] = [
    {"full_name": "a/b", "language": "Go", "forks": 3, "contributors": 1},
    {"full_name": "c/d", "forks": 0, "subscribers": 10**9, "size_kb": 10**9, "releases": 10**9},
    {"full_name": "e/f", "owner_type": "Organization", "description": "a web framework"},
]
EXTREMES = (np.nan, 0.0, -1.0, 1e9, 1e30, -1e30)
HISTORIES = [one_history("a/b", np.linspace(first, last, 120)) for first, last in ((0, 10), (100, 1e6))]


class LaterFailureError(Exception):
    """A bundle was accepted and failed later."""


def use_bundle(file_type: FileType, folder: Path, store: Store) -> str:
    """Return whether the bundle was refused or used; any other exception than LaterFailureError is a fault of the check."""
    logging.disable()
    if file_type.is_model and file_type.kind == "stars":
        _keep_known(folder)
    if file_type.changes_predictions:
        Bundle.check_prototype = lambda _self: None  # type: ignore[method-assign]
        GrowthBundle.check_prototype = lambda _self: None  # type: ignore[method-assign]
    try:
        if file_type.kind == "growth":
            GrowthBundle.load(folder)
        else:
            verify_bundle(folder)
    except StargazeError as error:
        if "\n" in error.message or len(error.message) > 700:
            raise ValueError(f"not one line: {error.message[:1000]}") from error
        return REFUSED
    try:
        if file_type.kind == "growth":
            _use_growth_bundle(folder)
        elif file_type.is_model:  # requests were answered by the verification
            _use_models(Bundle.load(folder))
        else:
            _use_star_bundle(folder, store)
    except Exception as error:
        raise LaterFailureError(repr(error)) from error
    return USED


def _keep_known(folder: Path) -> None:
    """Let all bundles of this process share the known repositories, which their files have in common."""
    if not isinstance(Bundle.known, property):
        meta, table = json.loads((folder / "bundle.json").read_bytes()), (folder / "known.parquet").read_bytes()
        valid = Bundle("", meta, {"known.parquet": table})
        known, features = valid.known, valid.known_features
        Bundle.known = property(lambda _self: known)  # type: ignore[assignment]
        Bundle.known_features = property(lambda _self: features)  # type: ignore[assignment]


def _use_growth_bundle(folder: Path) -> None:
    bundle = GrowthBundle.load(folder)
    for history in HISTORIES:
        if len(history) > bundle.weeks:
            forecast = forecast_growth(bundle, history)
            milestone = forecast.milestone and forecast.milestone.to_json()
            json.dumps([*map(vars, forecast.points), milestone], allow_nan=False)
            assert all(0 <= point.low <= point.stars <= point.high for point in forecast.points)
    features = bundle.compute_features(last_origin(HISTORIES[1], min(bundle.weeks, 100)))
    for horizon in bundle.horizon_models:
        for value in EXTREMES:
            rows = np.full((2, features.shape[1]), value)
            assert np.isfinite(horizon.model.predict(rows)).all()
            assert np.isfinite(horizon.difficulty.predict(rows)).all()


def _use_star_bundle(folder: Path, store: Store) -> None:
    bundle = Bundle.load(folder)
    context = PredictionContext(bundle, BundledRepositories(bundle))
    context.prepare()
    names = bundle.known["full_name"].tolist()
    requests = [PredictionRequest(repositories=tuple(names[i : i + 5])) for i in range(0, len(names), 5)][:3]
    requests += [PredictionRequest(figures=(figures,)) for figures in FIGURES]
    requests.append(PredictionRequest(figures=(FIGURES[0],), what_if={"license": "mit"}, explain=False))
    for answer in answer_requests(context, requests, NOW):
        predictions: Any = answer.get("predictions")
        assert predictions is not None, answer
        json.dumps(answer, allow_nan=False).encode()
        prediction_views(predictions)
    _use_models(bundle)
    _use_pages(folder, store, bundle)


def _use_models(bundle: Bundle) -> None:
    """Predict rows that no request contained yet."""
    random = np.random.default_rng(0)
    for policy, ensemble in bundle.models.items():
        n = len(bundle.meta["features"][policy])
        rows = np.vstack([np.full((1, n), value) for value in EXTREMES] + [random.normal(size=(10, n)) * 100.0]).astype(
            "float32"
        )
        rows[len(EXTREMES) :, 0] = np.arange(10)  # a category
        for model in ensemble.models:
            assert np.isfinite(model.predict(rows)).all()
            exact = model.contributions(rows)
            assert exact is None or np.isfinite(exact).all()
            if isinstance(model, LeafModel):
                assert len(model.leaf_indices(rows)) == len(rows)


def _use_pages(folder: Path, store: Store, bundle: Bundle) -> None:
    """Render the pages that contain values of the bundle."""
    store.serving.mkdir(parents=True, exist_ok=True)
    target = folder.rename(folder.with_name(bundle.digest))  # the page reloads a bundle of another name
    store.current.unlink(missing_ok=True)
    store.current.symlink_to(target)
    try:
        client, queue = _page(store.root)
        queue.bundle = bundle
        names = bundle.known["full_name"].tolist()
        for path in ("/", "/model", "/api/v1/names?q=a", f"/?repository={names[0]}" if names else "/"):
            response = client.get(path)
            assert response.status_code < 500, (path, response.status_code)
    finally:
        target.rename(folder)


@functools.cache
def _page(root: Path) -> tuple[Any, FakePredictionQueue]:
    """Return one page for all bundles of this process, and its queue."""
    queue = FakePredictionQueue(None)  # type: ignore[arg-type]  # set for each bundle
    return make_web(ServeSection(rate_limit=0), Store(root), queue, lambda: NOW).test_client(), queue

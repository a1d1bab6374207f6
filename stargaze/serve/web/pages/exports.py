"""Results in other formats: CSV and JSON files, a badge, a social card, and a page to try the API."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, render_template

from stargaze.errors import InvalidInputError, StargazeError
from stargaze.formatting import format_short
from stargaze.serve.prediction_request import Answer, PredictionJob, PredictionQueue
from stargaze.serve.queue.long_polling import LongPoller
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.web.api.rate_limit import RateLimitedError
from stargaze.serve.web.api.routes import job_to_json
from stargaze.serve.web.error_responses import visible_error
from stargaze.serve.web.pages.result_routes import find_repository
from stargaze.serve.web.prediction_jobs import get_or_404, status_of_job
from stargaze.serve.web.problems import PROBLEMS
from stargaze.serve.web.views.bundle_view import BundleView
from stargaze.serve.web.views.images import render_badge, render_card
from stargaze.serve.web.views.prediction_view import readable_job

CSV_COLUMNS = (
    *("rank", "full_name", "source", "fetched_at", "expected_stars", "interval_low", "interval_high", "coverage"),
    *("actual_stars", "ratio", "inside_interval", "percentile", "policy", "enough_data", "in_training_data", "set"),
    *("bundle", "error"),
)
CROSS_ORIGIN = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""Other sites embed the badge."""
MAX_AGE, MAX_AGE_PENDING = 3600, 5
"""Time for which a picture of a result, and a neutral one, may be cached [s]."""
MAX_WAIT = 5.0
"""Time that a picture waits for its result [s]."""
MAX_WAITING = 8
"""Pictures of a process that wait at the same time; others are neutral."""
MAX_CACHED_CARDS = 256
"""Maximum number of cached cards, of some 10 kB each."""


def exports_blueprint(
    queue: PredictionQueue, view: HotReloaded[BundleView], clock: Callable[[], datetime]
) -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("exports", __name__)
    _add_files(blueprint, queue)
    _add_images(blueprint, queue, clock)

    @blueprint.get("/try")
    def try_api() -> str:
        names = view.get().examples[:1] or ("owner/name",)
        example = json.dumps({"repositories": list(names)})
        owner, _, name = names[0].partition("/")
        return render_template("try.html", view=view.get(), example=example, owner=owner, name=name, problems=PROBLEMS)

    return blueprint


def _add_files(blueprint: Blueprint, queue: PredictionQueue) -> None:
    @blueprint.get("/predictions/<job_id>.csv")
    def as_csv(job_id: str) -> Response:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        answer = _answered_or_404(queue, job_id)[1]
        rows = [*answer["predictions"], *({"full_name": e["name"], "error": e["message"]} for e in answer["errors"])]
        for row in rows:
            writer.writerow(
                {name: _escape_formula(value) for name, value in {**row, "bundle": answer["digest"]}.items()}
            )
        return _file_response(stream.getvalue(), "text/csv", job_id, "csv")

    @blueprint.get("/predictions/<job_id>.json")
    def as_json(job_id: str) -> Response:
        job, _ = _answered_or_404(queue, job_id)
        return _file_response(json.dumps(job_to_json(job), indent=1) + "\n", "application/json", job_id, "json")


def _add_images(blueprint: Blueprint, queue: PredictionQueue, clock: Callable[[], datetime]) -> None:
    find_prediction = partial(_find_prediction, queue, LongPoller(queue, MAX_WAITING), clock)

    @blueprint.get("/badge/<owner>/<name>.svg")
    def badge(owner: str, name: str) -> Response:
        status, prediction, seconds = find_prediction(owner, name)
        if prediction is None:
            text = "unknown" if status == HTTPStatus.NOT_FOUND else "see page"
            return _image_response(render_badge(text, known=False), "svg+xml", seconds, status)
        text = format_short(prediction["expected_stars"]) if prediction["enough_data"] else "not enough data"
        return _image_response(render_badge(text, known=prediction["enough_data"]), "svg+xml", seconds)

    @blueprint.get("/card/<owner>/<name>.png")
    def card(owner: str, name: str) -> Response:
        status, prediction, seconds = find_prediction(owner, name)
        if status == HTTPStatus.NOT_FOUND:
            abort(status)
        if prediction is None:
            return _image_response(render_card(None, f"{owner}/{name}"), "png", seconds, status)
        return _image_response(_cached_card(json.dumps(prediction)), "png", seconds)


def _find_prediction(
    queue: PredictionQueue, poller: LongPoller, clock: Callable[[], datetime], owner: str, name: str
) -> tuple[HTTPStatus, dict[str, Any] | None, int]:
    """Return status, prediction (None if there is none yet or will be none), and how long the picture may be cached [s]."""
    try:
        job = find_repository(queue, clock, owner, name)
        job = readable_job(poller.wait(job, MAX_WAIT) or job)
    except InvalidInputError:
        return HTTPStatus.NOT_FOUND, None, MAX_AGE_PENDING
    except RateLimitedError:
        raise  # it is about one visitor, and pictures are cached for all
    except StargazeError as error:
        visible_error(error)  # logged: a picture has no room for it
        return HTTPStatus.SERVICE_UNAVAILABLE, None, MAX_AGE_PENDING
    if job.answer is None:
        return status_of_job(job), None, MAX_AGE_PENDING
    return HTTPStatus.OK, job.answer["predictions"][0], int(min(max(job.expires_in(clock()), 0), MAX_AGE))


def _answered_or_404(queue: PredictionQueue, job_id: str) -> tuple[PredictionJob, Answer]:
    job = readable_job(get_or_404(queue, job_id))
    if job.answer is None:
        abort(HTTPStatus.NOT_FOUND)
    return job, job.answer


@functools.lru_cache(MAX_CACHED_CARDS)
def _cached_card(prediction: str) -> bytes:
    values: dict[str, Any] = json.loads(prediction)
    return render_card(values, values["full_name"])


def _file_response(text: str, mimetype: str, job_id: str, suffix: str) -> Response:
    filename = f"stargaze-{job_id[:8]}.{suffix}"
    return Response(text, mimetype=mimetype, headers={"Content-Disposition": f'attachment; filename="{filename}"'})


def _image_response(data: str | bytes, kind: str, max_age: int, status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = {**CROSS_ORIGIN, "Cache-Control": f"public, max-age={max_age}"}
    response = Response(data, status, headers, mimetype=f"image/{kind}")
    response.add_etag()
    return response


def _escape_formula(value: Any) -> Any:
    """Return a value; a text so that a spreadsheet does not evaluate it as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value

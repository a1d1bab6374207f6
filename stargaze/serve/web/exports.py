"""Results in other formats: CSV and JSON files, a badge, a social card, and a page to try the API."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, render_template

from stargaze.errors import StargazeError
from stargaze.formatting import format_short
from stargaze.serve.prediction_request import Answer, PredictionJob, PredictionQueue
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.web.api import get_or_404, job_to_json
from stargaze.serve.web.bundle_view import BundleView
from stargaze.serve.web.images import render_badge, render_card

CSV_COLUMNS = (
    *("rank", "full_name", "stars", "low", "high", "coverage", "percentile"),
    *("actual", "fetched_at", "policy", "expected"),
)
CROSS_ORIGIN = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""Other sites embed the badge."""
MAX_AGE, MAX_AGE_PENDING = 3600, 5
"""How long a picture of a result, and of a pending job, may be cached [s]."""
MAX_CACHED_CARDS = 256
"""Some 10 kB each."""


def exports_blueprint(
    queue: PredictionQueue, view: HotReloaded[BundleView], find_or_submit: Callable[[str, str], PredictionJob]
) -> Blueprint:
    """Return the routes; ``find_or_submit`` returns the job of a repository, by owner and name."""
    blueprint = Blueprint("exports", __name__)
    _add_files(blueprint, queue)
    _add_images(blueprint, find_or_submit)

    @blueprint.get("/try")
    def try_api() -> str:
        names = view.get().examples[:1] or ("owner/name",)
        return render_template("try.html", view=view.get(), example=json.dumps({"repositories": list(names)}))

    return blueprint


def _add_files(blueprint: Blueprint, queue: PredictionQueue) -> None:
    @blueprint.get("/predictions/<job_id>.csv")
    def as_csv(job_id: str) -> Response:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in _answer_or_404(get_or_404(queue, job_id))["predictions"]:
            writer.writerow({**row, "full_name": _escape_formula(row["full_name"])})
        return _file_response(stream.getvalue(), "text/csv", job_id, "csv")

    @blueprint.get("/predictions/<job_id>.json")
    def as_json(job_id: str) -> Response:
        job = get_or_404(queue, job_id)
        _answer_or_404(job)
        return _file_response(json.dumps(job_to_json(job), indent=1) + "\n", "application/json", job_id, "json")


def _add_images(blueprint: Blueprint, find_or_submit: Callable[[str, str], PredictionJob]) -> None:
    def find_job(owner: str, name: str) -> PredictionJob | None:
        """Return the job of a repository; None if it failed."""
        try:
            job = find_or_submit(owner, name)
        except StargazeError:
            return None
        return None if job.state == "failed" else job

    @blueprint.get("/badge/<owner>/<name>.svg")
    def badge(owner: str, name: str) -> Response:
        job = find_job(owner, name)
        if job is None:
            return _image_response(
                render_badge("unknown", known=False), "svg+xml", MAX_AGE_PENDING, HTTPStatus.NOT_FOUND
            )
        if job.answer is None:
            return _image_response(render_badge("…", known=False), "svg+xml", MAX_AGE_PENDING)
        stars = job.answer["predictions"][0]["stars"]
        return _image_response(render_badge(format_short(stars)), "svg+xml", MAX_AGE)

    @blueprint.get("/card/<owner>/<name>.png")
    def card(owner: str, name: str) -> Response:
        job = find_job(owner, name)
        if job is None:
            abort(HTTPStatus.NOT_FOUND)
        if job.answer is None:
            return _image_response(render_card(None, f"{owner}/{name}"), "png", MAX_AGE_PENDING)
        return _image_response(_cached_card(json.dumps(job.answer["predictions"][0])), "png", MAX_AGE)


def _answer_or_404(job: PredictionJob) -> Answer:
    if job.answer is None:
        abort(HTTPStatus.NOT_FOUND)
    return job.answer


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


def _escape_formula(text: str) -> str:
    """Return a text that a spreadsheet does not evaluate as a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text

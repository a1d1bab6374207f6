"""An answer for other places: files, a badge, a card, and the page to try the API."""

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
from stargaze.features.ingest.user_input import parse_name
from stargaze.serve.prediction_request import PredictionJob, PredictionQueue, PredictionRequest, is_job_id
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.web import api
from stargaze.serve.web import images as pictures
from stargaze.serve.web.bundle_view import BundleView

COLUMNS = (
    "rank",
    "full_name",
    "stars",
    "low",
    "high",
    "coverage",
    "percentile",
    "actual",
    "fetched_at",
    "policy",
    "expected",
)
EVERYBODY = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""A badge stands in other people's pages."""
LONG, SOON = 3600, 5
"""How long an answer, and the word that it is being computed, may be kept [s]."""
DRAWN = 256
"""Cards that a process remembers, some 10 kB each."""


def exports_blueprint(
    desk: PredictionQueue, shown: HotReloaded[BundleView], asked: Callable[[PredictionRequest], PredictionJob]
) -> Blueprint:
    """Return the routes; ``asked`` gives the job of a question, which is asked if nobody has lately."""
    blueprint = Blueprint("sharing", __name__)

    @blueprint.get("/predictions/<job_id>.csv")
    def as_csv(job_id: str) -> Response:
        job = _done(desk, job_id)
        stream = io.StringIO()
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "full_name": _plain(row["full_name"])} for row in (job.answer or {})["predictions"])
        return _file(stream.getvalue(), "text/csv", job, "csv")

    @blueprint.get("/predictions/<job_id>.json")
    def as_json(job_id: str) -> Response:
        job = _done(desk, job_id)
        return _file(json.dumps(api.as_json(job), indent=1) + "\n", "application/json", job, "json")

    @blueprint.get("/badge/<owner>/<name>.svg")
    def badge(owner: str, name: str) -> Response:
        job = _about(asked, owner, name)
        if job is None or job.state == "failed":
            return _picture(pictures.badge("unknown", known=False), "image/svg+xml", SOON, HTTPStatus.NOT_FOUND)
        if job.answer is None:
            return _picture(pictures.badge("…", known=False), "image/svg+xml", SOON)
        return _picture(pictures.badge(pictures.short(_first(job)["stars"])), "image/svg+xml", LONG)

    @blueprint.get("/card/<owner>/<name>.png")
    def card(owner: str, name: str) -> Response:
        job = _about(asked, owner, name)
        if job is None or job.state == "failed":
            abort(HTTPStatus.NOT_FOUND)
        if job.answer is None:
            return _picture(pictures.card(None, f"{owner}/{name}"), "image/png", SOON)
        return _picture(_drawn(json.dumps(_first(job))), "image/png", LONG)

    @blueprint.get("/try")
    def try_it() -> str:
        names = shown.get().examples[:1] or ("owner/name",)
        return render_template("try.html", shown=shown.get(), example=json.dumps({"repositories": list(names)}))

    return blueprint


def _done(desk: PredictionQueue, job_id: str) -> PredictionJob:
    job = desk.get(job_id) if is_job_id(job_id) else None
    if job is None or job.answer is None:
        abort(HTTPStatus.NOT_FOUND)
    return job


def _about(asked: Callable[[PredictionRequest], PredictionJob], owner: str, name: str) -> PredictionJob | None:
    try:
        return asked(PredictionRequest((parse_name(f"{owner}/{name}"),)))
    except StargazeError:
        return None


def _first(job: PredictionJob) -> dict[str, Any]:
    first: dict[str, Any] = (job.answer or {})["predictions"][0]
    return first


@functools.lru_cache(DRAWN)
def _drawn(prediction: str) -> bytes:
    found = json.loads(prediction)
    return pictures.card(found, found["full_name"])


def _file(text: str, kind: str, job: PredictionJob, suffix: str) -> Response:
    return Response(
        text,
        mimetype=kind,
        headers={"Content-Disposition": f'attachment; filename="stargaze-{job.id[:8]}.{suffix}"'},
    )


def _picture(data: str | bytes, kind: str, keep: int, status: HTTPStatus = HTTPStatus.OK) -> Response:
    response = Response(data, status, {**EVERYBODY, "Cache-Control": f"public, max-age={keep}"}, mimetype=kind)
    response.add_etag()
    return response


def _plain(text: str) -> str:
    """Return a text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text

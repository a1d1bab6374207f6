"""Results in other formats: CSV and JSON files, a badge, a social card, and a page to try the API."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
from collections.abc import Callable, Mapping
from html import escape
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, render_template
from PIL import Image, ImageDraw, ImageFont

from stargaze.errors import StargazeError
from stargaze.formatting import format_short
from stargaze.serve.prediction_request import Answer, PredictionJob, PredictionQueue
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.web.api.routes import get_or_404, job_to_json
from stargaze.serve.web.pages.bundle_view import BundleView
from stargaze.serve.web.pages.prediction_view import prediction_views, readable_job

CSV_COLUMNS = (
    *("rank", "full_name", "expected_stars", "interval_low", "interval_high", "coverage", "percentile"),
    *("actual_stars", "ratio", "inside_interval", "fetched_at", "policy"),
)
CROSS_ORIGIN = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""Other sites embed the badge."""
MAX_AGE, MAX_AGE_PENDING = 3600, 5
"""Time for which a picture of a result, and of a pending job, may be cached [s]."""
MAX_CACHED_CARDS = 256
"""Maximum number of cached cards, of some 10 kB each."""
CARD_SIZE = (1200, 630)
"""The size that sites expect of social cards [pixels]."""
PAPER, INK, MUTED, STAR, INTERVAL, LINE = "#faf8f4", "#1b2033", "#5d6377", "#c98307", "#f1d49a", "#dfdbd2"
CARD_MARGIN = 90
BADGE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {text}">'
    "<title>{label}: {text}</title>"
    '<rect width="{width}" height="20" rx="3" fill="#3d4354"/>'
    '<path d="M{left} 0h{right}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right}z" fill="{color}"/>'
    '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
    '<text x="{first}" y="14" textLength="{label_length}">{label}</text>'
    '<text x="{second}" y="14" textLength="{text_length}">{text}</text></g></svg>'
)
WIDE, NARROW = set("mwMW@%"), set("iljtf.,:;'|! ()[]")


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
        for row in _answered_or_404(queue, job_id)[1]["predictions"]:
            writer.writerow({**row, "full_name": _escape_formula(row["full_name"])})
        return _file_response(stream.getvalue(), "text/csv", job_id, "csv")

    @blueprint.get("/predictions/<job_id>.json")
    def as_json(job_id: str) -> Response:
        job, _ = _answered_or_404(queue, job_id)
        return _file_response(json.dumps(job_to_json(job), indent=1) + "\n", "application/json", job_id, "json")


def _add_images(blueprint: Blueprint, find_or_submit: Callable[[str, str], PredictionJob]) -> None:
    def find_job(owner: str, name: str) -> PredictionJob | None:
        """Return the job of a repository; None if it failed."""
        try:
            job = readable_job(find_or_submit(owner, name))
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
        stars = job.answer["predictions"][0]["expected_stars"]
        return _image_response(render_badge(format_short(stars)), "svg+xml", MAX_AGE)

    @blueprint.get("/card/<owner>/<name>.png")
    def card(owner: str, name: str) -> Response:
        job = find_job(owner, name)
        if job is None:
            abort(HTTPStatus.NOT_FOUND)
        if job.answer is None:
            return _image_response(render_card(None, f"{owner}/{name}"), "png", MAX_AGE_PENDING)
        return _image_response(_cached_card(json.dumps(job.answer["predictions"][0])), "png", MAX_AGE)


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


def _escape_formula(text: str) -> str:
    """Return a text that a spreadsheet does not evaluate as a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def render_badge(text: str, label: str = "expected stars", *, known: bool = True) -> str:
    """Return a badge as SVG.

    >>> "1.2k" in render_badge("1.2k"), "&lt;b&gt;" in render_badge("<b>")
    (True, True)
    """
    label_length, text_length = _text_width(label), _text_width(text)
    left = label_length + 12
    return BADGE.format(
        label=escape(label),
        text=escape(text),
        width=left + text_length + 12,
        left=left,
        right=text_length + 9,
        first=left / 2,
        second=left + (text_length + 12) / 2,
        label_length=label_length,
        text_length=text_length,
        color="#a86a00" if known else MUTED,
    )


def render_card(prediction: Mapping[str, Any] | None, name: str) -> bytes:
    """Return a social card as PNG; ``prediction`` is None while the job is pending."""
    image = Image.new("RGB", CARD_SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    _draw_star(draw, CARD_MARGIN + 18, 92, 24)
    draw.text((CARD_MARGIN + 58, 92), "stargaze", INK, _font(34), anchor="lm")
    draw.text((CARD_MARGIN, 190), _shorten_to_fit(draw, name, 52), INK, _font(52), anchor="lm")
    if prediction is None:
        draw.text((CARD_MARGIN, 330), "Calculating…", MUTED, _font(40), anchor="lm")
    else:
        _draw_prediction(draw, prediction)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _draw_prediction(draw: ImageDraw.ImageDraw, prediction: Mapping[str, Any]) -> None:
    views, ticks = prediction_views([prediction])
    view = views[0]
    text = f"{view.stars} stars"
    draw.text((CARD_MARGIN, 300), text, STAR, _font(104), anchor="lm")
    after = CARD_MARGIN + draw.textlength(text, _font(104)) + 28
    if after < CARD_SIZE[0] - 330:
        draw.text((after, 318), "expected", MUTED, _font(40), anchor="lm")
    draw.text((CARD_MARGIN, 405), view.interval, INK, _font(30), anchor="lm")
    width = CARD_SIZE[0] - 2 * CARD_MARGIN

    def x_of(percent: str) -> float:
        return CARD_MARGIN + width * float(percent.removesuffix("%")) / 100

    y = 490
    draw.line((CARD_MARGIN, y, CARD_MARGIN + width, y), LINE, 3)
    left = x_of(view.low_at)
    draw.rounded_rectangle((left, y - 14, left + max(6.0, x_of(view.width) - CARD_MARGIN), y + 14), 14, INTERVAL)
    for tick in ticks:
        draw.line((x_of(tick.at), y - 8, x_of(tick.at), y + 8), MUTED, 2)
        draw.text((x_of(tick.at), y + 40), tick.label, MUTED, _font(26), anchor="lm" if tick is ticks[0] else "mm")
    if view.actual_at:
        x = x_of(view.actual_at)
        draw.polygon([(x, y - 16), (x + 16, y), (x, y + 16), (x - 16, y)], PAPER, INK, 3)
    x = x_of(view.at)
    draw.ellipse((x - 13, y - 13, x + 13, y + 13), STAR)
    if view.comparison:
        sentence = f"On {view.date} it had {view.actual} stars, {view.comparison}"
        draw.text((CARD_MARGIN, 580), sentence, MUTED, _font(28), anchor="lm")


def _draw_star(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    points = []
    for corner in range(10):
        length, angle = radius if corner % 2 == 0 else 0.42 * radius, math.pi * corner / 5
        points.append((x + length * math.sin(angle), y - length * math.cos(angle)))
    draw.polygon(points, STAR)


def _shorten_to_fit(draw: ImageDraw.ImageDraw, text: str, size: int) -> str:
    most = CARD_SIZE[0] - 2 * CARD_MARGIN
    if draw.textlength(text, _font(size)) <= most:
        return text
    while text and draw.textlength(text + "…", _font(size)) > most:
        text = text[:-1]
    return text + "…"


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _text_width(text: str) -> int:
    return round(sum(9.5 if letter in WIDE else 4.2 if letter in NARROW else 6.8 for letter in text))

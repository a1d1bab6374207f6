"""Pictures of a result for other sites: a badge (SVG) and a social card (PNG)."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from html import escape
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from stargaze.serve.web.prediction_view import prediction_views

SIZE = (1200, 630)
"""What sites that show social cards expect [pixels]."""
PAPER, INK, QUIET, STAR, INTERVAL, LINE = "#faf8f4", "#1b2033", "#5d6377", "#c98307", "#f1d49a", "#dfdbd2"
MARGIN = 90
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
        color="#a86a00" if known else QUIET,
    )


def render_card(prediction: Mapping[str, Any] | None, name: str) -> bytes:
    """Return a social card as PNG; ``prediction`` is None while the job is pending."""
    image = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    _draw_star(draw, MARGIN + 18, 92, 24)
    draw.text((MARGIN + 58, 92), "stargaze", INK, _font(34), anchor="lm")
    draw.text((MARGIN, 190), _shorten_to_fit(draw, name, 52), INK, _font(52), anchor="lm")
    if prediction is None:
        draw.text((MARGIN, 330), "Calculating…", QUIET, _font(40), anchor="lm")
    else:
        _draw_prediction(draw, prediction)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _draw_prediction(draw: ImageDraw.ImageDraw, prediction: Mapping[str, Any]) -> None:
    views, ticks = prediction_views([prediction])
    view = views[0]
    text = f"{view.stars} stars"
    draw.text((MARGIN, 300), text, STAR, _font(104), anchor="lm")
    after = MARGIN + draw.textlength(text, _font(104)) + 28
    if after < SIZE[0] - 330:
        draw.text((after, 318), "expected", QUIET, _font(40), anchor="lm")
    draw.text((MARGIN, 405), view.interval, INK, _font(30), anchor="lm")
    width = SIZE[0] - 2 * MARGIN

    def x_of(percent: str) -> float:
        return MARGIN + width * float(percent.removesuffix("%")) / 100

    y = 490
    draw.line((MARGIN, y, MARGIN + width, y), LINE, 3)
    left = x_of(view.low_at)
    draw.rounded_rectangle((left, y - 14, left + max(6.0, x_of(view.width) - MARGIN), y + 14), 14, INTERVAL)
    for tick in ticks:
        draw.line((x_of(tick.at), y - 8, x_of(tick.at), y + 8), QUIET, 2)
        draw.text((x_of(tick.at), y + 40), tick.label, QUIET, _font(26), anchor="lm" if tick is ticks[0] else "mm")
    if view.actual_at:
        x = x_of(view.actual_at)
        draw.polygon([(x, y - 16), (x + 16, y), (x, y + 16), (x - 16, y)], PAPER, INK, 3)
    x = x_of(view.at)
    draw.ellipse((x - 13, y - 13, x + 13, y + 13), STAR)
    if view.comparison:
        sentence = f"On {view.date} it had {view.actual} stars, {view.comparison}"
        draw.text((MARGIN, 580), sentence, QUIET, _font(28), anchor="lm")


def _draw_star(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    points = []
    for corner in range(10):
        length, angle = radius if corner % 2 == 0 else 0.42 * radius, math.pi * corner / 5
        points.append((x + length * math.sin(angle), y - length * math.cos(angle)))
    draw.polygon(points, STAR)


def _shorten_to_fit(draw: ImageDraw.ImageDraw, text: str, size: int) -> str:
    most = SIZE[0] - 2 * MARGIN
    if draw.textlength(text, _font(size)) <= most:
        return text
    while text and draw.textlength(text + "…", _font(size)) > most:
        text = text[:-1]
    return text + "…"


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _text_width(text: str) -> int:
    return round(sum(9.5 if letter in WIDE else 4.2 if letter in NARROW else 6.8 for letter in text))

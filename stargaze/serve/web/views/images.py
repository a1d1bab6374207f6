"""Pictures of a result for other sites: a badge (SVG) and a social card (PNG)."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from html import escape
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from stargaze.serve.web.views.prediction_view import Mark, PredictionView, prediction_views

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
    """Return a social card as PNG; without a prediction a neutral one with the name of the repository."""
    image = Image.new("RGB", CARD_SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    _draw_star(draw, CARD_MARGIN + 18, 92, 24)
    draw.text((CARD_MARGIN + 58, 92), "stargaze", INK, _font(34), anchor="lm")
    draw.text((CARD_MARGIN, 190), _shorten_to_fit(draw, name, 52), INK, _font(52), anchor="lm")
    if prediction is None:
        draw.text((CARD_MARGIN, 330), "How many stars should this repo have?", MUTED, _font(40), anchor="lm")
    else:
        _draw_prediction(draw, prediction_views([prediction])[0])
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _draw_prediction(draw: ImageDraw.ImageDraw, view: PredictionView) -> None:
    if view.enough_data:
        draw.text((CARD_MARGIN, 300), f"{view.expected} expected", STAR, _font(76), anchor="lm")
    else:
        draw.text((CARD_MARGIN, 300), "Not enough data for a useful estimate", STAR, _font(52), anchor="lm")
    draw.text((CARD_MARGIN, 385), _shorten_to_fit(draw, view.facts[0], 30), INK, _font(30), anchor="lm")
    width = CARD_SIZE[0] - 2 * CARD_MARGIN
    scale, y = view.scale, 490

    def x_of(percent: str) -> float:
        return CARD_MARGIN + width * float(percent.removesuffix("%")) / 100

    def label(mark: Mark, height: int, color: str) -> None:
        draw.text((x_of(mark.at), height), mark.label, color, _font(26), anchor=ANCHORS[mark.anchor])

    draw.line((CARD_MARGIN, y, CARD_MARGIN + width, y), LINE, 3)
    left = x_of(scale.left)
    draw.rounded_rectangle((left, y - 14, left + max(6.0, x_of(scale.width) - CARD_MARGIN), y + 14), 14, INTERVAL)
    for tick in scale.ticks:
        draw.line((x_of(tick.at), y + 22, x_of(tick.at), y + 34), MUTED, 2)
        draw.text(
            (x_of(tick.at), y + 58), tick.label, MUTED, _font(26), anchor="lm" if tick is scale.ticks[0] else "mm"
        )
    if scale.actual:
        x = x_of(scale.actual.at)
        draw.polygon([(x, y - 16), (x + 16, y), (x, y + 16), (x - 16, y)], PAPER, INK, 3)
        label(scale.actual, y - 46, INK)
    if scale.expected:
        x = x_of(scale.expected.at)
        draw.ellipse((x - 13, y - 13, x + 13, y + 13), STAR)
    draw.text((CARD_MARGIN, 592), view.facts[-1], MUTED, _font(24), anchor="lm")


ANCHORS = {"begin": "lm", "end": "rm", "": "mm"}
"""Pillow's anchors by the alignment of a mark."""


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

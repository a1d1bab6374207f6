"""Pictures of one answer for other pages: a badge (SVG) for a README, a card (PNG) for whoever shares the address."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from stargaze.serve.web.prediction_view import cards_of

SIZE = (1200, 630)
"""What those who show such cards ask for [pixels]."""
PAPER, INK, QUIET, STAR, SPAN, LINE = "#faf8f4", "#1b2033", "#5d6377", "#c98307", "#f1d49a", "#dfdbd2"
EDGE = 90
BADGE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {text}">'
    "<title>{label}: {text}</title>"
    '<rect width="{width}" height="20" rx="3" fill="#3d4354"/>'
    '<path d="M{left} 0h{right}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right}z" fill="{colour}"/>'
    '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
    '<text x="{first}" y="14" textLength="{label_length}">{label}</text>'
    '<text x="{second}" y="14" textLength="{text_length}">{text}</text></g></svg>'
)
WIDE, NARROW = set("mwMW@%"), set("iljtf.,:;'|! ()[]")


def badge(text: str, label: str = "stars expected", *, known: bool = True) -> str:
    """Return a badge as SVG.

    Examples
    --------
    >>> "1.2k" in badge("1.2k"), "&lt;b&gt;" in badge("<b>")
    (True, True)
    """
    label_length, text_length = _length(label), _length(text)
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
        colour="#a86a00" if known else "#5d6377",
    )


def short(value: float) -> str:
    """Write a count in little room.

    Examples
    --------
    >>> short(7.4), short(1234), short(56_789), short(2_345_678)
    ('7', '1.2k', '57k', '2.3M')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{unit}" if value < 10 * size else f"{value / size:.0f}{unit}"
    return f"{value:.0f}"


def card(prediction: Mapping[str, Any] | None, name: str) -> bytes:
    """Return a card as PNG; one that says so where the answer is not there yet.

    Parameters
    ----------
    prediction : mapping or None
        Of the answer, as it travels.
    name : str
        owner/name.

    Returns
    -------
    bytes
        1200 × 630 pixels.
    """
    image = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    _star(draw, EDGE + 18, 92, 24)
    draw.text((EDGE + 58, 92), "stargaze", INK, _font(34), anchor="lm")
    draw.text((EDGE, 190), _fitting(draw, name, 52), INK, _font(52), anchor="lm")
    if prediction is None:
        draw.text((EDGE, 330), "The answer is being computed.", QUIET, _font(40), anchor="lm")
    else:
        _answer(draw, prediction)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _answer(draw: ImageDraw.ImageDraw, prediction: Mapping[str, Any]) -> None:
    cards, ticks = cards_of([prediction])
    one = cards[0]
    number = f"{one.stars} stars"
    draw.text((EDGE, 300), number, STAR, _font(104), anchor="lm")
    after = EDGE + draw.textlength(number, _font(104)) + 28
    if after < SIZE[0] - 330:
        draw.text((after, 318), "most likely", QUIET, _font(40), anchor="lm")
    draw.text((EDGE, 405), one.interval, INK, _font(30), anchor="lm")
    width = SIZE[0] - 2 * EDGE

    def at(text: str) -> float:
        return EDGE + width * float(text.removesuffix("%")) / 100

    y = 490
    draw.line((EDGE, y, EDGE + width, y), LINE, 3)
    left = at(one.low_at)
    draw.rounded_rectangle((left, y - 14, left + max(6.0, at(one.width) - EDGE), y + 14), 14, SPAN)
    for tick in ticks:
        draw.line((at(tick.at), y - 8, at(tick.at), y + 8), QUIET, 2)
        draw.text((at(tick.at), y + 40), tick.label, QUIET, _font(26), anchor="lm" if tick is ticks[0] else "mm")
    if one.actual_at:
        x = at(one.actual_at)
        draw.polygon([(x, y - 16), (x + 16, y), (x, y + 16), (x - 16, y)], PAPER, INK, 3)
    x = at(one.at)
    draw.ellipse((x - 13, y - 13, x + 13, y + 13), STAR)
    if one.surprise:
        draw.text((EDGE, 580), f"On {one.date} it had {one.actual}: {one.surprise}", QUIET, _font(28), anchor="lm")


def _star(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    import math

    points = [
        (
            x + (radius if corner % 2 == 0 else 0.42 * radius) * math.sin(math.pi * corner / 5),
            y - (radius if corner % 2 == 0 else 0.42 * radius) * math.cos(math.pi * corner / 5),
        )
        for corner in range(10)
    ]
    draw.polygon(points, STAR)


def _fitting(draw: ImageDraw.ImageDraw, text: str, size: int) -> str:
    most = SIZE[0] - 2 * EDGE
    if draw.textlength(text, _font(size)) <= most:
        return text
    while text and draw.textlength(text + "…", _font(size)) > most:
        text = text[:-1]
    return text + "…"


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _length(text: str) -> int:
    return round(sum(9.5 if letter in WIDE else 4.2 if letter in NARROW else 6.8 for letter in text))

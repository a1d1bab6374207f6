"""Render matplotlib figures as inline SVG whose text stays text and whose colors come from the style sheet."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#010101", "#020202", "#030303", "#040404"
FIRST, SECOND, THIRD, SPAN = "#050505", "#060606", "#070707", "#080808"
PALETTE = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAPER: "var(--card)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
    SPAN: "var(--span)",
}
"""Placeholder colors and the variables of the style sheet that replace them, for light and dark mode."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "stargaze",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.parse_math": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "errorbar.capsize": 2.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 5.5,
}
XLINK = "{http://www.w3.org/1999/xlink}href"


def render_svg(name: str, alt: str, size: tuple[float, float], plot: Callable[[Figure], None]) -> str:
    """Return the SVG element, with alternative text, that ``plot`` draws on a figure of this size [inch]."""
    # "default": without the matplotlibrc of the working directory
    with style.context(["default", STYLE]), warnings.catch_warnings(), io.StringIO() as stream:
        warnings.filterwarnings("ignore", "Glyph")  # the browser's fonts are used, not matplotlib's
        figure = Figure(figsize=size, layout="constrained")
        plot(figure)
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return inline_svg(stream.getvalue(), name, alt)


def inline_svg(text: str, name: str, alt: str) -> str:
    """Convert an SVG file to an element of a page: no namespaces, unique ids, the fonts and colors of the page.

    Examples
    --------
    >>> inline_svg('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><g id="a"/></svg>', "stars", "a < b")
    '<svg viewBox="0 0 1 1" role="img" aria-label="a &lt; b"><g /></svg>'
    """
    root = ET.fromstring(text)  # noqa: S314 -- written by matplotlib just now
    used = set(re.findall(r'(?:href="|url\()#([\w.-]+)', text))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for child in [child for child in element if child.tag.rpartition("}")[2] in ("metadata", "style")]:
            element.remove(child)
        _rewrite_attributes(element, name, used)
        element.text, element.tail = _drop_blank(element.text), _drop_blank(element.tail)
    for attribute in ("width", "height", "version"):
        width = root.attrib.pop(attribute, "")
        if attribute == "width" and width:
            root.set("style", f"width: {float(width.removesuffix('pt')) / 72:.2f}in")
    root.set("role", "img")
    root.set("aria-label", alt)
    return ET.tostring(root, encoding="unicode")


def _rewrite_attributes(element: ET.Element, name: str, used: set[str]) -> None:
    identity = element.attrib.pop("id", None)
    if identity in used:
        element.set("id", f"{name}-{identity}")
    if XLINK in element.attrib:
        element.set("href", f"#{name}-{element.attrib.pop(XLINK).removeprefix('#')}")
    for attribute, value in element.attrib.items():
        if attribute in ("aria-label", "id", "href"):
            continue
        text = re.sub(r"(\.\d\d)\d+", r"\1", " ".join(value.split()))  # a hundredth of a point is invisible
        text = re.sub(r"url\(#", f"url(#{name}-", text)
        text = re.sub(r"; font-family: [^;]*|font-family: [^;]*;? ?", "", text)
        element.set(attribute, _apply_palette(text))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]


def _apply_palette(value: str) -> str:
    for placeholder, variable in PALETTE.items():
        value = value.replace(placeholder, variable)
    return value


def _drop_blank(text: str | None) -> str | None:
    return text if text and text.strip() else None

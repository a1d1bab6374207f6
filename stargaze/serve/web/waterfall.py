"""The waterfall chart of an explanation, on a logarithmic scale: from a typical repository to this one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.formatting import format_factor


@dataclass(frozen=True)
class Bar:
    """One step with its texts and its horizontal positions [%]."""

    label: str
    value: str
    factor: str
    kind: str
    """"raises", "lowers", or "total" for the first and the last bar."""
    left: str
    width: str
    begin: str
    end: str


def waterfall(prediction: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Return the bars of base, factors, other factors and expected stars; none without an explanation."""
    if prediction.get("base") is None or not prediction.get("factors"):
        return ()
    level = math.log1p(prediction["base"])
    steps = [(0.0, level)]
    for factor in (*(item["factor"] for item in prediction["factors"]), prediction["other_factors"]):
        steps.append((level, level + math.log(factor)))
        level = steps[-1][1]
    steps.append((0.0, level))
    low, high = _range(steps)

    def position(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    texts = [("Baseline: a typical repository", f"{_format_stars(prediction['base'])} stars", "")]
    texts += [
        (item["label"].partition(";")[0], item["value"], format_factor(item["factor"]))
        for item in prediction["factors"]
    ]
    texts += [("Other features", "", format_factor(prediction["other_factors"]))]
    texts += [("Expected for this repository", f"{_format_stars(prediction['expected'])} stars", "")]
    return tuple(
        _bar(text, position(begin), position(end), is_total=i in (0, len(steps) - 1))
        for i, (text, (begin, end)) in enumerate(zip(texts, steps, strict=True))
    )


def _range(steps: Sequence[tuple[float, float]]) -> tuple[float, float]:
    levels = [level for step in steps[1:-1] for level in step]
    low, high = min(levels), max(levels)
    margin = max(0.08 * (high - low), 0.15)  # small factors must look small, and totals start at the edge
    return low - margin, high + margin


def _bar(text: tuple[str, str, str], begin: float, end: float, *, is_total: bool) -> Bar:
    kind = "total" if is_total else "raises" if end >= begin else "lowers"
    left = 0.0 if is_total else min(begin, end)
    width = end if is_total else abs(end - begin)
    return Bar(*text, kind, f"{left:.2f}%", f"{max(width, 0.4):.2f}%", f"{begin:.2f}%", f"{end:.2f}%")


def _format_stars(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{round(value):,}"

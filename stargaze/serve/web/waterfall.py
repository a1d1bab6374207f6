"""How the factors lead from a typical repository to this one: a waterfall on a logarithmic scale, and the same as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bar:
    """One step: what it is, and where it begins and ends across the drawing [%]."""

    label: str
    value: str
    factor: str
    kind: str
    """"raises", "lowers", or "total" for where the steps begin and end."""
    left: str
    width: str
    begin: str
    end: str


def waterfall(prediction: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Draw base, factors, the rest and what is expected; (expected + 1) = (base + 1) × all factors × rest.

    Parameters
    ----------
    prediction : mapping
        ``base`` and ``expected`` [stars], ``factors``, ``rest``.

    Returns
    -------
    tuple of Bar
        Empty where no reasons were asked for.
    """
    if prediction.get("base") is None or not prediction.get("factors"):
        return ()
    level = math.log1p(prediction["base"])
    steps = [(0.0, level)]
    for times in (*(factor["factor"] for factor in prediction["factors"]), prediction["other_factors"]):
        steps.append((level, level + math.log(times)))
        level = steps[-1][1]
    steps.append((0.0, level))
    low, high = _range(steps)

    def place(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    texts = [("A typical repository", f"{_small(prediction['base'])} stars", "")]
    texts += [
        (factor["label"].partition(";")[0], factor["value"], number_of_times(factor["factor"]))
        for factor in prediction["factors"]
    ]
    texts += [("Everything else", "", number_of_times(prediction["other_factors"]))]
    texts += [("Expected of such a repository", f"{_small(prediction['expected'])} stars", "")]
    return tuple(
        _bar(text, place(begin), place(end), total=row in (0, len(steps) - 1))
        for row, (text, (begin, end)) in enumerate(zip(texts, steps, strict=True))
    )


def number_of_times(factor: float) -> str:
    """Write a factor for people: ``× 1.8``."""
    return f"× {factor:.2f}" if factor < 1.095 else f"× {factor:.1f}" if factor < 100 else f"× {factor:,.0f}"


def _range(steps: Sequence[tuple[float, float]]) -> tuple[float, float]:
    levels = [level for step in steps[1:-1] for level in step]
    low, high = min(levels), max(levels)
    room = max(0.08 * (high - low), 0.15)  # small factors shall look small, and a total begin at an edge
    return low - room, high + room


def _bar(text: tuple[str, str, str], begin: float, end: float, *, total: bool) -> Bar:
    kind = "total" if total else "raises" if end >= begin else "lowers"
    left = 0.0 if total else min(begin, end)
    width = end if total else abs(end - begin)
    return Bar(*text, kind, f"{left:.2f}%", f"{max(width, 0.4):.2f}%", f"{begin:.2f}%", f"{end:.2f}%")


def _small(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{round(value):,}"

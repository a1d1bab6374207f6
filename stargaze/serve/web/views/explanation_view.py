"""An explanation as the page shows it: a table from baseline to estimate whose rounded numbers multiply, with bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.formatting import format_count, format_factor, format_stars, round_factor
from stargaze.serve.prediction.sentence import format_range

SMALLEST_FACTOR = 1e-21
"""A smaller factor has no bar of its own length."""
POLICY_TEXTS = {
    "static": "metadata only (what the maintainers write)",
    "activity": "metadata and activity, without popularity signals",
    "all": "all features, with popularity signals such as forks and watchers",
}
METHOD_TEXTS = {
    "exact": "Exact contributions of the model.",
    "sampled": "Sampled contributions (an approximation whose factors multiply exactly to the estimate).",
}


@dataclass(frozen=True)
class Bar:
    """One row with its texts and its horizontal positions [%]."""

    label: str
    value: str
    factor: str
    kind: str
    """"raises", "lowers", or "total" for the first and the last row."""
    left: str
    width: str
    begin: str
    end: str


@dataclass(frozen=True)
class ExplanationView:
    """One tab: the estimate that is explained, how it was computed, and the rows."""

    stars: str
    interval: str
    inputs: str
    method: str
    bars: tuple[Bar, ...]


def explanation_views(prediction: Mapping[str, Any]) -> tuple[ExplanationView, ...]:
    """Return the explanation of the estimate, and that without popularity signals if there is one."""
    parts = [prediction, *([prediction["without_popularity"]] if prediction.get("without_popularity") else [])]
    return tuple(
        ExplanationView(
            format_stars(part["expected_stars"]),
            format_interval(part),
            POLICY_TEXTS.get(part["policy"], part["policy"]),
            METHOD_TEXTS[part["explanation"]["method"]],
            waterfall(part["explanation"], part["expected_stars"]),
        )
        for part in parts
        if part.get("explanation")
    )


def format_interval(part: Mapping[str, Any]) -> str:
    """Return the prediction interval of an estimate.

    >>> format_interval({"interval_low": 754.2, "interval_high": 8071.0})
    '754–8,071'
    """
    return format_range(part["interval_low"], part["interval_high"])


def waterfall(explanation: Mapping[str, Any], expected: float) -> tuple[Bar, ...]:
    """Return the rows: baseline, factors, other features, estimate. The factor of the others takes up the rounding."""
    factors = [float(item["factor"]) for item in explanation["factors"]]
    baseline = float(explanation["baseline_stars"])
    shown = math.prod(map(round_factor, factors)) * (float(format_decimal(baseline).replace(",", "")) + 1)
    remaining = (float(format_decimal(expected).replace(",", "")) + 1) / max(shown, SMALLEST_FACTOR)
    level = math.log(max(baseline + 1, SMALLEST_FACTOR))
    steps = [(0.0, level)]
    for factor in (*factors, float(explanation["other_factors"])):
        steps.append((level, level + math.log(max(factor, SMALLEST_FACTOR))))
        level = steps[-1][1]
    steps.append((0.0, level))
    texts = [("Baseline", f"{format_decimal(baseline)} stars", "")]
    texts += [
        (item["label"], item["value"], format_factor(factor))
        for item, factor in zip(explanation["factors"], factors, strict=True)
    ]
    texts += [("Other features, and rounding", "", format_factor(remaining))]
    texts += [("Estimate", f"{format_decimal(expected)} stars", "")]
    return _place(texts, steps)


def format_decimal(value: float) -> str:
    """Return a count; small ones have one decimal, because the factors multiply (stars + 1).

    >>> format_decimal(7.44), format_decimal(2538.2)
    ('7.4', '2,538')
    """
    return f"{value:.1f}" if value < 100 else format_count(value)


def _place(texts: Sequence[tuple[str, str, str]], steps: Sequence[tuple[float, float]]) -> tuple[Bar, ...]:
    low, high = _axis_range(steps)

    def position(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    return tuple(
        _bar(text, position(begin), position(end), is_total=i in (0, len(steps) - 1))
        for i, (text, (begin, end)) in enumerate(zip(texts, steps, strict=True))
    )


def _axis_range(steps: Sequence[tuple[float, float]]) -> tuple[float, float]:
    levels = [level for step in steps[1:-1] for level in step]
    low, high = min(levels), max(levels)
    margin = max(0.08 * (high - low), 0.15)  # small factors must look small, and totals start at the edge
    return low - margin, high + margin


def _bar(text: tuple[str, str, str], begin: float, end: float, *, is_total: bool) -> Bar:
    kind = "total" if is_total else "raises" if end >= begin else "lowers"
    left = 0.0 if is_total else min(begin, end)
    width = end if is_total else abs(end - begin)
    return Bar(*text, kind, f"{left:.2f}%", f"{max(width, 0.4):.2f}%", f"{begin:.2f}%", f"{end:.2f}%")

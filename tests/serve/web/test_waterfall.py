"""The waterfall chart of an explanation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.formatting import format_factor
from stargaze.serve.web.prediction_view import waterfall


def prediction(factors: list[float], other: float = 1.04, base: float = 2.3) -> dict[str, Any]:
    items = [{"feature": "a", "label": "issues; with more", "value": "12", "factor": factor} for factor in factors]
    expected = (base + 1) * math.prod(factors) * other - 1
    return {"base": base, "expected": max(expected, 0.0), "factors": items, "other_factors": other}


def at(text: str) -> float:
    return float(text.removesuffix("%"))


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=10), st.floats(0.1, 10.0))
def test_each_step_starts_at_the_end_of_the_previous_one(factors: list[float], other: float) -> None:
    bars = waterfall(prediction(factors, other))

    assert len(bars) == len(factors) + 3
    assert bars[1].begin == bars[0].end
    assert all(after.begin == before.end for before, after in itertools.pairwise(bars[1:-1]))
    assert bars[-1].end == bars[-2].end
    assert all(at(bar.left) >= 0 and at(bar.left) + at(bar.width) <= 100.5 for bar in bars)


def test_raising_factors_go_right_and_lowering_ones_left() -> None:
    bars = waterfall(prediction([4.0, 0.5]))

    assert [bar.kind for bar in bars] == ["total", "raises", "lowers", "raises", "total"]
    assert at(bars[1].begin) < at(bars[1].end)
    assert at(bars[2].begin) > at(bars[2].end)
    assert at(bars[1].width) == pytest.approx(2 * at(bars[2].width), abs=0.05)


def test_the_label_omits_the_note_on_the_source() -> None:
    assert waterfall(prediction([2.0]))[1].label == "issues"


@pytest.mark.parametrize(("factor", "text"), [(1.8, "× 1.8"), (1.04, "× 1.04"), (0.41, "× 0.41"), (1234.5, "× 1,234")])
def test_factors_are_formatted(factor: float, text: str) -> None:
    assert format_factor(factor) == text

"""The steps from a typical repository to this one."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.serve.web.waterfall import number_of_times, waterfall


def prediction(times: list[float], rest: float = 1.04, base: float = 2.3) -> dict[str, Any]:
    factors = [{"feature": "a", "label": "issues; with more", "value": "12", "factor": one} for one in times]
    expected = (base + 1) * math.prod(times) * rest - 1
    return {"base": base, "expected": max(expected, 0.0), "factors": factors, "other_factors": rest}


def at(text: str) -> float:
    return float(text.removesuffix("%"))


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=10), st.floats(0.1, 10.0))
def test_each_step_begins_where_the_one_before_ended_and_nothing_leaves_the_drawing(
    times: list[float], rest: float
) -> None:
    bars = waterfall(prediction(times, rest))

    assert len(bars) == len(times) + 3
    assert bars[1].begin == bars[0].end
    assert all(after.begin == before.end for before, after in itertools.pairwise(bars[1:-1]))
    assert bars[-1].end == bars[-2].end
    assert all(at(bar.left) >= 0 and at(bar.left) + at(bar.width) <= 100.5 for bar in bars)


def test_what_raises_goes_right_and_what_lowers_left() -> None:
    bars = waterfall(prediction([4.0, 0.5]))

    assert [bar.kind for bar in bars] == ["total", "raises", "lowers", "raises", "total"]
    assert at(bars[1].begin) < at(bars[1].end)
    assert at(bars[2].begin) > at(bars[2].end)
    assert at(bars[1].width) == pytest.approx(2 * at(bars[2].width), abs=0.05)


def test_a_note_on_the_source_is_no_part_of_the_label() -> None:
    assert waterfall(prediction([2.0]))[1].label == "issues"


@pytest.mark.parametrize(("factor", "text"), [(1.8, "× 1.8"), (1.04, "× 1.04"), (0.41, "× 0.41"), (1234.5, "× 1,234")])
def test_factors_read_well(factor: float, text: str) -> None:
    assert number_of_times(factor) == text

"""The drill's sheet: which promise held, and why one did not. The blows themselves fall in the tests of a real Swarm."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.errors import UsageError
from stargaze.serve.drill import HARDSHIPS, judged, named

WELL = {"asked": 500, "accepted": 500, "answered": 500, "unanswered": 0, "refused": 0, "failed": 0, "lost": 0}
WELL |= {"slowest": 1.0, "said": {}}


@pytest.mark.parametrize(
    ("hardship", "counts", "why", "held"),
    [
        ("worker", {}, "", True),
        ("worker", {"lost": 1, "said": {"lost: nobody knows it": 1}}, "", False),
        ("web", {"failed": 2, "said": {"failed: 0": 2}}, "", False),
        ("web", {"refused": 2}, "", False),
        ("broker", {"refused": 40, "said": {"refused: 503": 40}}, "", True),
        ("broker", {"refused": 40, "lost": 1}, "", False),
        ("worker", {"unanswered": 1}, "", True),
        ("node", {}, "web: 1 of 2 run", False),
        ("node", {"answered": 0, "accepted": 0}, "", False),
    ],
)
def test_a_promise_held_if_nothing_was_lost_nobody_met_an_error_and_all_is_well(
    hardship: str, counts: dict[str, Any], why: str, held: bool
) -> None:
    sheet = judged(HARDSHIPS[hardship], {**WELL, **counts}, 9.0, why)

    assert sheet.held is held
    assert why in sheet.why
    assert bool(sheet.why) == (not held and counts.get("answered") != 0)
    assert sheet.as_row()["state"] == ("held" if held else "BROKEN")


def test_hardships_are_chosen_by_name_and_all_where_none_is_named() -> None:
    assert [one.name for one in named("")] == list(HARDSHIPS)
    assert [one.name for one in named(" broker, worker")] == ["broker", "worker"]
    with pytest.raises(UsageError, match="brokre: no such hardship") as caught:
        named("brokre")
    assert caught.value.hint == "Did you mean broker?"

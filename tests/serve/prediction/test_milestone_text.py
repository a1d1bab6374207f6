"""The text of a milestone: nothing occurs twice, and an open range says so."""

from __future__ import annotations

import pytest

from stargaze.serve.prediction.milestone_text import milestone_text


@pytest.mark.parametrize(
    ("day", "earliest", "latest", "text"),
    [
        ("2027-05-09", "2027-03-20", "2027-09-01", "May 2027 (80%: March–September 2027)"),
        ("2027-01-09", "2026-11-20", "2027-03-01", "January 2027 (80%: November 2026–March 2027)"),
        ("2027-05-09", "2027-03-20", None, "May 2027 (80%: March 2027 or later)"),
        ("2027-05-09", "2027-05-02", "2027-05-20", "May 9, 2027 (80%: May 2–20, 2027)"),
        ("2027-05-02", "2027-04-28", "2027-05-03", "May 2, 2027 (80%: April 28–May 3, 2027)"),
        ("2026-12-31", "2026-12-30", "2027-01-02", "December 31, 2026 (80%: December 30, 2026–January 2, 2027)"),
        ("2026-12-31", "2026-12-31", "2026-12-31", "December 31, 2026 (80%: December 31, 2026)"),
    ],
)
def test_a_milestone_is_one_phrase(day: str, earliest: str, latest: str | None, text: str) -> None:
    milestone = {"stars": 10_000, "date": day, "earliest": earliest, "latest": latest, "coverage": 0.8}

    assert milestone_text(milestone) == f"10,000 stars around {text}"

"""Many asked about at once, the heavy ones found and given up alone, and a GitHub that is down told from them."""

from __future__ import annotations

from stargaze.features.github.paging import PageSize


def test_a_few_that_fail_are_asked_in_half_and_not_as_they_were() -> None:
    size = PageSize(40)
    size.halve(4)
    assert size.now == 2

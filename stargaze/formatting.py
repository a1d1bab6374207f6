"""Format numbers for people: counts, shares, factors."""

from __future__ import annotations


def format_count(value: float) -> str:
    """Return a rounded count with thousands separators.

    >>> format_count(12339.6)
    '12,340'
    """
    return f"{round(value):,}"


def format_short(value: float) -> str:
    """Return a count as a short text.

    >>> format_short(7.4), format_short(1234), format_short(56_789), format_short(2_345_678)
    ('7', '1.2k', '57k', '2.3M')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{unit}" if value < 10 * size else f"{value / size:.0f}{unit}"
    return f"{value:.0f}"


def format_percent(share: float, digits: int = 0, *, space: str = "") -> str:
    """Return a share as a percentage.

    >>> format_percent(0.8912), format_percent(0.8912, 1, space=" ")
    ('89%', '89.1 %')
    """
    return f"{100 * share:.{digits}f}{space}%"


def format_factor(factor: float) -> str:
    """Return a factor with two to four significant digits.

    >>> format_factor(1.034), format_factor(1.84), format_factor(1234.5)
    ('× 1.03', '× 1.8', '× 1,234')
    """
    return f"× {factor:.2f}" if factor < 1.095 else f"× {factor:.1f}" if factor < 100 else f"× {factor:,.0f}"

"""Format numbers for people: counts, shares, factors."""

from __future__ import annotations

import math


def format_count(value: float) -> str:
    """Return a rounded count with thousands separators.

    >>> format_count(12339.6)
    '12,340'
    """
    return f"{round(value):,}"


def format_stars(stars: float) -> str:
    """Return a number of stars with its noun.

    >>> format_stars(1.2), format_stars(0), format_stars(21_089)
    ('1 star', '0 stars', '21,089 stars')
    """
    return f"{format_count(stars)} {'star' if round(stars) == 1 else 'stars'}"


def format_short(value: float) -> str:
    """Return a count as a short text.

    >>> format_short(7.4), format_short(1234), format_short(56_789), format_short(2_345_678)
    ('7', '1.2k', '57k', '2.3M')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{unit}" if value < 10 * size else f"{value / size:.0f}{unit}"
    return f"{value:.0f}"


def format_percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage.

    >>> format_percent(0.8912), format_percent(0.8912, 1)
    ('89%', '89.1%')
    """
    return f"{100 * share:.{digits}f}%"


def format_share(share: float) -> str:
    """Return a share as a percentage that is 0% or 100% only if the share is 0 or 1.

    >>> format_share(0.8912), format_share(0.99996), format_share(1.0)
    ('89.1%', '99.996%', '100%')
    """
    if share in {0.0, 1.0}:
        return f"{share:.0%}"
    return next(text for digits in range(1, 16) if 0.0 < float((text := f"{share:.{digits}%}")[:-1]) < 100.0)


def round_factor(factor: float) -> float:
    """Round to three significant digits.

    >>> round_factor(1.8449), round_factor(0.41234), round_factor(0.0)
    (1.84, 0.412, 0.0)
    """
    return float(f"{factor:.3g}")


def format_factor(factor: float) -> str:
    """Return a factor with three significant digits.

    >>> format_factor(1.8449), format_factor(0.041234), format_factor(1.0), format_factor(12345.0)
    ('× 1.84', '× 0.0412', '× 1.00', '× 12,300')
    """
    rounded = round_factor(factor)
    if rounded >= 100:
        return f"× {rounded:,.0f}"
    if 0 < rounded < 1e-4:
        return f"× {rounded:.2e}"
    digits = 2 if rounded == 0 else max(0, 2 - math.floor(math.log10(rounded)))
    return f"× {rounded:.{digits}f}"


def capitalize_first(text: str) -> str:
    """Return a text with a capital letter, unless it begins with the name of a repository.

    >>> capitalize_first("check its spelling"), capitalize_first("a/b: not found")
    ('Check its spelling', 'a/b: not found')
    """
    return text if "/" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def as_sentence(text: str) -> str:
    """Return a text with a capital letter and an end, unless it is empty.

    >>> as_sentence("check its spelling"), as_sentence("Did you mean a/b?"), as_sentence("")
    ('Check its spelling.', 'Did you mean a/b?', '')
    """
    return f"{capitalize_first(text)}{'' if not text or text[-1] in '.?!' else '.'}"

"""Search for repositories: the known names, and GitHub's own search."""

from __future__ import annotations

from collections.abc import Sequence

MAX_SUGGESTIONS = 8
"""As many as fit below the field on a phone."""
MAX_KNOWN = 20
"""Known names on the page of a search."""
MAX_QUERY = 100
"""A longer text is cut [characters]."""


def search_names(names: Sequence[str], query: str, most: int = MAX_SUGGESTIONS) -> list[str]:
    """Return the first names that contain the text, those first whose owner or name starts with it.

    >>> search_names(["electron/electron", "atom/atom", "electron/atom-x"], "atom")
    ['atom/atom', 'electron/atom-x']
    """
    text = query.strip().casefold()
    if not text:
        return []
    matches = [name for name in names if text in name.casefold()]
    return sorted(matches, key=lambda name: f"/{text}" not in f"/{name.casefold()}")[:most]

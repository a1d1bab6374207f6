"""How a star history of another origin is read; apart from the reader, whose libraries the web processes do not load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stargaze.config import GrowthSection

AUTO = "auto"


@dataclass(frozen=True)
class HistoryFormat:
    """The table's column for each of ours, and the separator of thousands in its counts."""

    columns: Mapping[str, str] = field(default_factory=dict)
    thousands: str = AUTO

    @classmethod
    def of(cls, section: GrowthSection) -> HistoryFormat:
        """Return the format that the config describes."""
        return cls(section.columns, section.thousands)


ANY_FORMAT = HistoryFormat()
"""Usual names of the columns, and separators that the values show."""

"""Which column of a file each field is read from, and which columns are not read although they resemble a field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ColumnUse:
    """The columns of one file.

    ``fields`` has the column or path (``owner.type``) that each field is read from; ``unused`` has each other column with the
    field that it resembles, or an empty text. Of JSON, only keys are unused that resemble a field without any value.
    Own columns are among the fields if the file has them, and ``names`` are all columns or keys.
    """

    fields: dict[str, str]
    unused: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()


OnColumns = Callable[[ColumnUse], None]
"""Receives the columns of a file when all of its rows have been read."""


def ignore_columns(_use: ColumnUse) -> None:
    """Do nothing with the columns of a file."""

"""The field of a config section: default, comment, unit and allowed values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any


def key(
    default: Any,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    not_empty: bool = False,
    normalize: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare one key; ``normalize`` returns the normal form of a value or raises a ValueError."""
    metadata = {
        "description": description,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "not_empty": not_empty,
        "normalize": normalize,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)

"""Decide from the options whether a stage runs on this machine or on the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargaze.config import parse_section
from stargaze.errors import UsageError


def runs_on_cluster(
    on: str | None, *, detach: bool, attach: bool, options: Mapping[str, Any], configured: str = "local"
) -> bool:
    """Return whether a stage runs on the cluster; ``--detach`` and ``--attach`` imply it.

    ``options`` are the stage's own options, None where not given. ``configured`` applies where ``--on`` is not given.

    Raises
    ------
    UsageError
        If the options contradict each other.
    """
    if detach and attach:
        raise UsageError("--detach and --attach cannot be combined", hint="give one of them")
    given = [name.replace("_", "-") for name, value in options.items() if value is not None and value != []]
    if attach and given:
        raise UsageError(
            f"--{given[0]} cannot be combined with --attach, which follows a job that is already running",
            hint=f"leave out --{given[0]}",
        )
    place = configured if on is None else parse_section("tuning", {"on": on}, source="option").on
    if on == "local" and (detach or attach):
        raise UsageError(f"--{'detach' if detach else 'attach'} needs --on cluster", hint="--on cluster")
    return detach or attach or place == "cluster"

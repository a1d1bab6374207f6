"""Recognize a process that runs inside a job of a Ray cluster."""

from __future__ import annotations

import os

RAY_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this variable in a job of a cluster; such a process joins that cluster instead of starting Ray."""


def is_ray_job() -> bool:
    """Return whether this process is part of a Ray job."""
    return RAY_JOB_VARIABLE in os.environ

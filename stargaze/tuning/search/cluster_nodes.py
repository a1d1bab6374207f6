"""The software of the nodes of a cluster: those that may run work have the code, Python and Ray of the head."""

from __future__ import annotations

import platform
from importlib.metadata import version

from stargaze.errors import ExternalError
from stargaze.output import Output
from stargaze.system.progress import WAITING
from stargaze.system.source_package import code_digest
from stargaze.tuning.search.ray_job import is_ray_job


class OutdatedNodeError(ExternalError):
    """A node has another version of the code, of Python or of Ray than the head."""

    code = "outdated_node"


def describe_software() -> str:
    """Return the versions of code, Python and Ray of this process."""
    return f"stargaze {code_digest()}, Python {platform.python_version()}, Ray {version('ray')}"


def check_software(expected: str) -> None:
    """Raise OutdatedNodeError if this node has other software: it may have joined after the work began."""
    if expected and describe_software() != expected:
        raise outdated_node_error([platform.node()])


def outdated_node_error(nodes: list[str]) -> OutdatedNodeError:
    """Return the error that names the nodes."""
    return OutdatedNodeError(
        f"another version of stargaze, Python or Ray is installed on {', '.join(nodes)}",
        hint="stargaze infra configure --tags ray; then start this step again, tune with --resume",
    )


def report_wait() -> None:
    """Report that this job waits for a core; the job server adds who uses them."""
    if is_ray_job():
        with Output().progress("") as report:
            report(WAITING, 0.0)

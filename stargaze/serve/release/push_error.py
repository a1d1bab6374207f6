"""Convert the output of a failed push into one error with the reason."""

from __future__ import annotations

import re
from pathlib import Path

from stargaze.config import DeploySection
from stargaze.errors import ExternalError
from stargaze.serve.release.commit_tree import RefusedError
from stargaze.serve.release.record import printable

UNCHANGED = "the previous release stays in production"


def explain_push_failure(output: str, section: DeploySection) -> ExternalError:
    """Return the error for the output of git and the hooks of a push that was not accepted."""
    if reason := find_remote_line(output, "refused: "):
        return RefusedError(f"the release was refused: {reason}", hint=UNCHANGED)
    if "pack exceeds maximum allowed size" in output:
        limit = f"deploy.max_release_size = {section.max_release_size:g} MB"
        return RefusedError(f"the release was refused: it is larger than {limit}", hint=UNCHANGED)
    if lock := re.search(r"'([^']+\.lock)': File exists", output):
        path = Path(lock[1])
        return ExternalError(
            f"git push failed: {path} exists, so another push is running or one was killed",
            hint=f"repeat it; if the file remains and no git is running: rm {path}",
        )
    if any(text in output for text in ("[rejected]", "failed to update ref", "cannot lock ref")):
        message = "another release arrived at the same time; this one was not published"
        return ExternalError(message, hint="stargaze releases; then repeat")
    lines = [line.removeprefix("remote:").strip() for line in output.splitlines()]
    # If a machine cannot be reached, ssh prints the reason and git only the consequence.
    causes = [line for prefix in ("ssh:", "fatal:", "error:") for line in lines if line.startswith(prefix)]
    reason = next(iter(causes), next(filter(None, reversed(lines)), ""))
    return ExternalError(f"git push failed: {printable(reason)}", hint=UNCHANGED)


def find_remote_line(output: str, prefix: str) -> str:
    """Return the rest of the first line from the remote side that starts with ``prefix``, empty if there is none."""
    lines = [line.removeprefix("remote:").strip() for line in output.splitlines() if line.startswith("remote:")]
    return next((printable(line.removeprefix(prefix), 500) for line in lines if line.startswith(prefix)), "")

"""Ray's job API, as the head of a cluster serves it on its loopback; every request carries the token.

By HTTP and not by Ray's package: importing that takes longer than all that is asked here.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.errors import CredentialsError, ExternalError

ANSWERS = 30.0
"""Longest wait for an answer [s]."""
STARTS = 120.0
"""How long a head may take from its start until it takes jobs [s]; half a minute on a busy machine."""
PAUSE = 1.0
"""Before it is asked again [s]."""
NOT_YET = "No available agent to submit job"
"""What Ray says before the agent of the head has told it that it is there."""
OVER = ("STOPPED", "SUCCEEDED", "FAILED")
CONFIGURE = "stargaze infra configure --tags ray"
REFUSED = (401, 403)
UNKNOWN = 404


@dataclass(frozen=True)
class RayJobs:
    """The job API at an address."""

    address: str
    token: str

    def submit(self, job: str, command: str) -> None:
        """Start a job under this name; a name is used once. A Ray that was just started is asked again until it takes jobs."""
        limit = time.monotonic() + STARTS
        while True:
            try:
                self._ask("POST", "/api/jobs/", {"submission_id": job, "entrypoint": command})
            except ExternalError as error:
                if NOT_YET not in error.message or time.monotonic() > limit:
                    raise
                time.sleep(PAUSE)
            else:
                return

    def status(self, job: str) -> tuple[str, str]:
        """Return PENDING, RUNNING or one of :data:`OVER`, and what Ray says of it; two empty words for a job it does not know."""
        found = self._ask("GET", f"/api/jobs/{job}")
        return ("", "") if found is None else (str(found["status"]), str(found.get("message") or ""))

    def stop(self, job: str) -> None:
        """Ask a job to end: SIGTERM, and SIGKILL three seconds later; nothing happens to one that is over or not known."""
        self._ask("POST", f"/api/jobs/{job}/stop")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the address is that of loopback
            self.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({})
        )  # never through a proxy: it is this machine
        try:
            with direct.open(request, timeout=ANSWERS) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code == UNKNOWN:
                return None
            if error.code in REFUSED:
                raise CredentialsError("Ray refuses the cluster's token", hint=CONFIGURE) from error
            said = error.read(2_000).decode("utf-8", "replace").strip().splitlines() or [str(error)]
            raise ExternalError(f"Ray's job API: {said[-1][:300]}", hint=CONFIGURE) from error
        except (OSError, ValueError) as error:
            raise ExternalError(f"Ray's job API at {self.address} does not answer: {error}", hint=CONFIGURE) from error


def jobs_of(settings: Path, address: str) -> RayJobs:
    """Return the job API with the token that the file of settings names.

    Raises
    ------
    ExternalError
        If Ray is not configured here.
    """
    try:
        lines = settings.read_text(encoding="utf-8").splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        token = Path(values["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="ascii").strip()
    except (OSError, KeyError, ValueError) as error:
        raise ExternalError(f"{settings}: Ray is not configured here: {error}", hint=CONFIGURE) from error
    return RayJobs(address, token)

"""Ray's job API on the loopback interface of the head node; every request carries the token.

Not ``ray.job_submission``: importing it takes 2.6 s and 85 MB in every call by ssh, its errors are text, it uses the proxies of
the environment for 127.0.0.1, and RAY_ADDRESS overrides its address.
"""

from __future__ import annotations

import http.client
import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.errors import CredentialsError, ExternalError
from stargaze.system.text import last_line

MAX_RESPONSE = 32 * 1024 * 1024
"""Largest response [byte]; a job has 2 kB."""
REQUEST_TIMEOUT = 30.0
"""Timeout for one request [s]."""
START_TIMEOUT = 120.0
"""Time from the start of a head node until it accepts jobs [s]; half a minute on a busy machine."""
RETRY_INTERVAL = 1.0
"""Time between two attempts to submit a job [s]."""
NOT_READY = "No available agent to submit job"
"""Ray's error before the agent of the head node has registered."""
FINAL_STATES = ("STOPPED", "SUCCEEDED", "FAILED")
CONFIGURE = "stargaze infra configure --tags ray"


@dataclass(frozen=True)
class RayJobs:
    """The job API at an address."""

    address: str
    token: str

    @classmethod
    def from_settings(cls, settings: Path, address: str) -> RayJobs:
        """Return the job API with the token that Ray's environment file names; ExternalError if Ray is not configured here."""
        try:
            lines = settings.read_text(encoding="utf-8").splitlines()
            values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
            return cls(address, Path(values["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="ascii").strip())
        except (OSError, KeyError, ValueError) as error:
            raise ExternalError(f"{settings}: Ray is not configured here: {error}", hint=CONFIGURE) from error

    def submit(self, job: str, *argv: str) -> None:
        """Start a job with a new id; retry while Ray is starting."""
        command = shlex.join(argv)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self._request("POST", "/api/jobs/", {"submission_id": job, "entrypoint": command})
            except ExternalError as error:
                if NOT_READY not in error.message or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_INTERVAL)
            else:
                return

    def status(self, job: str) -> tuple[str, str]:
        """Return PENDING, RUNNING or one of :data:`FINAL_STATES`, and Ray's message; two empty texts for an unknown job."""
        details = self._request("GET", f"/api/jobs/{job}")
        return ("", "") if details is None else (str(details["status"]), str(details.get("message") or ""))

    def stop(self, job: str) -> None:
        """Send SIGTERM to a job, and SIGKILL three seconds later; do nothing if it is not running."""
        self._request("POST", f"/api/jobs/{job}/stop")

    def running(self) -> list[str]:
        """Return the ids of all jobs that run; Ray's own id for a job that was not submitted by this API."""
        jobs = self._request("GET", "/api/jobs/") or []
        return [str(job["submission_id"] or job["job_id"]) for job in jobs if job["status"] == "RUNNING"]

    def cores(self) -> tuple[float, float]:
        """Return how many cores of the cluster are in use, and how many it has."""
        status = self._request("GET", "/api/cluster_status") or {}
        report = (status.get("data") or {}).get("clusterStatus") or {}
        used, total = ((report.get("loadMetricsReport") or {}).get("usage") or {}).get("CPU") or (0.0, 0.0)
        return float(used), float(total)

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of a response; None for 404."""
        request = urllib.request.Request(  # noqa: S310 - the address is that of loopback
            self.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for this machine
        try:
            with opener.open(request, timeout=REQUEST_TIMEOUT) as response:
                content = response.read(MAX_RESPONSE + 1)
            if len(content) > MAX_RESPONSE:
                raise ExternalError(f"Ray's job API sends more than {MAX_RESPONSE} bytes", hint=CONFIGURE)
            return json.loads(content or b"null")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            if error.code in (401, 403):
                raise CredentialsError("Ray rejected the cluster's token", hint=CONFIGURE) from error
            reason = last_line(error.read(2_000), str(error))[:300]
            raise ExternalError(f"Ray's job API: {reason}", hint=CONFIGURE) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ExternalError(f"Ray's job API at {self.address} does not answer: {error}", hint=CONFIGURE) from error

"""A client of the API, for ``stargaze run --once`` and tests."""

from __future__ import annotations

import time
from typing import Any

import requests

from stargaze.errors import BadDataError, ExternalError, StargazeError
from stargaze.features.github.api.limited_http import LimitedSession, ResponseLimitError, ResponseLimits
from stargaze.serve.web.problems import status_of_code

POLL_INTERVAL = 0.05
"""Seconds."""


def request_predictions(url: str, names: list[str], *, timeout: float = 60.0) -> list[dict[str, Any]]:
    """Return the ranked predictions of the server at ``url`` for repositories ``owner/name``.

    BadDataError is raised if it rejects the request, ExternalError if it fails or has no result within ``timeout`` [s].
    """
    limit = time.monotonic() + timeout
    try:
        with LimitedSession(ResponseLimits(seconds=timeout)) as session:
            session.trust_env = False  # a proxy of the environment does not know this machine's own server
            job = _parse(session.post(f"{url}/api/v1/predictions", json={"repositories": names}, timeout=10))
            while job["state"] in ("queued", "running"):
                if time.monotonic() > limit:
                    raise ExternalError(f"{url}: no result within {timeout:g} s", hint="stargaze status")
                time.sleep(POLL_INTERVAL)
                job = _parse(session.get(f"{url}/api/v1/predictions/{job['id']}", timeout=10))
    except (requests.RequestException, ResponseLimitError) as error:
        raise ExternalError(f"{url} cannot be reached: {error}", hint="stargaze serve") from error
    if job["state"] == "failed":
        details = job["error"]
        raise _error(status_of_code(details["code"]), details["message"], details["hint"])
    predictions: list[dict[str, Any]] = job["predictions"]
    return predictions


def _parse(response: requests.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    if response.ok:
        return body
    raise _error(response.status_code, body["detail"], body["hint"])


def _error(status: int, message: str, hint: str) -> StargazeError:
    kind = BadDataError if status < requests.codes.server_error else ExternalError
    return kind(message, hint=hint)

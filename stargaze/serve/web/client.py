"""Ask a running page once, as a program would: what ``make demo DEMO_ARGS=--once`` and the drills use."""

from __future__ import annotations

import time
from typing import Any

import requests

from stargaze.errors import BadDataError, ExternalError

PAUSE = 0.05
"""Between two looks at the answer [s]."""


def ask_once(url: str, names: list[str], *, patience: float = 60.0) -> list[dict[str, Any]]:
    """Return the ranked predictions of the page at ``url`` for repositories ``owner/name``.

    Raises
    ------
    BadDataError
        If the page refuses the question; the message is the page's.
    ExternalError
        If the page cannot be reached, fails, or has no answer within ``patience`` [s].
    """
    limit = time.monotonic() + patience
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment knows nothing of this machine's own page
            job = _read(session.post(f"{url}/api/v1/predictions", json={"repositories": names}, timeout=10))
            while job["state"] in ("queued", "running"):
                if time.monotonic() > limit:
                    raise ExternalError(f"{url}: no answer within {patience:g} s", hint="stargaze status")
                time.sleep(PAUSE)
                job = _read(session.get(f"{url}/api/v1/predictions/{job['id']}", timeout=10))
    except requests.RequestException as error:
        raise ExternalError(f"{url} cannot be reached: {error}", hint="stargaze serve") from error
    if job["state"] == "failed":
        raise BadDataError(job["error"]["message"], hint=job["error"]["hint"])
    predictions: list[dict[str, Any]] = job["predictions"]
    return predictions


def _read(response: requests.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    if response.ok:
        return body
    kind = BadDataError if response.status_code < requests.codes.server_error else ExternalError
    raise kind(body["error"]["message"], hint=body["error"]["hint"])

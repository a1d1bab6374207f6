"""Convert the errors of openstacksdk and keystoneauth, and retry calls that failed temporarily."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

import requests
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError

T = TypeVar("T")
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Before each retry [s]."""
MAX_RETRY_AFTER = 60.0
"""Longest delay that a Retry-After header can request [s]."""
TEMPORARY = (429, 500, 502, 503, 504)
IN_USE = 409
CONFLICTS = ("overlaps with another subnet", "already has a port on subnet")
"""Texts of conflicts that Neutron reports with status 400: with a resource that a killed command created late."""
GONE = 404
EXHAUSTED = ("quota", "no more ip addresses")
"""Texts of errors that do not pass by themselves."""
CHECK_CLOUDS_YAML = "compare it with the clouds.yaml that the cloud's web page offers"


class CloudError(ExternalError):
    """The cloud refused or failed; ``status`` is the HTTP status, None if there was no response."""

    code = "cloud_error"

    def __init__(self, message: str, *, hint: str, status: int | None = None, retry_after: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.is_exhausted = any(text in message.lower() for text in EXHAUSTED)
        self.status = status
        self.retry_after = retry_after


CONVERSIONS: tuple[tuple[Any, type[StargazeError], str, str], ...] = (
    ((sdk.ConfigException, keystone.MissingRequiredOptions), ConfigError, "clouds.yaml", CHECK_CLOUDS_YAML),
    (keystone.NoMatchingPlugin, ConfigError, "clouds.yaml: auth_type", CHECK_CLOUDS_YAML),
    (keystone.EndpointNotFound, ConfigError, "no such service or region", "check region_name in clouds.yaml"),
    (
        keystone.SSLError,
        ConfigError,
        "the cloud's certificate is not trusted here",
        "set cacert in clouds.yaml to the certificates of its authority",
    ),
    (
        (keystone.ConnectionError, keystone.DiscoveryFailure),
        CloudError,
        "the cloud is not reachable",
        "check auth_url in clouds.yaml and the network",
    ),
    (
        requests.JSONDecodeError,
        CloudError,
        "the cloud's response is not JSON",
        "a proxy or a login page answered instead; check the network and auth_url in clouds.yaml",
    ),
    (OSError, ConfigError, "clouds.yaml", "check cacert, cert and key in clouds.yaml"),
    (Exception, CloudError, "OpenStack failed", "run stargaze infra up again; stargaze doctor"),
)
"""The error class, message and hint for each library error; the first match counts."""


def retry(call: Callable[[], T], sleep: Callable[[float], None], statuses: Collection[int] = TEMPORARY) -> T:
    """Call a function, and again with increasing delays while it fails temporarily."""
    delays = iter(RETRY_DELAYS)
    while True:
        try:
            with convert_errors():
                return call()
        except StargazeError as error:
            if (delay := retry_delay(error, delays, statuses)) is None:
                raise
        sleep(delay)


def retry_delay(error: StargazeError, delays: Iterator[float], statuses: Collection[int]) -> float | None:
    """Return the delay before the next attempt [s]; None if a retry cannot help, as with an exceeded quota."""
    if not isinstance(error, CloudError) or error.is_exhausted:
        return None
    if error.status is not None and error.status not in statuses:
        return None
    delay = next(delays, None)
    return None if delay is None else max(delay, error.retry_after)


def with_context(error: StargazeError, context: str) -> StargazeError:
    """Return the error with the failed operation before its message."""
    kind = CredentialsError if isinstance(error, CredentialsError) else ExternalError
    return kind(f"{context}: {error.message}", hint=error.hint)


@contextlib.contextmanager
def convert_errors() -> Iterator[None]:
    """Convert every error of the two libraries."""
    try:
        yield
    except (sdk.SDKException, keystone.ClientException, OSError) as error:
        raise _convert(error) from error


def _convert(error: Exception) -> StargazeError:
    if isinstance(error, (sdk.HttpException, keystone.HttpError)):
        return _convert_http_error(error)
    if isinstance(error, OSError) and error.errno is not None:
        return ExternalError(f"the cloud is not reachable: {error}", hint="stargaze doctor")
    kind, context, hint = next(row[1:] for row in CONVERSIONS if isinstance(error, row[0]))
    return kind(f"{context}: {error_text(error)}", hint=hint)


def _convert_http_error(error: Any) -> StargazeError:
    text = error_text(error)
    status = getattr(error, "status_code", None) or getattr(error, "http_status", None)
    is_quota = "quota" in text.lower()
    if status == 401:
        hint = "check user, password or application credential in clouds.yaml; they may have expired"
        return CredentialsError(f"the cloud rejected the credentials: {text}", hint=hint)
    if status == 403 and not is_quota:
        hint = "the user or application credential needs the role member"
        return CredentialsError(f"the cloud denied the request: {text}", hint=hint)
    hint = "request a larger quota, or delete something" if is_quota else "run stargaze infra up again to continue"
    header = str(getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", ""))
    retry_after = min(float(header), MAX_RETRY_AFTER) if header.isdecimal() else 0.0
    message = f"OpenStack returned HTTP {status}: {text}"
    status = IN_USE if any(conflict in text for conflict in CONFLICTS) else status
    return CloudError(message, hint=hint, status=status, retry_after=retry_after)


def error_text(error: Exception) -> str:
    """Return the text of an error in one line, without the URL of the request."""
    text = getattr(error, "details", None) or getattr(error, "message", None) or str(error)
    return " ".join(str(text).split())[:400]

"""OpenStack: the one file that imports its SDK. What is read and written stands in ``reading`` and ``writing``."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openstack
import requests
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk
from openstack import utils

from stargaze import __version__
from stargaze.config import InfraSection
from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError, did_you_mean
from stargaze.infra.openstack import read as reading
from stargaze.infra.openstack import write as writing
from stargaze.infra.plan.offers import Offers
from stargaze.infra.plan.resources import ActualResource, DesiredResource, cluster_tag, preference

T = TypeVar("T")
API_TIMEOUT = 60
"""Of one call [s]."""
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Before each further try of a call that failed for the moment [s]."""
LONGEST = 60.0
"""That a cloud may ask us to wait [s]."""
FOR_THE_MOMENT = (429, 500, 502, 503, 504)
IN_USE = 409
GONE = 404
FULL = ("quota", "no more ip addresses")
"""Words of what only somebody can change."""
COMPARE = "compare it with what the cloud's page offers"
UNKNOWN_HOST = "NameResolutionError"
"""How urllib3 calls it; keystoneauth hands on the words alone."""
GROUP_VERSION = "2.64"
"""Of the compute API: server groups have one policy."""


class OpenStack:
    """Keep the promises of :class:`stargaze.infra.plan.cloud.Cloud` with openstacksdk."""

    def __init__(self, section: InfraSection, connection: Any, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._section = section
        self._connection = connection
        self._sleep = sleep
        with _said():
            self._hand = writing.Hand(connection, section.name, cluster_tag(section.name))
            self._apart = bool(utils.supports_microversion(connection.compute, GROUP_VERSION))

    @property
    def server(self) -> str:
        """Name Keystone's host."""
        return urlsplit(str(self._connection.config.auth.get("auth_url", ""))).hostname or ""

    @property
    def credential(self) -> str:
        """Name the kind of credential: "password", or one that opens this project alone."""
        kind = str(self._connection.config.config.get("auth_type") or "password")
        return "password" if kind in ("password", "v3password") else kind.removeprefix("v3")

    def offers(self) -> Offers:
        """Read images, flavors, networks and quotas, side by side."""
        with ThreadPoolExecutor(len(reading.OFFERS)) as pool:
            parts = pool.map(lambda read: self._patiently(lambda: read(self._connection)), reading.OFFERS.values())
            return Offers(**dict(zip(reading.OFFERS, parts, strict=True)), anti_affinity=self._apart)

    def found(self) -> tuple[ActualResource, ...]:
        """Read all kinds side by side; what is named by another's name is put together afterwards."""
        with ThreadPoolExecutor(len(reading.LISTS)) as pool:
            parts = pool.map(self._listed, reading.LISTS)
            return reading.owned_resources(dict(zip(reading.LISTS, parts, strict=True)), self._section.name)

    def make(self, resource: DesiredResource, ids: Mapping[str, str]) -> ActualResource:
        """Make it; where an answer was lost, or what it needs is taken as by a call that is still on its way, look first."""
        tries = iter(PAUSES)
        while True:
            try:
                with _said():
                    return self._make(resource, ids)
            except StargazeError as error:
                if (pause := _pause(error, tries, (*FOR_THE_MOMENT, IN_USE))) is None:
                    raise _about(error, f"{resource.key} could not be made") from error
            self._sleep(pause)
            if resource.kind != "rules" and (there := self._there(resource)):
                return self.mend(resource, there, ids) if there.spec.get("untagged") else there

    def mend(self, resource: DesiredResource, found: ActualResource, ids: Mapping[str, str]) -> ActualResource:
        """Change it; the same change twice is no harm. Each try looks anew at what a call still on its way has done meanwhile."""
        with _telling(f"{resource.key} could not be repaired"):
            _patiently(
                lambda: writing.MEND[resource.kind](self._connection, resource, found, ids, self._hand.mark),
                self._sleep,
                (*FOR_THE_MOMENT, IN_USE),
            )
        return found

    def remove(self, found: ActualResource) -> None:
        """Delete it; while something that goes too still uses it, wait."""
        tries = iter((*PAUSES, *PAUSES))
        while True:
            try:
                return self._patiently(lambda: writing.REMOVE[found.kind](self._connection, found))
            except CloudError as error:
                if error.status == GONE:
                    return None
                pause = next(tries, None) if error.status == IN_USE else None
                if pause is None:
                    raise _about(error, f"{found.key} could not be deleted") from error
            self._sleep(pause)

    def servers(self) -> tuple[ActualResource, ...]:
        """List our servers."""
        return reading.servers(self._listed("server"), self._section.name)

    def console(self, server_id: str) -> str:
        """Return what cloud-init and the kernel wrote."""
        answer = self._patiently(lambda: self._connection.compute.get_server_console_output(server_id))
        return str((answer or {}).get("output") or "")

    def _there(self, resource: DesiredResource) -> ActualResource | None:
        there = [one for one in self.found() if one.key == resource.key and not one.unlike]
        return min(there, key=preference, default=None)

    def _listed(self, kind: str) -> list[Any]:
        return self._patiently(lambda: list(reading.LISTS[kind](self._connection, self._section.name)))

    def _make(self, resource: DesiredResource, ids: Mapping[str, str]) -> ActualResource:
        made = writing.MAKE[resource.kind](self._hand, resource, ids)
        return ActualResource(
            resource.kind, resource.name, made.id, {**resource.spec, **reading.seen(resource.kind, made)}
        )

    def _patiently(self, call: Callable[[], T]) -> T:
        return _patiently(call, self._sleep)


def connect(section: InfraSection, *, sleep: Callable[[float], None] = time.sleep) -> OpenStack:
    """Open the cloud that the config names in clouds.yaml.

    Raises
    ------
    ConfigError
        If there is no such cloud.
    CredentialsError
        If it does not know who asks.
    """
    with _said():
        name = _cloud(section)
    return _patiently(lambda: OpenStack(section, _open(name), sleep=sleep), sleep)


def _patiently(call: Callable[[], T], sleep: Callable[[float], None], passing: Collection[int] = FOR_THE_MOMENT) -> T:
    """Call, and again after longer and longer pauses while the cloud refuses for the moment."""
    tries = iter(PAUSES)
    while True:
        try:
            with _said():
                return call()
        except StargazeError as error:
            if (pause := _pause(error, tries, passing)) is None:
                raise
        sleep(pause)


def _open(name: str | None) -> Any:
    """Log in, and learn where each service has which version: where that fails, the SDK would guess, and stay with it."""
    connection = openstack.connect(
        cloud=name, app_name="stargaze", app_version=__version__, api_timeout=API_TIMEOUT, load_envvars=True
    )
    _log_in(connection)
    for service in (connection.network, connection.compute):
        data = service.get_endpoint_data()
        if data is None or data.api_version is None:
            raise CloudError(f"{service.service_type}: tells no version", hint="the cloud is in trouble", status=None)
    return connection


def _log_in(connection: Any) -> None:
    """Ask for a token; where the host's name is wrong, or no name can be looked up, another try is of no use."""
    try:
        connection.session.get_token()
    except keystone.ConnectionError as error:
        if UNKNOWN_HOST not in str(error):
            raise
        address = str(connection.config.auth.get("auth_url", ""))
        raise ExternalError(
            f"the cloud cannot be reached: the host of {address} cannot be looked up",
            hint="check auth_url in clouds.yaml, the network and its proxy",
        ) from error


class CloudError(ExternalError):
    """The cloud refused or failed; ``status`` is HTTP's, None where there was no answer."""

    def __init__(self, message: str, *, hint: str, status: int | None, retry_after: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.is_full = any(word in message.lower() for word in FULL)
        self.status = status
        self.retry_after = retry_after


def _cloud(section: InfraSection) -> str | None:
    """Return which cloud of clouds.yaml is meant; None if the environment tells all."""
    known = [name for name in _clouds() if name not in ("envvars", "defaults")]
    if section.cloud and section.cloud not in known:
        hint = did_you_mean(section.cloud, known, f"clouds.yaml has: {', '.join(known) or 'no cloud'}")
        raise ConfigError(f"infra.cloud: {section.cloud} is not in clouds.yaml", hint=hint)
    if section.cloud or "OS_CLOUD" in os.environ or "OS_AUTH_URL" in os.environ:
        return section.cloud or os.environ.get("OS_CLOUD")
    if len(known) != 1:
        what = (
            f"clouds.yaml has several clouds: {', '.join(known)}" if known else "there is no clouds.yaml with a cloud"
        )
        hint = (
            "infra.cloud = one of them"
            if known
            else "download clouds.yaml from the cloud's page into ~/.config/openstack/"
        )
        raise ConfigError(what, hint=hint)
    return str(known[0])


def _clouds() -> list[str]:
    """Return the clouds that the SDK finds; a file that it cannot read it would leave out, and only log that."""
    log, skipped = logging.getLogger("openstack.config"), _Skipped()
    log.addHandler(skipped)
    try:
        found = openstack.config.OpenStackConfig()
    except (AttributeError, TypeError) as error:
        raise ConfigError("clouds.yaml: its sections are no tables", hint=COMPARE) from error
    finally:
        log.removeHandler(skipped)
    for path, why in skipped.files:
        raise ConfigError(f"{path} cannot be read{_place(why)}", hint=COMPARE)
    clouds = found.cloud_config["clouds"]
    if not isinstance(clouds, Mapping):
        raise ConfigError("clouds.yaml: clouds should be a table of clouds", hint=COMPARE)
    for name, cloud in clouds.items():
        if not isinstance(cloud, Mapping) or not isinstance(cloud.get("auth") or {}, Mapping):
            raise ConfigError(f"clouds.yaml: clouds.{name} and its auth should be tables", hint=COMPARE)
    return [str(name) for name in clouds]


class _Skipped(logging.Handler):
    """Hear which files the SDK left out, and why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.files: list[tuple[str, Exception]] = []

    def emit(self, record: logging.LogRecord) -> None:
        match record.args:
            case (str(path), Exception() as error):
                self.files.append((path, error))


def _place(error: Exception) -> str:
    """Report where a parser of YAML or JSON stopped, and why."""
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else getattr(error, "lineno", None)
    why = getattr(error, "problem", None) or _words(error)
    return f": {why}" if line is None else f", line {line}: {why}"


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """Report in our words what the two libraries raise."""
    try:
        yield
    except keystone.Unauthorized as error:
        raise CredentialsError(
            f"the cloud does not accept the credentials: {_words(error)}",
            hint="check user, password or application credential in clouds.yaml; they may have expired",
        ) from error
    except (sdk.ConfigException, keystone.MissingRequiredOptions) as error:
        raise ConfigError(f"clouds.yaml: {_words(error)}", hint=COMPARE) from error
    except keystone.NoMatchingPlugin as error:
        raise ConfigError(f"clouds.yaml: auth_type: {_words(error)}", hint=COMPARE) from error
    except keystone.EndpointNotFound as error:
        raise ConfigError(
            f"the cloud has no such service or region: {_words(error)}", hint="check region_name in clouds.yaml"
        ) from error
    except (keystone.ConnectionError, keystone.DiscoveryFailure) as error:
        raise CloudError(
            f"the cloud cannot be reached: {_words(error)}", hint="check auth_url and the network", status=None
        ) from error
    except (sdk.HttpException, keystone.HttpError) as error:
        raise _http(error) from error
    except (sdk.SDKException, keystone.ClientException) as error:
        raise CloudError(
            f"the cloud: {_words(error)}", hint="stargaze infra up again; stargaze doctor", status=None
        ) from error
    except OSError as error:
        raise _below(error) from error


def _below(error: OSError) -> StargazeError:
    """Report what requests raises and the two libraries hand on as it is."""
    if isinstance(error, requests.JSONDecodeError):
        hint = "a proxy or a login page answers in its place; check the network and auth_url in clouds.yaml"
        return CloudError(f"the cloud's answer is no JSON: {_words(error)}", hint=hint, status=None)
    if error.errno is not None:
        return ExternalError(f"the cloud cannot be asked: {error}", hint="stargaze doctor")
    return ConfigError(f"clouds.yaml: {_words(error)}", hint="check cacert, cert and key in clouds.yaml")


def _http(error: Any) -> StargazeError:
    status = getattr(error, "status_code", None) or getattr(error, "http_status", None)
    words = _words(error)
    answer = getattr(error, "response", None)
    asked = getattr(answer, "headers", {}).get("Retry-After", "") if answer is not None else ""
    if status == 401:
        return CredentialsError(f"the cloud does not accept the credentials: {words}", hint="check clouds.yaml")
    if status == 403 and "quota" not in words.lower():
        hint = "the role of this user or application credential is too weak: member is enough"
        return CredentialsError(f"the cloud does not allow it: {words}", hint=hint)
    full = "quota" in words.lower()
    hint = "ask for a larger quota, or free something" if full else "stargaze infra up goes on where this ended"
    wait = min(float(asked), LONGEST) if str(asked).isdecimal() else 0.0
    return CloudError(f"the cloud says {status}: {words}", hint=hint, status=status, retry_after=wait)


def _words(error: Exception) -> str:
    """Return what the cloud said, in one line and without the address that was asked."""
    said = getattr(error, "details", None) or getattr(error, "message", None) or str(error)
    return " ".join(str(said).split())[:400]


def _pause(error: StargazeError, tries: Iterator[float], passing: Collection[int]) -> float | None:
    """Report how long to wait before the next try; None if another would be of no use, as where a quota is full."""
    if not isinstance(error, CloudError) or not (error.status is None or error.status in passing) or error.is_full:
        return None
    pause = next(tries, None)
    return None if pause is None else max(pause, error.retry_after)


def _about(error: StargazeError, what: str) -> StargazeError:
    """Report what was being done."""
    kind = CredentialsError if isinstance(error, CredentialsError) else ExternalError
    return kind(f"{what}: {error.message}", hint=error.hint)


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    try:
        yield
    except StargazeError as error:
        raise _about(error, what) from error

"""The OpenStack client: implements :class:`stargaze.infra.plan.resources.Cloud` with openstacksdk."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openstack
from keystoneauth1 import exceptions as keystone
from openstack import utils

from stargaze import __version__
from stargaze.config import InfraSection
from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError, did_you_mean
from stargaze.infra.openstack import read, write
from stargaze.infra.openstack.errors import (
    CHECK_CLOUDS_YAML,
    GONE,
    IN_USE,
    RETRY_DELAYS,
    TEMPORARY,
    CloudError,
    convert_errors,
    error_text,
    retry,
    retry_delay,
    with_context,
)
from stargaze.infra.plan.offers import Offers
from stargaze.infra.plan.resources import ActualResource, DesiredResource, cluster_tag, preference
from stargaze.network_settings import check_request_settings
from stargaze.system.parallel import map_in_threads

T = TypeVar("T")
API_TIMEOUT = 60
"""Timeout of one call [s]."""
SECRETS = {"password": "password", "token": "token", "applicationcredential": "application_credential_secret"}
"""The secret in ``auth`` by kind of credential."""
TOO_DEEP = "clouds.yaml: an alias contains itself, or tables are nested too deeply"
UNKNOWN_HOST = "NameResolutionError"
"""The name of urllib3's error; keystoneauth passes on only its text."""
SERVER_GROUP_VERSION = "2.64"
"""Version of the compute API from which a server group has one policy."""


class OpenStack:
    """A project of an OpenStack cloud."""

    def __init__(self, section: InfraSection, connection: Any, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cluster = section.name
        self._connection = connection
        self._sleep = sleep
        with convert_errors():
            self._tagged = write.TaggedConnection(connection, section.name, cluster_tag(section.name))
            self._anti_affinity = bool(utils.supports_microversion(connection.compute, SERVER_GROUP_VERSION))

    @property
    def auth_host(self) -> str:
        """The host name of Keystone."""
        return urlsplit(str(self._connection.config.auth.get("auth_url", ""))).hostname or ""

    @property
    def credential(self) -> str:
        """The kind of credential: "password", or one that is limited to this project."""
        kind = str(self._connection.config.config.get("auth_type") or "password")
        return "password" if kind in ("password", "v3password") else kind.removeprefix("v3")

    def offers(self) -> Offers:
        """Read images, flavors, networks and quotas in parallel."""
        functions = list(read.OFFERS.values())
        parts = map_in_threads(lambda function: self._retry(lambda: function(self._connection)), functions)
        return Offers(**dict(zip(read.OFFERS, parts, strict=True)), anti_affinity=self._anti_affinity)

    def resources(self) -> tuple[ActualResource, ...]:
        """List all kinds in parallel; references between them are resolved afterwards."""
        lists = map_in_threads(self._list, list(read.LIST))
        return read.owned_resources(dict(zip(read.LIST, lists, strict=True)), self._cluster)

    def create(self, resource: DesiredResource, ids: Mapping[str, str]) -> ActualResource:
        """Create a resource; after a lost response or a conflict with a late call, look for it before the next attempt."""
        delays = iter(RETRY_DELAYS)
        while True:
            try:
                with convert_errors():
                    created = write.CREATE[resource.kind](self._tagged, resource, ids)
                    spec = {**resource.spec, **read.comparable_spec(resource.kind, created)}
                    return ActualResource(resource.kind, resource.name, created.id, spec)
            except StargazeError as error:
                if (delay := retry_delay(error, delays, (*TEMPORARY, IN_USE))) is None:
                    raise with_context(error, f"{resource.key} could not be created") from error
            self._sleep(delay)
            if resource.kind != "rules" and (existing := self._find(resource)):
                return self.update(resource, existing, ids) if existing.spec.get("untagged") else existing

    def update(self, resource: DesiredResource, actual: ActualResource, ids: Mapping[str, str]) -> ActualResource:
        """Update a resource; every attempt reads it again, because a late call may have changed it."""
        change = write.UPDATE[resource.kind]
        try:
            retry(lambda: change(self._tagged, resource, actual, ids), self._sleep, (*TEMPORARY, IN_USE))
        except StargazeError as error:
            raise with_context(error, f"{resource.key} could not be updated") from error
        return actual

    def delete(self, resource: ActualResource) -> None:
        """Delete a resource; wait while another resource that is being deleted still uses it."""
        delays = iter((*RETRY_DELAYS, *RETRY_DELAYS))
        while True:
            try:
                return self._retry(lambda: write.DELETE[resource.kind](self._connection, resource))
            except CloudError as error:
                if error.status == GONE:
                    return None
                delay = next(delays, None) if error.status == IN_USE else None
                if delay is None:
                    raise with_context(error, f"{resource.key} could not be deleted") from error
            self._sleep(delay)

    def servers(self) -> tuple[ActualResource, ...]:
        """List the cluster's servers."""
        return read.owned_servers(self._list("server"), self._cluster)

    def console_output(self, server_id: str) -> str:
        """Return the output of kernel and cloud-init."""
        answer = self._retry(lambda: self._connection.compute.get_server_console_output(server_id))
        return str((answer or {}).get("output") or "")

    def _find(self, resource: DesiredResource) -> ActualResource | None:
        matches = [other for other in self.resources() if other.key == resource.key and not other.conflict]
        return min(matches, key=preference, default=None)

    def _list(self, kind: str) -> list[Any]:
        return self._retry(lambda: list(read.LIST[kind](self._connection, self._cluster)))

    def _retry(self, call: Callable[[], T]) -> T:
        return retry(call, self._sleep)


def connect(section: InfraSection, *, sleep: Callable[[float], None] = time.sleep) -> OpenStack:
    """Connect to the cloud that the config selects in clouds.yaml."""
    with convert_errors():
        name = _select_cloud(section)
    return retry(lambda: OpenStack(section, _open(name), sleep=sleep), sleep)


def _open(name: str | None) -> Any:
    """Log in and discover the API versions now: after a failed discovery, the SDK would assume a version and keep it."""
    logging.getLogger("keystoneauth").addHandler(logging.NullHandler())  # what it warns about becomes an error here
    try:
        secret = _missing_secret(name)
        connection = openstack.connect(
            cloud=name,
            app_name="stargaze",
            app_version=__version__,
            api_timeout=API_TIMEOUT,
            load_envvars=True,
            **secret,
        )
    except (TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"clouds.yaml: {error_text(error)}", hint=CHECK_CLOUDS_YAML) from error
    _log_in(connection)
    for service in (connection.network, connection.compute):
        data = service.get_endpoint_data()
        if data is None or data.api_version is None:
            message = f"{service.service_type}: the endpoint reports no API version"
            raise CloudError(message, hint="check the cloud's health")
    return connection


def _missing_secret(name: str | None) -> dict[str, Any]:
    """Return the secret that clouds.yaml lacks, from the environment: a downloaded file contains no password.

    Raise CredentialsError if there is none, and ConfigError if the environment has a proxy or certificates that cannot be used.
    """
    cloud = openstack.config.OpenStackConfig(load_envvars=True).get_one(cloud=name, validate=False)
    auth = cloud.config.get("auth") or {}
    _check_auth_url(auth.get("auth_url"))
    kind = str(cloud.config.get("auth_type") or "password").removeprefix("v3").removeprefix("v2")
    if kind == "password" and "application_credential_id" in auth:
        hint = f"add it to clouds.{name or 'NAME'}: auth_type: v3applicationcredential"
        raise ConfigError("clouds.yaml: an application credential needs an auth_type", hint=hint)
    secret = SECRETS.get(kind, "")
    if not secret or auth.get(secret):
        return {}
    variable = f"OS_{secret.upper()}"
    if not os.environ.get(variable):
        message = f"clouds.yaml holds no {secret}" if name else f"{variable} is not set"
        place = f"add it to clouds.{name}.auth: {secret}: …, or " if name else ""
        raise CredentialsError(message, hint=f"{place}export {variable}=…")
    return {secret: os.environ[variable]}


def _check_auth_url(url: object) -> None:
    if url is None:
        return
    parts = urlsplit(str(url))
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"clouds.yaml: auth_url is {str(url)!r}: not a URL", hint="https://HOST:5000/v3")
    check_request_settings(str(url), os.environ)


def _log_in(connection: Any) -> None:
    """Request a token; do not retry if the host name cannot be resolved."""
    try:
        connection.session.get_token()
    except keystone.ConnectionError as error:
        if UNKNOWN_HOST not in str(error):
            raise
        url = str(connection.config.auth.get("auth_url", ""))
        message = f"the cloud is not reachable: the host name of {url} cannot be resolved"
        raise ExternalError(message, hint="check auth_url in clouds.yaml, the network and its proxy") from error


def _select_cloud(section: InfraSection) -> str | None:
    """Return the name of the cloud in clouds.yaml; None if the environment describes it."""
    known = [name for name in _read_cloud_names() if name not in ("envvars", "defaults")]
    if section.cloud and section.cloud not in known:
        hint = did_you_mean(section.cloud, known, f"clouds.yaml has: {', '.join(known) or 'no cloud'}")
        raise ConfigError(f"infra.cloud: {section.cloud} is not in clouds.yaml", hint=hint)
    chosen = os.environ.get("OS_CLOUD")
    if not section.cloud and chosen and chosen not in ("envvars", *known):
        hint = did_you_mean(chosen, known, f"clouds.yaml has: {', '.join(known) or 'no cloud'}")
        raise ConfigError(f"environment: OS_CLOUD is {chosen}: not in clouds.yaml", hint=hint)
    if section.cloud or chosen or "OS_AUTH_URL" in os.environ:
        return section.cloud or chosen
    if not known:
        hint = "download clouds.yaml from the cloud's web page to ~/.config/openstack/"
        raise ConfigError("there is no clouds.yaml with a cloud", hint=hint)
    if len(known) > 1:
        raise ConfigError(
            f"clouds.yaml has several clouds: {', '.join(known)}", hint="set infra.cloud or OS_CLOUD to one of them"
        )
    return str(known[0])


def _read_cloud_names() -> list[str]:
    """Return the names of all clouds; raise an error for a file that the SDK would skip with only a log message."""
    log, skipped = logging.getLogger("openstack.config"), _SkippedFiles()
    log.addHandler(skipped)
    try:
        config = openstack.config.OpenStackConfig()
    except (AttributeError, TypeError) as error:
        raise ConfigError("clouds.yaml: its sections are not tables", hint=CHECK_CLOUDS_YAML) from error
    except RecursionError as error:
        raise ConfigError(TOO_DEEP, hint=CHECK_CLOUDS_YAML) from error
    finally:
        log.removeHandler(skipped)
    for path, parse_error in skipped.files:
        raise ConfigError(f"{path} cannot be read{_describe_parse_error(parse_error)}", hint=CHECK_CLOUDS_YAML)
    clouds = config.cloud_config["clouds"]
    if not isinstance(clouds, Mapping):
        raise ConfigError("clouds.yaml: clouds should be a table of clouds", hint=CHECK_CLOUDS_YAML)
    _check_depth(clouds)
    for name, cloud in clouds.items():
        if not isinstance(cloud, Mapping) or not isinstance(cloud.get("auth", {}), Mapping):
            raise ConfigError(f"clouds.yaml: clouds.{name} and its auth should be tables", hint=CHECK_CLOUDS_YAML)
    return [str(name) for name in clouds]


def _check_depth(clouds: Mapping[Any, Any]) -> None:
    """Raise ConfigError if an alias of YAML contains itself, which no library of the SDK expects."""
    try:
        json.dumps(clouds, default=str, skipkeys=True)
    except (ValueError, RecursionError) as error:
        raise ConfigError(TOO_DEEP, hint=CHECK_CLOUDS_YAML) from error


class _SkippedFiles(logging.Handler):
    """Collect the files that the SDK skipped, with the errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.files: list[tuple[str, Exception]] = []

    def emit(self, record: logging.LogRecord) -> None:
        match record.args:
            case (str(path), Exception() as error):
                self.files.append((path, error))


def _describe_parse_error(error: Exception) -> str:
    """Return line and reason of a YAML or JSON error."""
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else getattr(error, "lineno", None)
    reason = getattr(error, "problem", None) or error_text(error)
    return f": {reason}" if line is None else f", line {line}: {reason}"

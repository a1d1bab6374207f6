"""Checks of this machine, the cloud and its machines for ``stargaze doctor``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from stargaze.config import Config, InfraSection
from stargaze.diagnostics import Check, catch_errors, check_this_machine
from stargaze.infra.hosts.state_dir import StateDir, open_state_dir
from stargaze.pipeline.backup import check_store
from stargaze.store import Store


def run_checks(config: Config, store: Store, environ: Mapping[str, str]) -> tuple[Check, ...]:
    """Check this machine, the cloud if one is configured, and the machines if there are any."""
    section = config.infra
    state_dir = open_state_dir(section, store)
    return (
        *check_this_machine(store.root, environ),
        *catch_errors("store", lambda: check_store(store, datetime.now(UTC))),
        *(_check_cloud(section, state_dir) if _has_cloud(section, environ) else ()),
        *(_check_machines(section, state_dir) if section.hosts or state_dir.hosts.is_file() else ()),
    )


def _has_cloud(section: InfraSection, environ: Mapping[str, str]) -> bool:
    home = Path(environ.get("HOME", "/"))
    files = (Path("clouds.yaml"), home / ".config/openstack/clouds.yaml", Path("/etc/openstack/clouds.yaml"))
    named = section.cloud or any(name in environ for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_CLIENT_CONFIG_FILE"))
    return section.provider == "openstack" and bool(named or any(path.is_file() for path in files))


def _check_cloud(section: InfraSection, state_dir: StateDir) -> tuple[Check, ...]:
    from stargaze.infra.checks import check_cloud
    from stargaze.infra.openstack.client import connect

    def check() -> tuple[Check, ...]:
        cloud = connect(section)
        return check_cloud(section, cloud, state_dir, cloud.credential)

    return catch_errors("credentials", check)


def _check_machines(section: InfraSection, state_dir: StateDir) -> tuple[Check, ...]:
    from stargaze.infra.checks import check_machines

    return catch_errors("machines", lambda: check_machines(section, state_dir))

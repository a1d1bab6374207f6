"""Everything that can be checked from here: this machine, the cloud, the machines there; each line with what to type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stargaze.config import Config, InfraSection
from stargaze.diagnostics import Check, checked, of_this_machine
from stargaze.infra.hosts.state_dir import StateDir, open_state_dir
from stargaze.store import Store


def examine(settings: Config, store: Store, environ: Mapping[str, str]) -> tuple[Check, ...]:
    """Check this machine, and what ``infra`` has made or would make where there is a cloud or a list of machines."""
    section = settings.infra
    state_dir = open_state_dir(section, store)
    return (
        *of_this_machine(store.root, environ),
        *(_cloud(section, state_dir) if _has_cloud(section, environ) else ()),
        *(_machines(section, state_dir) if section.hosts or state_dir.hosts.is_file() else ()),
    )


def _has_cloud(section: InfraSection, environ: Mapping[str, str]) -> bool:
    """Notify whether a cloud is named anywhere; who works on one machine alone is not asked about one."""
    home = Path(environ.get("HOME", "/"))
    files = (Path("clouds.yaml"), home / ".config/openstack/clouds.yaml", Path("/etc/openstack/clouds.yaml"))
    named = section.cloud or any(name in environ for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_CLIENT_CONFIG_FILE"))
    return section.provider == "openstack" and bool(named or any(path.is_file() for path in files))


def _cloud(section: InfraSection, state_dir: StateDir) -> tuple[Check, ...]:
    from stargaze.infra.checks import check_cloud
    from stargaze.infra.openstack.client import connect

    def look() -> tuple[Check, ...]:
        cloud = connect(section)
        return check_cloud(section, cloud, state_dir, cloud.credential)

    return checked("credentials", look)


def _machines(section: InfraSection, state_dir: StateDir) -> tuple[Check, ...]:
    from stargaze.infra.checks import check_machines

    return checked("machines", lambda: check_machines(section, state_dir))

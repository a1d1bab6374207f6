"""Ansible's inventory: groups by role and by service, and the variables of the playbooks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from stargaze.config import InfraSection
from stargaze.infra.ansible.page_tls import NO_TLS, TlsFiles
from stargaze.infra.hosts.host_list import SshAccess, ssh_access, ssh_options
from stargaze.infra.hosts.state_dir import StateDir
from stargaze.infra.machines import Host, Role, find_jump_host
from stargaze.infra.plan.resources import ANYWHERE
from stargaze.system.files import atomic_write

MANAGERS = 3
"""Managers of a Swarm with at least as many nodes; a smaller Swarm has one, because two have no majority without each other."""


@dataclass(frozen=True)
class PlaybookFiles:
    """Local files that the playbooks copy to the machines."""

    wheel: str = ""
    lock: str = ""
    allowed_signers: str = ""
    ray_token: str = ""
    tls: TlsFiles = NO_TLS


def write_inventory(section: InfraSection, state_dir: StateDir, hosts: Sequence[Host], files: PlaybookFiles) -> Path:
    """Write the inventory as JSON, which is valid YAML."""
    inventory = build_inventory(section, hosts, ssh_access(section, state_dir), files)
    with atomic_write(state_dir.inventory) as temporary:
        temporary.write_text(json.dumps(inventory, indent=1) + "\n", encoding="utf-8")
    return state_dir.inventory


def build_inventory(
    section: InfraSection, hosts: Sequence[Host], access: SshAccess, files: PlaybookFiles
) -> dict[str, Any]:
    """Return the inventory as data."""
    names = {role: [host.machine.name for host in hosts if host.machine.role == role] for role in get_args(Role)}
    managers = names["production"][: MANAGERS if len(names["production"]) >= MANAGERS else 1]
    children: dict[str, Any] = {
        "orchestration": _group(names["orchestration"]),
        "development": _group(names["development"]),
        "parameter_servers": _group(names["parameter"]),
        "production": _group(names["production"]),
        "ray_head": _group(names["development"]),
        "ray_workers": _group(names["parameter"]),
        "ray": {"children": {"ray_head": {}, "ray_workers": {}}},
        "swarm_managers": _group(managers),
        "swarm_workers": _group([name for name in names["production"] if name not in managers]),
        "swarm": {"children": {"swarm_managers": {}, "swarm_workers": {}}},
    }
    variables = {
        "ansible_ssh_private_key_file": str(access.key),
        "stargaze_name": section.name,
        "stargaze_page_port": section.page_port,
        # Without ranges only the cloud's security group restricts ssh: `infra up` adapts it when this machine's address changes.
        "stargaze_ssh_from": list(section.ssh_from or ANYWHERE),
        "base_updates": section.unattended_upgrades,
        "base_reboot_at": section.reboot_at,
        "stargaze_wheel": files.wheel,
        "stargaze_lock": files.lock,
        "stargaze_allowed_signers": files.allowed_signers,
        "stargaze_ray_token_file": files.ray_token,
        **(_tls_variables(section, files.tls) if section.tls != "off" else {}),
        **{name: _parse_variable(text) for name, text in section.ansible_variables.items()},
    }
    jump = find_jump_host(hosts)
    return {
        "all": {
            "hosts": {host.machine.name: _host_variables(host, jump, access) for host in hosts},
            "vars": {name: value for name, value in variables.items() if value != ""},
            "children": children,
        }
    }


def _tls_variables(section: InfraSection, files: TlsFiles) -> dict[str, Any]:
    return {
        "stargaze_tls": section.tls,
        "stargaze_page_domain": section.page_domain,
        "stargaze_tls_port": section.tls_port,
        "stargaze_tls_certificate": files.certificate,
        "stargaze_tls_key": files.key,
        "stargaze_tls_ca": files.ca,
        "stargaze_acme_directory": section.acme_directory,
        "stargaze_acme_email": section.acme_email,
    }


def _group(names: Sequence[str]) -> dict[str, Any]:
    return {"hosts": {name: {} for name in names}}


def _parse_variable(text: str) -> Any:
    """Parse a variable as JSON if possible: the config holds strings, but a role may need a number or a boolean.

    >>> _parse_variable("false"), _parse_variable("900"), _parse_variable("/srv/wheels")
    (False, 900, '/srv/wheels')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


def _host_variables(host: Host, jump: Host | None, access: SshAccess) -> dict[str, Any]:
    return {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_ssh_common_args": shlex.join(ssh_options(host, jump, access)),
        "private_ip": host.private_ip,
    }

"""The configuration of the five services, files and environment: pure functions of a folder, ports and passwords."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
INSIDE = HERE / "inside"
"""Own programs that run in the environment of the services."""
PROJECT = HERE.parent.parent.parent
REGION = "RegionOne"
SERVICES = {
    "keystone": ("identity", "/v3"),
    "placement": ("placement", ""),
    "glance": ("image", ""),
    "neutron": ("network", ""),
    "nova": ("compute", "/v2.1"),
}
"""Type in the catalog and root path of the API of each service."""
HOSTS = 6
"""Compute hosts of Nova: enough for five servers with anti-affinity."""

Section = Mapping[str, object]


@dataclass(frozen=True)
class Layout:
    """Ports, folders and passwords of the services."""

    venv: Path
    folder: Path
    ports: Mapping[str, int]
    admin_password: str
    service_password: str

    def bin(self, name: str) -> Path:
        """Return a program that is part of the packages of the services."""
        return self.venv / "bin" / name

    def script_command(self, script: str, *argv: object) -> list[object]:
        """Return the command of an own script, in the environment of the services."""
        return [self.bin("python"), INSIDE / f"{script}.py", *argv]

    def url(self, service: str) -> str:
        """Return the root URL of the API of a service."""
        return f"http://127.0.0.1:{self.ports[service]}{SERVICES[service][1]}"

    def database(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"sqlite:///{self.folder}/databases/{name}.db?timeout=60"

    def conf(self, service: str) -> Path:
        """Return the configuration file of a service."""
        return self.folder / "conf" / service / f"{service if service != 'glance' else 'glance-api'}.conf"

    def paste(self, service: str) -> Path:
        """Return the pipeline file of a service, which is part of its package."""
        names = {"glance": "glance-api-paste.ini"}
        return self.venv / "etc" / service / names.get(service, "api-paste.ini")


def files(layout: Layout) -> dict[Path, str]:
    """Return the content of each file."""
    sections = {
        "keystone": _keystone(layout),
        "placement": _placement(layout),
        "glance": _glance(layout),
        "neutron": _neutron(layout),
        "nova": _nova(layout),
    }
    return {layout.conf(service): _text(_common(layout, service) | extra) for service, extra in sections.items()}


def environment(layout: Layout) -> dict[str, str]:
    """Return the environment variables of the services."""
    conf = layout.folder / "conf"
    return {
        "PATH": f"{layout.venv / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": f"{INSIDE}:{PROJECT}",
        "LANG": "C.UTF-8",
        "HOME": str(layout.folder),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "LAB_HYPERVISOR": str(layout.folder / "hypervisor"),
        "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1",
        "OS_KEYSTONE_CONFIG_DIR": str(conf / "keystone"),
        "OS_PLACEMENT_CONFIG_DIR": str(conf / "placement"),
        "OS_GLANCE_CONFIG_DIR": str(conf / "glance"),
        "OS_NEUTRON_CONFIG_FILES": str(conf / "neutron" / "neutron.conf"),
    }


def _text(sections: Mapping[str, Section]) -> str:
    parts = []
    for name, section in sections.items():
        lines = [
            f"{key} = {str(value).lower() if isinstance(value, bool) else value}" for key, value in section.items()
        ]
        parts.append("\n".join([f"[{name}]", *lines, ""]))
    return "\n".join(parts)


def _common(layout: Layout, service: str) -> dict[str, Section]:
    return {
        "DEFAULT": {"log_file": layout.folder / "log" / f"{service}.log"},
        "oslo_concurrency": {"lock_path": layout.folder / "state" / service},
    }


def _database(layout: Layout, name: str) -> Section:
    # the data ends with the lab, so writes need not wait for the disk
    return {"connection": layout.database(name), "sqlite_synchronous": False}


def _login(layout: Layout) -> Section:
    return {
        "auth_url": layout.url("keystone"),
        "www_authenticate_uri": layout.url("keystone"),
        "auth_type": "password",
        "username": "services",
        "password": layout.service_password,
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": REGION,
    }


def _keystone(layout: Layout) -> dict[str, Section]:
    keys = layout.folder / "keys"
    return {
        "database": _database(layout, "keystone"),
        "fernet_tokens": {"key_repository": keys / "tokens", "max_active_keys": 3},
        "credential": {"key_repository": keys / "credentials"},
        "identity": {"password_hash_rounds": 4},
        "cache": {"enabled": True, "backend": "oslo_cache.dict"},  # without it each request costs five times as much
    }


def _placement(layout: Layout) -> dict[str, Section]:
    return {
        "api": {"auth_strategy": "keystone"},
        "placement_database": _database(layout, "placement"),
        "keystone_authtoken": _login(layout),
    }


def _glance(layout: Layout) -> dict[str, Section]:
    state = layout.folder / "state" / "glance"
    return {
        "DEFAULT": {
            "log_file": layout.folder / "log" / "glance.log",
            "enabled_backends": "disk:file",
            "enabled_import_methods": "[]",
            "worker_self_reference_url": layout.url("glance"),
        },
        "paste_deploy": {"flavor": "keystone", "config_file": layout.paste("glance")},
        "database": _database(layout, "glance"),
        "glance_store": {"default_backend": "disk"},
        "disk": {"filesystem_store_datadir": layout.folder / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": state / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": state / "tasks"},
        "keystone_authtoken": _login(layout),
    }


def _neutron(layout: Layout) -> dict[str, Section]:
    return {
        "DEFAULT": {
            "log_file": layout.folder / "log" / "neutron.log",
            "core_plugin": "ml2",
            "service_plugins": "unattended.Routers,network_ip_availability",
            "auth_strategy": "keystone",
            "transport_url": "fake://",
            "api_paste_config": layout.paste("neutron"),
            "state_path": layout.folder / "state" / "neutron",
            "dhcp_agent_notification": False,
        },
        "database": _database(layout, "neutron"),
        "keystone_authtoken": _login(layout),
        "nova": _login(layout),
        "placement": _login(layout),
        "ml2": {
            "type_drivers": "flat,vxlan",
            "project_network_types": "vxlan",
            "mechanism_drivers": "unattended",
            "extension_drivers": "port_security",
        },
        "ml2_type_flat": {"flat_networks": "*"},
        "ml2_type_vxlan": {"vni_ranges": "1:4000"},
    }


def _nova(layout: Layout) -> dict[str, Section]:
    state = layout.folder / "state" / "nova"
    return {
        "DEFAULT": {
            "log_file": layout.folder / "log" / "nova.log",
            "my_ip": "127.0.0.1",
            "transport_url": "fake://",
            "compute_driver": "lab_driver.LabDriver",
            "state_path": state,
            "instances_path": state,
            "enabled_apis": "osapi_compute",
        },
        "api": {"auth_strategy": "keystone"},
        "wsgi": {"api_paste_config": layout.paste("nova")},
        "database": _database(layout, "nova"),
        "api_database": _database(layout, "nova_api"),
        "keystone_authtoken": _login(layout),
        "service_user": {"send_service_user_token": True, **_login(layout)},
        "neutron": _login(layout),
        "placement": _login(layout),
        "glance": {"api_servers": layout.url("glance")},
        "scheduler": {"workers": 1},
        "vnc": {"enabled": False},
    }

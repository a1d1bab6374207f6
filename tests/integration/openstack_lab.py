"""Fixtures of a real OpenStack cloud: one control plane for all tests, and a project of its own for each test."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.labs.openstack import seed
from tests.labs.openstack.faults import Faults, fault_proxies
from tests.labs.openstack.lab import Lab
from tests.labs.openstack.logins import connect
from tests.labs.openstack.tenancy import Tenancy, tenancy

OPENSTACK = [
    pytest.mark.openstack,
    # the SDK warns of its own internals, and of a metrics database that is not configured
    pytest.mark.filterwarnings("ignore::DeprecationWarning:openstack"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:openstack"),
]
"""The markers of each test that uses the control plane."""


@dataclass(frozen=True)
class CloudLab:
    """A running control plane, and the connection of its operator."""

    lab: Lab
    admin: Any

    @property
    def clouds(self) -> Path:
        """The file with the logins ``lab``, a plain member of a shared project, and ``lab-admin``."""
        return self.lab.clouds

    @contextlib.contextmanager
    def external_network(self, project: Tenancy, name: str, *, addresses: int) -> Iterator[Any]:
        """Create another external network for one project, with few addresses: each router and each floating IP uses one."""
        network = seed.create_external_network(
            self.admin, name, "127.67.0", last=9 + addresses, project=project.project
        )
        try:
            yield network
        finally:
            self.admin.network.delete_network(network)


@pytest.fixture(scope="session")
def cloud_lab() -> Iterator[CloudLab]:
    """Start the control plane, or use the one that ``python -m tests.labs.openstack up`` started."""
    lab = Lab()
    is_own = not lab.programs()
    if is_own:
        lab.install()
        lab.up()
    try:
        login = yaml.safe_load(lab.clouds.read_text(encoding="utf-8"))["clouds"]["lab-admin"]
        with connect(login) as admin:
            yield CloudLab(lab, admin)
    finally:
        if is_own:
            lab.down()


@pytest.fixture
def cloud_project(cloud_lab: CloudLab, tmp_path: Path) -> Iterator[Tenancy]:
    """An empty project with its logins; it is deleted with all of its resources after the test."""
    with tenancy(cloud_lab.lab, cloud_lab.admin, tmp_path, f"test-{secrets.token_hex(4)}") as project:
        yield project


@pytest.fixture
def faults(cloud_lab: CloudLab) -> Iterator[Faults]:
    """Proxies in front of all services; the logins of ``cloud_project.clouds(faults)`` use them."""
    with fault_proxies(cloud_lab.lab.facts()["ports"]) as proxies:
        yield proxies
        assert not proxies.failures

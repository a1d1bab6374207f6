"""Fixtures of a real OpenStack cloud: one control plane for all tests, and of everything in it an own one for each."""

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
from tests.labs.openstack.faults import Faults, faults_before
from tests.labs.openstack.lab import Lab
from tests.labs.openstack.logins import connect
from tests.labs.openstack.tenancy import Tenancy, tenancy

OPENSTACK = [
    pytest.mark.openstack,
    # the SDK warns of its own parts whenever it makes an object, and of a metrics database that nobody configured
    pytest.mark.filterwarnings("ignore::DeprecationWarning:openstack"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:openstack"),
]
"""The marks of each test that talks to the lab."""


@dataclass(frozen=True)
class CloudLab:
    """A control plane that is up, and its operator."""

    lab: Lab
    admin: Any

    @property
    def clouds(self) -> Path:
        """``lab``, a plain member of a project that all tests share, and ``lab-admin``."""
        return self.lab.clouds

    @contextlib.contextmanager
    def external_network(self, name: str, *, addresses: int) -> Iterator[Any]:
        """Offer one more external network with so few addresses: each router takes one, each floating IP another."""
        made = seed.external_network(self.admin, name, "127.67.0", last=9 + addresses)
        try:
            yield made
        finally:
            self.admin.network.delete_network(made)


@pytest.fixture(scope="session")
def cloud_lab() -> Iterator[CloudLab]:
    """Start the control plane, or take the one that ``python -m tests.labs.openstack up`` left."""
    lab = Lab()
    ours = not lab.programs()
    if ours:
        lab.install()
        lab.up()
    try:
        login = yaml.safe_load(lab.clouds.read_text(encoding="utf-8"))["clouds"]["lab-admin"]
        with connect(login) as admin:
            yield CloudLab(lab, admin)
    finally:
        if ours:
            lab.down()


@pytest.fixture
def cloud_project(cloud_lab: CloudLab, tmp_path: Path) -> Iterator[Tenancy]:
    """A project of the test's own, empty, with its logins; gone with all that is in it at the end."""
    with tenancy(cloud_lab.lab, cloud_lab.admin, tmp_path, f"test-{secrets.token_hex(4)}") as made:
        yield made


@pytest.fixture
def faults(cloud_lab: CloudLab) -> Iterator[Faults]:
    """A station of the test's own before all services; ``cloud_project.clouds(faults)`` leads through it."""
    with faults_before(cloud_lab.lab.facts()["ports"]) as made:
        yield made

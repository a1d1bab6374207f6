"""Projects for tests: each has its own user and logins, and is deleted with all of its resources."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1.exceptions import Unauthorized
from openstack.exceptions import ConflictException, NotFoundException

from tests.labs.openstack import seed
from tests.labs.openstack.configuration import SERVICES
from tests.labs.openstack.faults import Faults
from tests.labs.openstack.hypervisor import Hypervisor
from tests.labs.openstack.lab import Lab
from tests.labs.openstack.logins import Login, by_application, by_password, connect, through_proxies

LIFETIME = 2.0
"""Lifetime of a credential that expires during a test [s]."""
TIMEOUT = 120.0
"""Time until a project must be empty [s]."""
PAUSE = 0.1


@dataclass(frozen=True, order=True)
class Resource:
    """A resource in a project."""

    kind: str
    name: str
    id: str = field(compare=False)
    tags: tuple[str, ...] = field(default=(), compare=False)
    status: str = field(default="", compare=False)


@dataclass
class Tenancy:
    """A project and its only user."""

    lab: Lab
    admin: Any
    project: Any
    user: Any
    password: str
    folder: Path
    hypervisor: Hypervisor
    _closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def clouds(self, faults: Faults | None = None) -> Path:
        """Write ``clouds.yaml`` with four logins; with faults, they lead through the proxies.

        ``lab``           the user's password
        ``application``   an application credential that may do what the user may
        ``weak``          one that may only read
        ``wrong``         the user with another password
        """
        logins = {
            "lab": self.login(),
            "application": self.credential("member"),
            "weak": self.credential("reader"),
            "wrong": self.login("not-this"),
        }
        if faults:
            logins = {name: through_proxies(login, faults) for name, login in logins.items()}
        place = self.folder / ("clouds-through.yaml" if faults else "clouds.yaml")
        place.touch(mode=0o600)
        place.write_text(yaml.safe_dump({"clouds": logins}), encoding="utf-8")
        return place

    def login(self, password: str = "") -> Login:
        """Return the login with a password."""
        return by_password(self._auth_url, self.user.name, password or self.password, self.project.name)

    def credential(self, role: str, *, seconds: float | None = None) -> Login:
        """Create an application credential with one role, and return the login with it."""
        created = self.connect().identity.create_application_credential(
            user=self.user.id,
            name=f"{role}-{secrets.token_hex(4)}",
            roles=[{"name": role}],
            expires_at=seconds and (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f"),
        )
        return by_application(self._auth_url, created.id, created.secret)

    def expired_login(self) -> Login:
        """Return the login with an expired application credential; waits until it expires."""
        login = self.credential("member", seconds=LIFETIME)
        limit = time.monotonic() + TIMEOUT
        while time.monotonic() < limit:
            try:
                self.connect(login).session.get_token()
            except Unauthorized:
                return login
            time.sleep(PAUSE)
        raise RuntimeError("the application credential does not expire")

    def connect(self, login: Login | None = None, **options: Any) -> Any:
        """Return a connection that is closed with the project."""
        return self._closing.enter_context(connect(login or self.login(), **options))

    def set_quotas(self, **quotas: int) -> None:
        """Set quotas: ``instances``, ``cores``, ``ram`` [MiB], ``key_pairs``; ``networks``, ``routers``, ``floatingip`` …"""
        of_nova = {name: quotas.pop(name) for name in list(quotas) if name in NOVA}
        if of_nova:
            self.admin.set_compute_quotas(self.project.id, **of_nova)
        if quotas:
            self.admin.set_network_quotas(self.project.id, **quotas)

    def inventory(self) -> list[Resource]:
        """Return all resources of the project, without the default security group."""
        return sorted(
            resource for resource in self._all() if (resource.kind, resource.name) != ("security group", "default")
        )

    def share_network(self, network: Any) -> None:
        """Let the project use a network of another project."""
        self.admin.network.create_rbac_policy(
            action="access_as_shared",
            object_type="network",
            object_id=network.id,
            target_project_id=self.project.id,
        )

    def create_foreign(self, name: str = "foreign") -> list[Resource]:
        """Create resources that are not stargaze's in the same project: a server and all that it needs; return them."""
        before = self.inventory()
        cloud = self.connect()
        network = cloud.network.create_network(name=name)
        subnet = cloud.network.create_subnet(name=name, network_id=network.id, ip_version=4, cidr="10.99.0.0/24")
        public = cloud.network.find_network(seed.PUBLIC)
        router = cloud.network.create_router(name=name, external_gateway_info={"network_id": public.id})
        cloud.network.add_interface_to_router(router, subnet=subnet)
        group = cloud.network.create_security_group(name=name)
        port = cloud.network.create_port(name=name, network_id=network.id, security_group_ids=[group.id])
        cloud.network.create_ip(floating_network_id=public.id, port_id=port.id)
        cloud.compute.create_keypair(name=name)
        server = cloud.compute.create_server(
            name=name,
            image_id=cloud.image.find_image("debian-12").id,
            flavor_id=cloud.compute.find_flavor("m1.small").id,
            networks=[{"port": port.id}],
            key_name=name,
        )
        cloud.compute.wait_for_server(server, interval=PAUSE)
        return [resource for resource in self.inventory() if resource.id not in {earlier.id for earlier in before}]

    def delete(self) -> None:
        """Delete all remaining resources, then user and project."""
        self.hypervisor.reset()
        self._empty()
        self.admin.identity.delete_user(self.user)
        self.admin.identity.delete_project(self.project)
        self._closing.close()

    @property
    def _auth_url(self) -> str:
        return f"http://127.0.0.1:{self.lab.facts()['ports']['keystone']}{SERVICES['keystone'][1]}"

    def _all(self) -> Iterator[Resource]:
        network, own = self.admin.network, {"project_id": self.project.id}
        for server in self.admin.compute.servers(all_projects=True, **own):
            tags = self.admin.compute.get(f"/servers/{server.id}/tags", microversion="2.26").json().get("tags", [])
            yield Resource("server", server.name, server.id, tuple(tags), server.status)
        lists: list[tuple[str, Callable[..., Any]]] = [
            ("floating IP", network.ips),
            ("router", network.routers),
            ("port", network.ports),
            ("subnet", network.subnets),
            ("network", network.networks),
            ("security group", network.security_groups),
        ]
        for kind, query in lists:
            for resource in query(**own):
                yield Resource(
                    kind,
                    resource.name or "",
                    resource.id,
                    tuple(resource.tags or ()),
                    getattr(resource, "status", None) or "",
                )
        for group in self.admin.compute.server_groups(all_projects=True):
            if group.project_id == self.project.id:
                yield Resource("server group", group.name, group.id)
        for keypair in self.admin.compute.keypairs(user_id=self.user.id):
            yield Resource("keypair", keypair.name, keypair.name)
        for image in self.admin.image.images(owner=self.project.id):
            yield Resource("image", image.name, image.id, tuple(image.tags))

    def _empty(self) -> None:
        """Delete in the order of the dependencies, and repeat it for resources that were still in use or appeared late."""
        limit = time.monotonic() + TIMEOUT
        while remaining := self.inventory():
            for kind, delete in self._deletes().items():
                for resource in remaining:
                    if resource.kind == kind:
                        with contextlib.suppress(ConflictException, NotFoundException):
                            delete(resource.id)
            if time.monotonic() > limit:
                raise RuntimeError(f"the project does not get empty: {remaining}")
            time.sleep(PAUSE)
        for group in self.admin.network.security_groups(project_id=self.project.id):  # a query creates the default one
            self.admin.network.delete_security_group(group)

    def _deletes(self) -> dict[str, Callable[[str], Any]]:
        """Return the function that deletes each kind; a missing resource is no error."""
        network, compute = self.admin.network, self.admin.compute
        return {
            "server": compute.delete_server,
            "floating IP": network.delete_ip,
            "router": self._delete_router,
            "port": network.delete_port,
            "network": network.delete_network,
            "security group": network.delete_security_group,
            "server group": compute.delete_server_group,
            "keypair": lambda name: compute.delete_keypair(name, user_id=self.user.id),
            "image": self.admin.image.delete_image,
        }

    def _delete_router(self, router: str) -> None:
        for port in self.admin.network.ports(device_id=router, device_owner="network:router_interface"):
            self.admin.network.remove_interface_from_router(router, port=port)
        self.admin.network.delete_router(router)


NOVA = {"instances", "cores", "ram", "key_pairs", "server_groups", "server_group_members"}


@contextlib.contextmanager
def tenancy(lab: Lab, admin: Any, folder: Path, name: str) -> Iterator[Tenancy]:
    """Create a project with one user, who is a plain member; delete it with all of its resources."""
    password = secrets.token_urlsafe(12)
    project = admin.identity.create_project(name=name, domain_id="default")
    user = admin.identity.create_user(name=name, password=password, domain_id="default")
    for role in ("member", "reader"):
        admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role(role))
    project_login = Tenancy(lab, admin, project, user, password, folder, Hypervisor(lab.hypervisor, project.id))
    try:
        yield project_login
    finally:
        project_login.delete()

"""The setup of a new cloud by its operator: catalog, users, flavors, images and external network."""

from __future__ import annotations

from typing import Any

from tests.labs.openstack.configuration import REGION, SERVICES, Layout

FLAVORS = {
    "m1.tiny": (1, 512, 1),
    "m1.small": (1, 2048, 20),
    "m1.medium": (2, 4096, 40),
    "m1.large": (4, 8192, 80),
    "m1.xlarge": (8, 16384, 160),
}
"""Processors, memory [MiB] and disk [GiB] of each."""
IMAGES = {"debian-12": ("debian", "12"), "ubuntu-24.04": ("ubuntu", "24.04")}
PUBLIC = "public"
MEMBER, PROJECT = "member", "lab"


def create_catalog(admin: Any, layout: Layout) -> None:
    """Register the other services in Keystone, and the user that they log in as."""
    identity = admin.identity
    for name, (kind, _) in SERVICES.items():
        if name == "keystone":
            continue
        service = identity.create_service(type=kind, name=name)
        for interface in ("public", "internal"):
            identity.create_endpoint(service_id=service.id, interface=interface, region_id=REGION, url=layout.url(name))
    roles = {role.name: role for role in identity.roles()}
    project = identity.create_project(name="service", domain_id="default")
    user = identity.create_user(name="services", password=layout.service_password, domain_id="default")
    for role in ("admin", "service"):
        identity.assign_project_role_to_user(project, user, roles[role])


def create_offers(admin: Any, member_password: str) -> None:
    """Create flavors, images, the external network and one project with a plain member."""
    identity = admin.identity
    project = identity.create_project(name=PROJECT, domain_id="default")
    user = identity.create_user(name=MEMBER, password=member_password, domain_id="default")
    identity.assign_project_role_to_user(project, user, identity.find_role("member"))
    for name, (processors, memory, disk) in FLAVORS.items():
        admin.compute.create_flavor(name=name, vcpus=processors, ram=memory, disk=disk)
    for name, (system, version) in IMAGES.items():
        admin.create_image(
            name,
            data=b"\0" * 65536,
            disk_format="raw",
            container_format="bare",
            visibility="public",
            min_disk=2,
            os_distro=system,
            os_version=version,
            wait=True,
        )
    create_external_network(admin, PUBLIC, "127.66.0", last=200)


def create_external_network(admin: Any, name: str, prefix: str, *, last: int, project: Any = None) -> Any:
    """Create a network whose floating IPs are loopback addresses: Linux accepts all of 127/8 without configuration.

    With a project, only this one sees it as external. Neutron takes a subnet of loopback addresses only without DHCP.
    """
    network = admin.network.create_network(
        name=name,
        is_router_external=project is None,
        provider_network_type="flat",
        provider_physical_network=name,
    )
    if project is not None:
        admin.network.create_rbac_policy(
            action="access_as_external", object_type="network", object_id=network.id, target_project_id=project.id
        )
    admin.network.create_subnet(
        name=f"{name}-v4",
        network_id=network.id,
        ip_version=4,
        cidr=f"{prefix}.0/24",
        gateway_ip=f"{prefix}.1",
        is_dhcp_enabled=False,
        allocation_pools=[{"start": f"{prefix}.10", "end": f"{prefix}.{last}"}],
    )
    return network

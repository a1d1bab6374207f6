"""What an operator sets up once in a new cloud: its catalogue, users, flavors, images and the way out."""

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


def catalogue(admin: Any, layout: Layout) -> None:
    """Tell Keystone of the other services and of the user that they log in as."""
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


def offer(admin: Any, member_password: str) -> None:
    """Make flavors, images, the external network and one plain member of one project."""
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
    external_network(admin, PUBLIC, "127.66.0", last=200)


def external_network(admin: Any, name: str, prefix: str, *, last: int) -> Any:
    """Make a network whose floating IPs are loopback addresses: on Linux each of 127/8 answers without being set up.

    Neutron takes a subnet of loopback addresses only without DHCP.
    """
    network = admin.network.create_network(
        name=name, is_router_external=True, provider_network_type="flat", provider_physical_network=name
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

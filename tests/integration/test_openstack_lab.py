"""The lab itself: a control plane that responds as a cloud does, with the faults that tests inject."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openstack
import pytest
import yaml
from keystoneauth1.exceptions import ConnectFailure, Unauthorized, UnknownConnectionError
from openstack.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    HttpException,
    NotFoundException,
    ResourceFailure,
)

from tests.integration.openstack_lab import OPENSTACK, CloudLab
from tests.labs.openstack.configuration import PROJECT
from tests.labs.openstack.faults import Faults
from tests.labs.openstack.hypervisor import console_with_host_keys
from tests.labs.openstack.logins import through_proxies
from tests.labs.openstack.processes import Program
from tests.labs.openstack.seed import PUBLIC
from tests.labs.openstack.tenancy import Tenancy
from tests.waiting import wait_for

pytestmark = OPENSTACK

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl somebody"
TAG = "stargaze=lab"


@pytest.fixture
def cloud(cloud_project: Tenancy) -> Any:
    """The connection of a plain member."""
    return cloud_project.connect()


@pytest.fixture
def network(cloud: Any) -> Any:
    """A network with a subnet."""
    created = cloud.network.create_network(name="inside")
    cloud.network.create_subnet(name="inside", network_id=created.id, ip_version=4, cidr="10.77.0.0/24")
    return created


@pytest.fixture
def create(cloud: Any, network: Any) -> Callable[..., Any]:
    """Request a server; return it in its first state."""

    def create(name: str = "one", **more: Any) -> Any:
        options = {
            "image_id": cloud.image.find_image("debian-12").id,
            "flavor_id": cloud.compute.find_flavor("m1.small").id,
            "networks": [{"uuid": network.id}],
        }
        return cloud.compute.create_server(name=name, **{**options, **more})

    return create


def ready(cloud: Any, server: Any, **more: Any) -> Any:
    return cloud.compute.wait_for_server(server, interval=0.1, **more)


def test_a_member_can_create_all_resources_of_a_cluster(
    cloud: Any, cloud_project: Tenancy, network: Any, create: Any
) -> None:
    """Keypair, network, router, groups whose rules refer to themselves, a tagged port, a server, a floating IP."""
    nets = cloud.network
    cloud.compute.create_keypair(name="key", public_key=KEY)
    public = nets.find_network(PUBLIC)
    router = nets.create_router(name="router", external_gateway_info={"network_id": public.id})
    nets.add_interface_to_router(router, subnet=_subnet(cloud))
    group = nets.create_security_group(name="nodes")
    rule = nets.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ether_type="IPv4", remote_group_id=group.id
    )
    port = nets.create_port(name="one", network_id=network.id, security_group_ids=[group.id])
    nets.set_tags(port, [TAG])
    user_data = "#cloud-config\nhostname: one\n"
    server = create(
        networks=[{"port": port.id}],
        key_name="key",
        user_data=base64.b64encode(user_data.encode()).decode(),
        metadata={"role": "head"},
    )
    active = ready(cloud, server)
    address = nets.create_ip(floating_network_id=public.id, port_id=port.id)

    assert active.status == "ACTIVE"
    assert rule.remote_group_id == group.id
    assert nets.get_port(port.id).tags == [TAG]
    assert address.floating_ip_address.startswith("127.66.0.")
    [spawned] = cloud_project.hypervisor.events("spawn")
    assert (spawned["name"], spawned["user_data"], spawned["public_key"]) == ("one", user_data, KEY)
    assert spawned["metadata"] == {"role": "head"}
    assert spawned["ports"][0]["id"] == port.id
    assert spawned["ports"][0]["addresses"] == [port.fixed_ips[0]["ip_address"]]
    assert spawned["ports"][0]["mac"] == port.mac_address
    [floating] = cloud_project.hypervisor.events("floating")
    assert floating["floating_ip_address"] == address.floating_ip_address
    assert floating["fixed_ip_address"] == port.fixed_ips[0]["ip_address"]


def test_tags_are_set_after_the_creation(cloud: Any, network: Any) -> None:
    """Neutron rejects them with a new network, and ignores those of a new port."""
    with pytest.raises(BadRequestException, match="Attribute 'tags' not allowed in POST"):
        cloud.network.create_network(name="two", tags=[TAG])
    assert cloud.network.create_port(network_id=network.id, tags=[TAG]).tags == []


def test_every_kind_of_resource_has_tags(cloud: Any, cloud_project: Tenancy, network: Any, create: Any) -> None:
    """The resources of stargaze can be listed by their tags."""
    nets = cloud.network
    group = nets.create_security_group(name="nodes")
    port = nets.create_port(name="one", network_id=network.id)
    router = nets.create_router(name="router")
    address = nets.create_ip(floating_network_id=nets.find_network(PUBLIC).id)
    subnet = nets.get_subnet(_subnet(cloud))
    for resource in (network, subnet, group, port, router, address):
        nets.set_tags(resource, [TAG])
    server = create(networks=[{"port": port.id}], tags=[TAG])
    ready(cloud, server)

    lists = (nets.networks, nets.subnets, nets.security_groups, nets.ports, nets.routers, nets.ips)
    assert [len(list(query(tags=TAG))) for query in lists] == [1] * 6
    assert [server.name for server in cloud.compute.servers(tags=TAG)] == ["one"]
    tagged = {resource.kind for resource in cloud_project.inventory() if resource.tags == (TAG,)}
    assert tagged == {"server", "network", "subnet", "security group", "port", "router", "floating IP"}


def test_no_two_servers_of_a_group_share_a_host(cloud_lab: CloudLab, cloud: Any, create: Any) -> None:
    """Anti-affinity is enforced; a server without a free host goes to ERROR with the reason."""
    group = cloud.compute.create_server_group(name="apart", policy="anti-affinity")
    servers = [create(f"s{number}", scheduler_hints={"group": group.id}) for number in range(5)]
    hosts = {cloud_lab.admin.compute.get_server(ready(cloud, server).id).compute_host for server in servers}

    assert len(hosts) == 5

    ready(cloud, create("s5", scheduler_hints={"group": group.id}))
    with pytest.raises(ResourceFailure, match="ERROR"):
        ready(cloud, last := create("s6", scheduler_hints={"group": group.id}))
    assert cloud.compute.get_server(last.id).fault["message"].startswith("No valid host was found")


def test_exceeded_quotas_have_their_own_status_codes(cloud: Any, cloud_project: Tenancy, create: Any) -> None:
    """Nova responds with 403, Neutron with 409, and both name the quota."""
    cloud_project.set_quotas(instances=1, ram=65536, floatingip=0, networks=1, routers=0, key_pairs=0)
    nets = cloud.network
    ready(cloud, create())  # Nova counts the servers of a cell: one that was only requested is not counted yet

    with pytest.raises(ForbiddenException, match="Quota exceeded for instances"):
        create("two")
    with pytest.raises(ForbiddenException, match="Quota exceeded, too many key pairs"):
        cloud.compute.create_keypair(name="key", public_key=KEY)
    with pytest.raises(ConflictException, match=r"Quota exceeded for resources: \['floatingip'\]"):
        nets.create_ip(floating_network_id=nets.find_network(PUBLIC).id)
    with pytest.raises(ConflictException, match="network"):
        nets.create_network(name="two")
    with pytest.raises(ConflictException, match="router"):
        nets.create_router(name="two")


def test_an_exhausted_address_pool_is_an_error(cloud_lab: CloudLab, cloud: Any, cloud_project: Tenancy) -> None:
    """The router uses the only address: none is left for a floating IP."""
    with cloud_lab.external_network(cloud_project, "small", addresses=1) as small:
        router = cloud.network.create_router(name="router", external_gateway_info={"network_id": small.id})
        with pytest.raises(ConflictException, match="No more IP addresses available"):
            cloud.network.create_ip(floating_network_id=small.id)
        cloud.network.delete_router(router)


def test_a_network_of_another_project_can_be_shared(cloud_lab: CloudLab, cloud: Any, cloud_project: Tenancy) -> None:
    """A network of the operator is visible to the project with which it is shared."""
    shared = cloud_lab.admin.network.create_network(name="provided")
    try:
        assert cloud.network.find_network("provided") is None
        cloud_project.share_network(shared)
        assert cloud.network.find_network("provided").id == shared.id
    finally:
        cloud_lab.admin.network.delete_network(shared)


def test_a_server_that_fails_to_start_is_in_error_with_the_reason(
    cloud: Any, cloud_project: Tenancy, create: Callable[..., Any]
) -> None:
    """Only the named one fails, and after a reset another of this name starts."""
    cloud_project.hypervisor.set_behavior("b*", fail="the disk is broken")
    good, bad = create("a1"), create("b1")

    assert ready(cloud, good).status == "ACTIVE"
    with pytest.raises(ResourceFailure, match="ERROR"):
        ready(cloud, bad)
    assert "the disk is broken" in cloud.compute.get_server(bad.id).fault["message"]

    cloud_project.hypervisor.reset()
    cloud.compute.delete_server(bad)
    assert ready(cloud, create("b1")).status == "ACTIVE"


def test_a_server_can_be_held_while_it_builds(cloud: Any, cloud_project: Tenancy, create: Callable[..., Any]) -> None:
    """It stays in BUILD until the reset; a held server can be deleted."""
    cloud_project.hypervisor.set_behavior("slow", hold=True)
    server = create("slow")

    with pytest.raises(openstack.exceptions.ResourceTimeout):
        ready(cloud, server, wait=1)
    assert cloud.compute.get_server(server.id).status == "BUILD"
    cloud_project.hypervisor.reset()
    assert ready(cloud, server).status == "ACTIVE"


def test_tests_set_the_console_output(cloud: Any, cloud_project: Tenancy, create: Callable[..., Any]) -> None:
    """By name before the server exists, or by its id; otherwise it is empty."""
    cloud_project.hypervisor.set_behavior("named", console=console_with_host_keys([KEY]))
    named, silent = ready(cloud, create("named")), ready(cloud, create("silent"))

    output = cloud.compute.get_server_console_output(named)["output"]
    assert "-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAA" in output
    assert cloud.compute.get_server_console_output(silent)["output"] == ""
    cloud_project.hypervisor.write_console(silent.id, "login: ")
    assert cloud.compute.get_server_console_output(silent)["output"] == "login: "


def test_changes_of_a_server_are_events(cloud: Any, cloud_project: Tenancy, create: Callable[..., Any]) -> None:
    """A watcher can power a real host on and off with the server."""
    events: list[str] = []
    with cloud_project.hypervisor.watch(lambda event: events.append(event["event"])):
        server = ready(cloud, create())
        cloud.compute.stop_server(server)
        ready(cloud, server, status="SHUTOFF")
        cloud.compute.start_server(server)
        ready(cloud, server)
        cloud.compute.reboot_server(server, "HARD")
        wait_for(lambda: "reboot" in events)
        ready(cloud, server)
        cloud.compute.rebuild_server(server, image=cloud.image.find_image("ubuntu-24.04").id)
        wait_for(lambda: events.count("spawn") == 2)
        ready(cloud, server)
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, interval=0.1)

    ended = [kind for kind in events if kind in {"spawn", "destroy", "reboot"}]
    assert ended == ["spawn", "reboot", "destroy", "spawn", "destroy"]
    assert events.index("power_off") < events.index("power_on") < events.index("reboot")


def test_the_cloud_has_no_volumes(cloud: Any) -> None:
    """A cloud without Cinder is valid."""
    assert not cloud.has_service("block-storage")
    assert not cloud.has_service("volume")
    assert cloud.has_service("compute")
    with pytest.raises(openstack.exceptions.SDKException):
        list(cloud.block_storage.volumes())


@pytest.mark.parametrize("login", ["weak", "wrong"])
def test_insufficient_logins_are_rejected(cloud_project: Tenancy, login: str) -> None:
    """A read-only credential can read and not write; a wrong password can do nothing."""
    credentials = yaml.safe_load(cloud_project.clouds().read_text(encoding="utf-8"))["clouds"][login]
    cloud = cloud_project.connect(credentials)

    if login == "wrong":
        with pytest.raises(Unauthorized):
            list(cloud.compute.servers())
        return
    assert list(cloud.compute.servers()) == []
    with pytest.raises(ForbiddenException):
        cloud.network.create_network(name="mine")
    assert cloud.compute.create_keypair(name="mine", public_key=KEY).name == "mine"  # Nova allows this to every user


def test_an_expired_credential_is_rejected(cloud_project: Tenancy) -> None:
    """Keystone responds as to a wrong password."""
    with pytest.raises(Unauthorized):
        list(cloud_project.connect(cloud_project.expired_login()).compute.servers())


def test_clouds_yaml_is_readable_only_by_its_owner_and_valid_for_the_sdk(
    cloud_lab: CloudLab, cloud_project: Tenancy
) -> None:
    """The files are like those of a user."""
    for path, name in ((cloud_lab.clouds, "lab"), (cloud_project.clouds(), "application")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        config = openstack.config.OpenStackConfig(config_files=[str(path)], load_envvars=False)
        with contextlib.closing(openstack.connection.Connection(config=config.get_one(name))) as cloud:
            assert {image.name for image in cloud.image.images()} == {"debian-12", "ubuntu-24.04"}


def test_foreign_resources_can_be_created_in_the_project(cloud_lab: CloudLab, cloud_project: Tenancy) -> None:
    """They are listed, have no tags, and are deleted with the project."""
    foreign = cloud_project.create_foreign()

    kinds = {"server", "keypair", "network", "subnet", "router", "port", "security group", "floating IP"}
    assert {resource.kind for resource in foreign} == kinds
    assert {resource.tags for resource in foreign} == {()}
    assert cloud_project.inventory() == sorted(foreign)


@pytest.fixture
def proxied_connection(cloud_project: Tenancy, faults: Faults) -> Any:
    """A connection whose calls all pass through the proxies."""
    cloud = cloud_project.connect(through_proxies(cloud_project.login(), faults))
    list(cloud.compute.servers())
    list(cloud.network.ports())
    faults.clear_calls()
    return cloud


def test_calls_are_counted_by_service_method_and_path(proxied_connection: Any, faults: Faults) -> None:
    """Ids and names are replaced in paths; links in responses lead through the proxies."""
    networks = [proxied_connection.network.create_network(name=f"n{number}") for number in range(3)]
    for network in networks:
        proxied_connection.network.get_network(network.id)
    proxied_connection.compute.create_keypair(name="mine", public_key=KEY)
    proxied_connection.compute.delete_keypair("mine")

    assert faults.count() == {
        "neutron POST /v2.0/networks": 3,
        "neutron GET /v2.0/networks/{id}": 3,
        "nova POST /v2.1/os-keypairs": 1,
        "nova DELETE /v2.1/os-keypairs/{id}": 1,
    }
    assert all(call.seconds > 0 for call in faults.calls)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_can_reject_calls(proxied_connection: Any, faults: Faults, status: int) -> None:
    """The client gets the status and the time to wait, and the call is not executed."""
    faults.reject(status, retry_after=0, service="neutron", method="POST", path="*/networks", times=1)

    with pytest.raises(HttpException) as caught:
        proxied_connection.network.create_network(name="once")
    assert caught.value.status_code == status
    assert caught.value.response.headers["Retry-After"] == "0"
    assert proxied_connection.network.find_network("once") is None
    assert proxied_connection.network.create_network(name="once").name == "once"


@pytest.mark.parametrize(
    ("moment", "error", "done"),
    [
        ("before", ConnectFailure, False),
        ("after", ConnectFailure, True),
        ("within", UnknownConnectionError, True),
    ],
)
def test_a_connection_can_be_dropped(
    proxied_connection: Any, faults: Faults, moment: Any, error: type[Exception], done: bool
) -> None:
    """The client cannot know whether the call was executed, and has to check."""
    faults.drop(moment, service="neutron", method="POST", path="*/networks", times=1)

    with pytest.raises(error):
        proxied_connection.network.create_network(name="once")
    assert [network.name for network in proxied_connection.network.networks(name="once")] == ["once"] * done
    assert [call.status for call in faults.calls if call.method == "POST"] == [None]


def test_a_service_can_be_slow(proxied_connection: Any, faults: Faults) -> None:
    """Each call takes longer, and concurrent calls are delayed at the same time."""
    faults.delay(0.5, service="neutron", method="GET", path="*/networks")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: list(proxied_connection.network.networks()), range(8)))
    calls = [call for call in faults.calls if call.path == "/v2.0/networks"]
    assert len(calls) == 8
    assert all(call.seconds > 0.5 for call in calls)
    assert max(call.began for call in calls[:2]) < min(call.began + call.seconds for call in calls[:2])


def test_a_function_is_called_at_the_call_with_a_number(proxied_connection: Any, faults: Faults) -> None:
    """With this, a test can kill a program in the middle of a certain step."""
    happened = threading.Event()
    faults.at(3, happened.set, service="neutron")

    list(proxied_connection.network.networks())
    list(proxied_connection.network.ports())
    assert not happened.is_set()
    list(proxied_connection.network.routers())
    assert happened.is_set()


def test_invalid_requests_are_rejected(cloud: Any, network: Any, create: Callable[..., Any]) -> None:
    """Unknown names, unsuitable images, addresses and networks in use: each has its own status."""
    nobody = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(BadRequestException, match="Can not find requested image"):
        create(image_id=nobody)
    with pytest.raises(BadRequestException, match="could not be found"):
        create(flavor_id=nobody)
    with pytest.raises(BadRequestException, match="Invalid key_name"):
        create(key_name="nobody's")
    with pytest.raises(BadRequestException, match="disk is smaller than the minimum"):
        create(flavor_id=cloud.compute.find_flavor("m1.tiny").id)
    with pytest.raises(NotFoundException):
        cloud.image.find_image("none", ignore_missing=False)
    port = cloud.network.create_port(network_id=network.id)
    with pytest.raises(ConflictException, match="already allocated"):
        cloud.network.create_port(network_id=network.id, fixed_ips=port.fixed_ips)
    with pytest.raises(ConflictException, match="in use"):
        cloud.network.delete_network(network)


def test_programs_are_recognized_by_pid_and_start_time(cloud_lab: CloudLab) -> None:
    """A later program with the same pid is not stopped."""
    programs = cloud_lab.lab.programs()

    assert {program.name for program in programs} == {"keystone", "placement", "glance", "neutron", "nova"}
    assert not any(dataclasses.replace(program, started=program.started + 1).is_running for program in programs)


def test_programs_end_with_their_parent(tmp_path: Path) -> None:
    """Also after SIGKILL: a killed test run leaves no process."""
    script = (
        "import os, pathlib; from tests.labs.openstack import processes; "
        f"one = processes.start_program('sleep', ['/bin/sleep', '600'], {{}}, pathlib.Path({str(tmp_path / 'log')!r})); "
        "print(one.pid, one.started, flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    pid, started = map(int, ended.stdout.split())

    assert ended.returncode == -signal.SIGKILL
    wait_for(lambda: not Program("sleep", pid, started).is_running)


def _subnet(cloud: Any) -> str:
    return str(cloud.network.find_subnet("inside").id)

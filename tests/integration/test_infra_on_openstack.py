"""``infra`` on a real OpenStack control plane: create, repeat, repair, scale, kill at any moment, delete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stargaze.config import InfraSection
from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError
from stargaze.infra import provision
from stargaze.infra.hosts.state_dir import StateDir, open_state_dir
from stargaze.infra.openstack import client, errors
from stargaze.infra.openstack.client import OpenStack, connect
from stargaze.infra.plan.plan import Plan
from stargaze.infra.plan.resources import ActualResource
from stargaze.store import Store
from tests.integration.commands import kill_moments
from tests.integration.openstack_lab import OPENSTACK, CloudLab
from tests.labs.openstack.faults import Faults
from tests.labs.openstack.tenancy import Tenancy

pytestmark = OPENSTACK
CALLS_UP, CALLS_DOWN = 24, 21
"""Calls of `up` and `down` that change something."""
SMALL = InfraSection(cloud="lab", production_servers=1, parameter_servers=0, min_disk=10, timeout=120)
"""Three machines."""
FIVE = replace(SMALL, production_servers=2, parameter_servers=1)
UNTAGGED = ("keypair", "server group")
"""Kinds that have no tags; they are recognized by their name."""
DRIVER = """
import sys
from tests.integration.test_infra_on_openstack import SMALL, Cluster, open_cluster
command, folder = sys.argv[1:]
cluster = open_cluster(SMALL, folder)
cluster.up() if command == "up" else cluster.down()
"""


@dataclass
class Cluster:
    """Runs what ``stargaze infra`` does with a cloud, without the configuration of machines: these boot nothing."""

    section: InfraSection
    cloud: OpenStack
    state_dir: StateDir

    def plan(self) -> Plan:
        return provision.plan_up(self.section, self.cloud, self.state_dir)

    def up(self) -> Mapping[str, ActualResource]:
        resources, _ = provision.converge(self.section, self.cloud, self.state_dir, self.plan(), ignore)
        return resources

    def down(self) -> None:
        provision.tear_down(self.cloud, self.state_dir, provision.plan_down(self.cloud), ignore)


def ignore(*_: str) -> None:
    """Report nothing."""


Open = Callable[..., Cluster]


def open_cluster(section: InfraSection, folder: str | Path) -> Cluster:
    """Open the cloud that the environment names."""
    return Cluster(section, connect(section), open_state_dir(section, Store(Path(folder))))


@pytest.fixture
def open_project(cloud_project: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return a function that opens the project of the test from clouds.yaml, as ``stargaze`` does."""
    for module in (client, errors):
        monkeypatch.setattr(module, "RETRY_DELAYS", (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4))

    def open_project(section: InfraSection = SMALL, faults: Faults | None = None) -> Cluster:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud_project.clouds(faults)))
        return open_cluster(section, tmp_path / "store")

    return open_project


def count_kinds(project: Tenancy) -> Counter[str]:
    """Count the resources of each kind in the project."""
    return Counter(resource.kind for resource in project.inventory())


# ---- up and down --------------------------------------------------------------------------------------------------


def test_up_creates_five_tagged_machines_and_a_second_up_changes_nothing(
    open_project: Open, cloud_project: Tenancy, faults: Faults
) -> None:
    cluster = open_project(FIVE, faults)

    resources = cluster.up()

    count = count_kinds(cloud_project)
    assert count["server"] == 5
    assert {
        kind: count[kind] for kind in ("network", "subnet", "router", "floating IP", "keypair", "server group")
    } == {
        "network": 1,
        "subnet": 1,
        "router": 1,
        "floating IP": 1,
        "keypair": 1,
        "server group": 1,
    }
    tag = "stargaze-infra-stargaze"
    untagged = [
        resource for resource in cloud_project.inventory() if tag not in resource.tags and resource.kind not in UNTAGGED
    ]
    assert [resource.kind for resource in untagged] == ["port"]  # created and deleted by the router
    assert str(resources["floating IP stargaze-orchestration"].spec["address"]).startswith("127.66.")
    faults.clear_calls()
    assert cluster.plan().changes == ()
    cluster.up()
    assert {call.method for call in faults.calls} == {"GET"}


def test_only_ssh_from_this_machine_and_the_page_are_open_to_the_internet(
    open_project: Open, cloud_project: Tenancy
) -> None:
    open_project().up()

    rules = [
        (rule.port_range_min, rule.remote_ip_prefix)
        for rule in cloud_project.admin.network.security_group_rules(project_id=cloud_project.project.id)
        if rule.direction == "ingress" and not rule.remote_group_id
    ]
    assert sorted(rules, key=str) == [(22, "127.0.0.1/32"), (80, "0.0.0.0/0"), (80, "::/0")]


def test_down_deletes_all_own_resources_and_no_others(open_project: Open, cloud_project: Tenancy) -> None:
    foreign = {resource.id for resource in cloud_project.create_foreign()}
    cluster = open_project()
    cluster.up()

    cluster.down()

    assert {resource.id for resource in cloud_project.inventory()} == foreign
    cluster.down()  # a second time it has nothing to do


def test_two_clusters_in_one_project_do_not_affect_each_other(open_project: Open, cloud_project: Tenancy) -> None:
    cloud_project.set_quotas(security_group=20)
    first, second = open_project(), open_project(replace(SMALL, name="other", cidr="10.30.0.0/24"))
    first.up()
    second.up()

    first.down()

    assert second.plan().changes == ()
    assert {resource.name.split("-")[0] for resource in cloud_project.inventory() if resource.kind == "server"} == {
        "other"
    }


def test_up_scales_to_the_configured_number_of_machines(open_project: Open, cloud_project: Tenancy) -> None:
    open_project().up()
    more = open_project(replace(SMALL, production_servers=3, parameter_servers=1))
    assert more.plan().count("create") == 6  # three servers and their ports
    more.up()
    assert count_kinds(cloud_project)["server"] == 6

    open_project().up()

    assert sorted(resource.name for resource in cloud_project.inventory() if resource.kind == "server") == [
        "stargaze-development",
        "stargaze-orchestration",
        "stargaze-production1",
    ]


def test_an_existing_network_and_keypair_are_used_and_not_deleted(
    open_project: Open, cloud_project: Tenancy, tmp_path: Path
) -> None:
    user = cloud_project.connect()
    network = user.network.create_network(name="campus")
    user.network.create_subnet(name="campus", network_id=network.id, ip_version=4, cidr="10.40.0.0/24")
    key = tmp_path / "mine"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    # It has the name that stargaze would give to a keypair.
    user.compute.create_keypair(name="stargaze", public_key=key.with_suffix(".pub").read_text())
    cloud_project.set_quotas(routers=0, floatingip=0, networks=1)
    section = replace(SMALL, network="campus", router=False, floating_ip=False, keypair="stargaze", key_file=str(key))
    cluster = open_project(section)

    cluster.up()

    assert count_kinds(cloud_project)["router"] == 0
    assert cluster.plan().changes == ()
    cluster.down()
    assert [(resource.kind, resource.name) for resource in cloud_project.inventory()] == [
        ("keypair", "stargaze"),
        ("network", "campus"),
        ("subnet", "campus"),
    ]


# ---- errors -------------------------------------------------------------------------------------------------------


def test_a_failed_server_is_reported_and_replaced_by_the_next_up(open_project: Open, cloud_project: Tenancy) -> None:
    cloud_project.hypervisor.set_behavior("stargaze-production1", fail="the disk is broken")
    cluster = open_project()

    with pytest.raises(ExternalError, match="stargaze-production1 is in ERROR") as caught:
        cluster.up()

    assert "infra up" in caught.value.hint
    cloud_project.hypervisor.reset()
    assert [(step.action, step.key) for step in cluster.plan().changes] == [("replace", "server stargaze-production1")]
    cluster.up()
    assert cluster.plan().changes == ()


@pytest.mark.parametrize(
    ("quotas", "text"),
    [
        ({"instances": 2}, "3 more servers needed, 2 of 2 available"),
        ({"ram": 4096}, "memory needed, 4 of 4 available"),
        ({"floatingip": 0}, "1 more floating IPs needed, 0 of 0 available"),
        ({"security_group": 3}, "5 more security groups needed"),
    ],
)
def test_an_insufficient_quota_is_reported_before_anything_is_created(
    open_project: Open, cloud_project: Tenancy, quotas: dict[str, int], text: str
) -> None:
    cloud_project.set_quotas(**quotas)
    cluster = open_project()

    with pytest.raises(ExternalError) as caught:
        cluster.up()

    assert text in caught.value.message
    assert cloud_project.inventory() == []


def test_an_exhausted_address_pool_is_reported_and_created_resources_stay(
    open_project: Open, cloud_project: Tenancy, cloud_lab: CloudLab
) -> None:
    with cloud_lab.external_network(cloud_project, "narrow", addresses=1):  # the router takes the only one
        cluster = open_project(replace(SMALL, external_network="narrow"))

        with pytest.raises(ExternalError, match="floating IP stargaze-orchestration could not be created"):
            cluster.up()

        assert count_kinds(cloud_project)["server"] == 3
        cluster.down()
    assert cloud_project.inventory() == []


@pytest.mark.parametrize(
    ("changes", "text", "hint"),
    [
        ({"image": "debian-13"}, "infra.image: debian-13 was not found", "Did you mean debian-12?"),
        ({"flavor": "m1.smal"}, "infra.flavor: m1.smal was not found", "Did you mean m1.small?"),
        ({"network": "campus"}, "infra.network: campus was not found", ""),
        ({"min_memory": 4000}, "no flavor has 2 cores, 4000 GB", "the largest is"),
    ],
)
def test_missing_cloud_resources_are_named(open_project: Open, changes: dict[str, Any], text: str, hint: str) -> None:
    plan = open_project(replace(SMALL, **changes)).plan()

    assert text in plan.problems[0].message
    assert hint in plan.problems[0].hint


def test_a_keypair_of_the_same_name_with_another_key_is_not_replaced(
    open_project: Open, cloud_project: Tenancy
) -> None:
    cloud_project.connect().compute.create_keypair(name="stargaze")

    with pytest.raises(ExternalError, match="keypair stargaze has another public key"):
        open_project().up()

    assert count_kinds(cloud_project)["server"] == 0
    open_project().down()
    assert [(resource.kind, resource.name) for resource in cloud_project.inventory()] == [("keypair", "stargaze")]


def test_up_repairs_a_damaged_network(open_project: Open, cloud_project: Tenancy) -> None:
    user = cloud_project.connect()
    cluster = open_project(replace(SMALL, floating_ip=False))
    cluster.up()
    router = user.network.find_router("stargaze")
    user.network.remove_interface_from_router(router, user.network.find_subnet("stargaze").id)
    user.network.update_router(router, external_gateway_info=None)
    group = user.network.find_security_group("stargaze-jump")
    for rule in user.network.security_group_rules(security_group_id=group.id, direction="ingress"):
        user.network.delete_security_group_rule(rule)
    user.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=6379, port_range_max=6379,
        remote_ip_prefix="0.0.0.0/0",
    )  # fmt: skip

    assert sorted((step.action, step.key) for step in cluster.plan().changes) == [
        ("create", "interface stargaze"),
        ("update", "router stargaze"),
        ("update", "rules stargaze-jump"),
    ]
    cluster.up()
    assert cluster.plan().changes == ()


def test_up_starts_a_machine_that_is_off(open_project: Open, cloud_project: Tenancy) -> None:
    cluster = open_project()
    cluster.up()
    user = cloud_project.connect()
    server = user.compute.find_server("stargaze-development")
    user.compute.stop_server(server)
    user.compute.wait_for_server(server, status="SHUTOFF", interval=0.2)

    cluster.up()

    assert user.compute.get_server(server).status == "ACTIVE"


# ---- credentials --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cloud", "kind", "text"),
    [
        ("wrong", CredentialsError, "rejected the credentials"),
        ("nowhere", ConfigError, "infra.cloud: nowhere is not in clouds.yaml"),
    ],
)
def test_rejected_credentials_and_unknown_clouds_are_reported(
    open_project: Open, cloud: str, kind: type[StargazeError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        open_project(replace(SMALL, cloud=cloud))

    assert text in caught.value.message
    assert caught.value.hint


def test_a_read_only_credential_is_reported_before_servers_are_created(
    open_project: Open, cloud_project: Tenancy
) -> None:
    with pytest.raises(CredentialsError, match="denied the request"):
        open_project(replace(SMALL, cloud="weak")).up()

    assert count_kinds(cloud_project)["server"] == 0


def test_an_expired_credential_is_reported(
    cloud_project: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "over.yaml"
    place.write_text(yaml.safe_dump({"clouds": {"lab": cloud_project.expired_login()}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(place))

    with pytest.raises(CredentialsError, match="rejected the credentials") as caught:
        connect(SMALL)

    assert "expired" in caught.value.hint


def test_an_application_credential_is_sufficient(open_project: Open, cloud_project: Tenancy) -> None:
    cluster = open_project(replace(SMALL, cloud="application"))

    cluster.up()

    assert cluster.cloud.credential == "applicationcredential"
    assert count_kinds(cloud_project)["server"] == 3


# ---- a cloud that is slow, rejects calls for a while, or drops connections ---------------------------------------


@pytest.mark.parametrize(
    "inject",
    [
        pytest.param(lambda faults: faults.delay(0.3), id="slow"),
        pytest.param(lambda faults: faults.reject(429, retry_after=1, method="POST", times=3), id="429"),
        pytest.param(lambda faults: faults.reject(500, method="POST", times=4), id="500"),
        pytest.param(lambda faults: faults.reject(503, times=6, skip=4), id="503"),
        pytest.param(lambda faults: faults.drop("before", method="POST", times=5), id="dropped before"),
        pytest.param(
            lambda faults: faults.drop("after", service="neutron", method="POST", times=6), id="dropped after"
        ),
        pytest.param(
            lambda faults: faults.drop("after", service="nova", method="POST", times=2), id="servers dropped after"
        ),
        pytest.param(lambda faults: faults.drop("within", method="GET", times=3, skip=2), id="dropped within"),
    ],
)
def test_up_succeeds_despite_temporary_faults_and_creates_nothing_twice(
    open_project: Open, cloud_project: Tenancy, faults: Faults, inject: Callable[[Faults], None]
) -> None:
    cluster = open_project(SMALL, faults)
    inject(faults)

    cluster.up()

    faults.clear()
    count = count_kinds(cloud_project)
    assert (count["server"], count["network"], count["router"], count["floating IP"]) == (3, 1, 1, 1)
    assert count["port"] == 4  # three machines and the router
    assert cluster.plan().changes == ()


def test_up_adopts_a_subnet_that_an_earlier_killed_up_creates_in_the_meantime(
    open_project: Open, cloud_project: Tenancy, faults: Faults
) -> None:
    created = []

    def create() -> None:
        cloud = cloud_project.connect()
        network = cloud.network.find_network("stargaze")
        values = {"ip_version": 4, "cidr": SMALL.cidr, "description": "stargaze-infra-stargaze"}
        created.append(cloud.network.create_subnet(name="stargaze", network_id=network.id, **values))

    cluster = open_project(SMALL, faults)
    faults.at(1, create, method="POST", path="/v2.0/subnets")

    cluster.up()

    assert len(created) == 1, faults.failures
    assert count_kinds(cloud_project)["subnet"] == 1
    assert cluster.plan().changes == ()


def test_up_adopts_a_router_interface_that_an_earlier_killed_up_creates_in_the_meantime(
    open_project: Open, cloud_project: Tenancy, faults: Faults
) -> None:
    created = []

    def create() -> None:
        cloud = cloud_project.connect()
        router, subnet = cloud.network.find_router("stargaze"), cloud.network.find_subnet("stargaze")
        created.append(cloud.network.add_interface_to_router(router, subnet=subnet.id))

    cluster = open_project(SMALL, faults)
    faults.at(1, create, method="PUT", path="/v2.0/routers/*/add_router_interface")

    cluster.up()

    assert len(created) == 1, faults.failures
    assert cluster.plan().changes == ()


# ---- kills --------------------------------------------------------------------------------------------------------


def run_and_kill(command: str, folder: Path, call: int, faults: Faults) -> None:
    """Run `up` or `down` in a process of its own, and kill it at the call with this number that changes something."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", DRIVER, command, str(folder)], stderr=subprocess.PIPE, text=True
    )

    def kill() -> None:
        os.kill(process.pid, signal.SIGKILL)

    method = "POST" if command == "up" else "DELETE"
    faults.at(call, kill, method=method, path="/v2*")
    _, stderr = process.communicate(timeout=180)
    faults.clear()
    assert process.returncode in (0, -signal.SIGKILL), stderr


@pytest.mark.kills
@pytest.mark.parametrize(
    ("up_call", "down_call"),
    [
        (1 + int(up), 1 + int(down))
        for up, down in zip(kill_moments(CALLS_UP, seed=6), kill_moments(CALLS_DOWN, seed=7), strict=True)
    ],
)
def test_up_repairs_what_a_killed_up_left_and_down_deletes_what_a_killed_down_left(
    open_project: Open, cloud_project: Tenancy, faults: Faults, tmp_path: Path, up_call: int, down_call: int
) -> None:
    cluster, store = open_project(SMALL, faults), tmp_path / "store"
    run_and_kill("up", store, up_call, faults)
    try:
        cluster.up()
    except ExternalError as error:
        raise AssertionError(f"after the kill of up: {cloud_project.inventory()}") from error
    count = count_kinds(cloud_project)
    assert (count["server"], count["port"], count["network"], count["security group"]) == (3, 4, 1, 5)
    assert cluster.plan().changes == ()

    run_and_kill("down", store, down_call, faults)
    try:
        cluster.down()
    except ExternalError as error:
        raise AssertionError(f"after the kill of down: {cloud_project.inventory()}") from error
    assert cloud_project.inventory() == []

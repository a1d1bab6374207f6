"""``infra`` on a real OpenStack control plane: up, again, healed, scaled, killed at any moment, down to nothing."""

from __future__ import annotations

import os
import random
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
from tests.integration.openstack_lab import OPENSTACK, CloudLab
from tests.labs.openstack.faults import Faults
from tests.labs.openstack.tenancy import Tenancy

pytestmark = OPENSTACK
SMALL = InfraSection(cloud="lab", production_servers=1, parameter_servers=0, min_disk=10, timeout=120)
"""Three machines."""
FIVE = replace(SMALL, production_servers=2, parameter_servers=1)
MOMENTS = 20
UNTAGGED = ("keypair", "server group")
"""Kinds that cannot carry a tag; their name is their mark."""
DRIVER = """
import sys
from tests.integration.test_infra_on_openstack import SMALL, Cluster, at_home
what, folder = sys.argv[1:]
cluster = at_home(SMALL, folder)
cluster.up() if what == "up" else cluster.down()
"""


@dataclass
class Cluster:
    """What ``stargaze infra`` does with a cloud, but for entering machines: these have no inside."""

    section: InfraSection
    cloud: OpenStack
    state_dir: StateDir

    def plan(self) -> Plan:
        return provision.plan_up(self.section, self.cloud, self.state_dir)

    def up(self) -> Mapping[str, ActualResource]:
        stands, _ = provision.converge(self.section, self.cloud, self.state_dir, self.plan(), QUIET)
        return stands

    def down(self) -> None:
        provision.tear_down(self.cloud, self.state_dir, provision.plan_down(self.cloud), QUIET)


QUIET = provision.ProgressCallbacks(lambda *_: None, lambda _: None)
Open = Callable[..., Cluster]


def at_home(section: InfraSection, folder: str | Path) -> Cluster:
    """Open the cloud that the environment names."""
    return Cluster(section, connect(section), open_state_dir(section, Store(Path(folder))))


@pytest.fixture
def opened(cloud_project: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open the test's own project as ``stargaze`` does: from clouds.yaml."""
    for module in (client, errors):
        monkeypatch.setattr(module, "RETRY_DELAYS", (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4))

    def go(section: InfraSection = SMALL, faults: Faults | None = None) -> Cluster:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud_project.clouds(faults)))
        return at_home(section, tmp_path / "store")

    return go


def kinds(project: Tenancy) -> Counter[str]:
    """Count what is in the project, but for the port that a router has of its own."""
    return Counter(thing.kind for thing in project.inventory())


# ---- up and down --------------------------------------------------------------------------------------------------


def test_up_makes_five_machines_all_marked_and_a_second_time_changes_nothing(
    opened: Open, cloud_project: Tenancy, faults: Faults
) -> None:
    ours = opened(FIVE, faults)

    stands = ours.up()

    counted = kinds(cloud_project)
    assert counted["server"] == 5
    assert {
        kind: counted[kind] for kind in ("network", "subnet", "router", "floating IP", "keypair", "server group")
    } == {
        "network": 1,
        "subnet": 1,
        "router": 1,
        "floating IP": 1,
        "keypair": 1,
        "server group": 1,
    }
    mark = "stargaze-infra-stargaze"
    bare = [one for one in cloud_project.inventory() if mark not in one.tags and one.kind not in UNTAGGED]
    assert [one.kind for one in bare] == ["port"]  # the router's own, which goes with its interface
    assert str(stands["floating IP stargaze-orchestration"].spec["address"]).startswith("127.66.")
    faults.forget()
    assert ours.plan().changes == ()
    ours.up()
    assert {call.method for call in faults.calls} == {"GET"}


def test_what_faces_the_world_is_ssh_from_here_and_the_page(opened: Open, cloud_project: Tenancy) -> None:
    opened().up()

    rules = [
        (rule.port_range_min, rule.remote_ip_prefix)
        for rule in cloud_project.admin.network.security_group_rules(project_id=cloud_project.project.id)
        if rule.direction == "ingress" and not rule.remote_group_id
    ]
    assert sorted(rules, key=str) == [(22, "127.0.0.1/32"), (80, "0.0.0.0/0"), (80, "::/0")]


def test_down_leaves_nothing_of_ours_and_all_of_others(opened: Open, cloud_project: Tenancy) -> None:
    foreign = {thing.id for thing in cloud_project.foreign()}
    ours = opened()
    ours.up()

    ours.down()

    assert {thing.id for thing in cloud_project.inventory()} == foreign
    ours.down()  # again: nothing to do


def test_two_clusters_in_one_project_do_not_touch_each_other(opened: Open, cloud_project: Tenancy) -> None:
    cloud_project.limit(security_group=20)
    first, second = opened(), opened(replace(SMALL, name="other", cidr="10.30.0.0/24"))
    first.up()
    second.up()

    first.down()

    assert second.plan().changes == ()
    assert {thing.name.split("-")[0] for thing in cloud_project.inventory() if thing.kind == "server"} == {"other"}


def test_a_number_scales_up_and_down(opened: Open, cloud_project: Tenancy) -> None:
    opened().up()
    more = opened(replace(SMALL, production_servers=3, parameter_servers=1))
    assert more.plan().count("create") == 6  # three servers and their ports
    more.up()
    assert kinds(cloud_project)["server"] == 6

    opened().up()

    assert sorted(one.name for one in cloud_project.inventory() if one.kind == "server") == [
        "stargaze-development",
        "stargaze-orchestration",
        "stargaze-production1",
    ]


def test_a_network_a_keypair_and_a_project_without_routers_are_used_as_they_are(
    opened: Open, cloud_project: Tenancy, tmp_path: Path
) -> None:
    theirs = cloud_project.connect()
    network = theirs.network.create_network(name="campus")
    theirs.network.create_subnet(name="campus", network_id=network.id, ip_version=4, cidr="10.40.0.0/24")
    key = tmp_path / "mine"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    # Its name is the one that a keypair of ours would have.
    theirs.compute.create_keypair(name="stargaze", public_key=key.with_suffix(".pub").read_text())
    cloud_project.limit(routers=0, floatingip=0, networks=1)
    section = replace(SMALL, network="campus", router=False, floating_ip=False, keypair="stargaze", key_file=str(key))
    ours = opened(section)

    ours.up()

    assert kinds(cloud_project)["router"] == 0
    assert ours.plan().changes == ()
    ours.down()
    assert [(one.kind, one.name) for one in cloud_project.inventory()] == [
        ("keypair", "stargaze"),
        ("network", "campus"),
        ("subnet", "campus"),
    ]


# ---- what goes wrong ----------------------------------------------------------------------------------------------


def test_a_server_that_breaks_is_told_and_the_next_up_makes_it_anew(opened: Open, cloud_project: Tenancy) -> None:
    cloud_project.hypervisor.order("stargaze-production1", fail="the disk is broken")
    ours = opened()

    with pytest.raises(ExternalError, match="stargaze-production1 is in ERROR") as caught:
        ours.up()

    assert "infra up" in caught.value.hint
    cloud_project.hypervisor.withdraw()
    assert [(step.action, step.key) for step in ours.plan().changes] == [("replace", "server stargaze-production1")]
    ours.up()
    assert ours.plan().changes == ()


@pytest.mark.parametrize(
    ("quotas", "said"),
    [
        ({"instances": 2}, "3 more servers needed, 2 of 2 available"),
        ({"ram": 4096}, "memory needed, 4 of 4 available"),
        ({"floatingip": 0}, "1 more floating IPs needed, 0 of 0 available"),
        ({"security_group": 3}, "5 more security groups needed"),
    ],
)
def test_a_quota_that_is_too_small_is_told_before_anything_is_made(
    opened: Open, cloud_project: Tenancy, quotas: dict[str, int], said: str
) -> None:
    cloud_project.limit(**quotas)
    ours = opened()

    with pytest.raises(ExternalError) as caught:
        ours.up()

    assert said in caught.value.message
    assert cloud_project.inventory() == []


def test_a_pool_without_addresses_is_told_and_what_was_made_is_kept(
    opened: Open, cloud_project: Tenancy, cloud_lab: CloudLab
) -> None:
    with cloud_lab.external_network("narrow", addresses=1):  # the router takes the only one
        ours = opened(replace(SMALL, external_network="narrow"))

        with pytest.raises(ExternalError, match="floating IP stargaze-orchestration could not be created"):
            ours.up()

        assert kinds(cloud_project)["server"] == 3
        ours.down()
    assert cloud_project.inventory() == []


@pytest.mark.parametrize(
    ("changes", "said", "hint"),
    [
        ({"image": "debian-13"}, "infra.image: debian-13 was not found", "Did you mean debian-12?"),
        ({"flavor": "m1.smal"}, "infra.flavor: m1.smal was not found", "Did you mean m1.small?"),
        ({"network": "campus"}, "infra.network: campus was not found", ""),
        ({"min_memory": 4000}, "no flavor has 2 cores, 4000 GB", "the largest is"),
    ],
)
def test_what_the_cloud_does_not_have_is_named(opened: Open, changes: dict[str, Any], said: str, hint: str) -> None:
    todo = opened(replace(SMALL, **changes)).plan()

    assert said in todo.problems[0].message
    assert hint in todo.problems[0].hint


def test_a_keypair_of_the_same_name_with_another_key_is_not_ours_to_take(opened: Open, cloud_project: Tenancy) -> None:
    cloud_project.connect().compute.create_keypair(name="stargaze")

    with pytest.raises(ExternalError, match="keypair stargaze has another public key"):
        opened().up()

    assert kinds(cloud_project)["server"] == 0
    opened().down()
    assert [(one.kind, one.name) for one in cloud_project.inventory()] == [("keypair", "stargaze")]


def test_a_network_that_is_half_gone_is_made_whole(opened: Open, cloud_project: Tenancy) -> None:
    theirs = cloud_project.connect()
    ours = opened(replace(SMALL, floating_ip=False))
    ours.up()
    router = theirs.network.find_router("stargaze")
    theirs.network.remove_interface_from_router(router, theirs.network.find_subnet("stargaze").id)
    theirs.network.update_router(router, external_gateway_info=None)
    group = theirs.network.find_security_group("stargaze-jump")
    for rule in theirs.network.security_group_rules(security_group_id=group.id, direction="ingress"):
        theirs.network.delete_security_group_rule(rule)
    theirs.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=6379, port_range_max=6379,
        remote_ip_prefix="0.0.0.0/0",
    )  # fmt: skip

    assert sorted((step.action, step.key) for step in ours.plan().changes) == [
        ("create", "interface stargaze"),
        ("update", "router stargaze"),
        ("update", "rules stargaze-jump"),
    ]
    ours.up()
    assert ours.plan().changes == ()


def test_a_machine_that_was_switched_off_is_started(opened: Open, cloud_project: Tenancy) -> None:
    ours = opened()
    ours.up()
    theirs = cloud_project.connect()
    server = theirs.compute.find_server("stargaze-development")
    theirs.compute.stop_server(server)
    theirs.compute.wait_for_server(server, status="SHUTOFF", interval=0.2)

    ours.up()

    assert theirs.compute.get_server(server).status == "ACTIVE"


# ---- credentials --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cloud", "kind", "said"),
    [
        ("wrong", CredentialsError, "rejected the credentials"),
        ("nowhere", ConfigError, "infra.cloud: nowhere is not in clouds.yaml"),
    ],
)
def test_who_is_not_let_in_is_told_so(opened: Open, cloud: str, kind: type[StargazeError], said: str) -> None:
    with pytest.raises(kind) as caught:
        opened(replace(SMALL, cloud=cloud))

    assert said in caught.value.message
    assert caught.value.hint


def test_a_credential_that_may_only_read_is_told_before_half_is_made(opened: Open, cloud_project: Tenancy) -> None:
    with pytest.raises(CredentialsError, match="denied the request"):
        opened(replace(SMALL, cloud="weak")).up()

    assert kinds(cloud_project)["server"] == 0


def test_a_credential_whose_time_is_over_is_told(
    cloud_project: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "over.yaml"
    place.write_text(yaml.safe_dump({"clouds": {"lab": cloud_project.expired()}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(place))

    with pytest.raises(CredentialsError, match="rejected the credentials") as caught:
        connect(SMALL)

    assert "expired" in caught.value.hint


def test_an_application_credential_is_enough(opened: Open, cloud_project: Tenancy) -> None:
    ours = opened(replace(SMALL, cloud="application"))

    ours.up()

    assert ours.cloud.credential == "applicationcredential"
    assert kinds(cloud_project)["server"] == 3


# ---- a cloud that is slow, refuses for the moment, or drops calls -------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda faults: faults.delay(0.3), id="slow"),
        pytest.param(lambda faults: faults.refuse(429, retry_after=1, method="POST", times=3), id="429"),
        pytest.param(lambda faults: faults.refuse(500, method="POST", times=4), id="500"),
        pytest.param(lambda faults: faults.refuse(503, times=6, skip=4), id="503"),
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
def test_a_cloud_in_trouble_is_borne_and_nothing_is_made_twice(
    opened: Open, cloud_project: Tenancy, faults: Faults, spoil: Callable[[Faults], None]
) -> None:
    ours = opened(SMALL, faults)
    spoil(faults)

    ours.up()

    faults.clear()
    counted = kinds(cloud_project)
    assert (counted["server"], counted["network"], counted["router"], counted["floating IP"]) == (3, 1, 1, 1)
    assert counted["port"] == 4  # three machines and the router
    assert ours.plan().changes == ()


# ---- killed -------------------------------------------------------------------------------------------------------


def killed(what: str, folder: Path, calls: int, faults: Faults) -> None:
    """Run it in a process of its own, and kill that at so many calls that change something."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", DRIVER, what, str(folder)], stderr=subprocess.PIPE, text=True
    )

    def kill() -> None:
        os.kill(process.pid, signal.SIGKILL)

    method = "POST" if what == "up" else "DELETE"
    faults.at(calls, kill, method=method, path="/v2*")
    _, said = process.communicate(timeout=180)
    faults.clear()
    assert process.returncode in (0, -signal.SIGKILL), said


def test_killed_at_any_moment_up_heals_and_down_leaves_nothing(
    opened: Open, cloud_project: Tenancy, faults: Faults, tmp_path: Path
) -> None:
    """Twenty times: killed on the way up, healed; killed on the way down, down again."""
    ours = opened(SMALL, faults)
    store = tmp_path / "store"
    ups, downs = random.Random(6).sample(range(1, 25), MOMENTS), random.Random(7).sample(range(1, 22), MOMENTS)
    for way_up, way_down in zip(ups, downs, strict=True):
        killed("up", store, way_up, faults)
        try:
            ours.up()
        except ExternalError as error:
            raise AssertionError(f"{way_up} up: {cloud_project.inventory()}") from error
        counted = kinds(cloud_project)
        assert (counted["server"], counted["port"], counted["network"], counted["security group"]) == (3, 4, 1, 5), (
            way_up
        )
        assert ours.plan().changes == (), way_up

        killed("down", store, way_down, faults)
        try:
            ours.down()
        except ExternalError as error:
            raise AssertionError(f"{way_up} up, {way_down} down: {cloud_project.inventory()}") from error
        assert cloud_project.inventory() == [], way_down

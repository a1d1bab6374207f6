"""Time to create five machines, compared with the longest chain of dependent calls and with other tools.

    python -m tests.labs.openstack install
    python benchmarks/infra.py [--playbook FOLDER]

On a real OpenStack control plane on this machine, each time in a new project: ``infra up``; a plain script of openstacksdk that
does the same, one call after the other; with ``--playbook`` the modules of the collection openstack.cloud, from their own virtual
environment (``pip install ansible openstacksdk==4.5.0``: they do not support a newer SDK). Machines are up when Nova reports
ACTIVE; there is no ssh login.
"""

from __future__ import annotations

import argparse
import base64
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import yaml  # noqa: E402

from stargaze.config import InfraSection  # noqa: E402
from stargaze.infra.hosts.state_dir import open_state_dir  # noqa: E402
from stargaze.infra.openstack.client import connect  # noqa: E402
from stargaze.infra.plan.plan import Plan  # noqa: E402
from stargaze.infra.provision import converge, plan_up  # noqa: E402
from stargaze.store import Store  # noqa: E402
from tests.labs.openstack.faults import Faults, fault_proxies  # noqa: E402
from tests.labs.openstack.lab import Lab  # noqa: E402
from tests.labs.openstack.logins import connect as log_in  # noqa: E402
from tests.labs.openstack.tenancy import Tenancy, tenancy  # noqa: E402

SECTION = InfraSection(cloud="lab", min_disk=10, ssh_from=["192.0.2.0/24"])
NAMES = ("orchestration", "development", "parameter1", "production1", "production2")
LOOK = 0.5
"""Polling interval of the plain script [s]."""
PLAY = HERE / "infra_playbook.yml"


def main() -> None:
    """Run all methods and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--playbook", type=Path, help="also run openstack.cloud's modules from this virtual environment"
    )
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    lab = Lab()
    was_up = bool(lab.programs())
    if not was_up:
        lab.install()
        lab.up()
    try:
        login = yaml.safe_load(lab.clouds.read_text(encoding="utf-8"))["clouds"]["lab-admin"]
        with log_in(login) as admin:
            methods = {"stargaze infra up": with_stargaze, "openstacksdk, one call after the other": with_sdk}
            if arguments.playbook:
                methods["openstack.cloud modules in a playbook"] = functools.partial(played, arguments.playbook / "bin")
            for turn in range(arguments.times):
                for name, method in methods.items():
                    print(f"{turn + 1}: {name}: {measured(lab, admin, method)}", flush=True)
    finally:
        if not was_up:
            lab.down()


def measured(lab: Lab, admin: Any, method: Callable[[Tenancy, Path, Faults], str]) -> str:
    """Create five machines in an empty project with one method; count its calls."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tenancy(lab, admin, Path(folder), f"bench-{time.time_ns()}") as project,
        fault_proxies(lab.facts()["ports"]) as station,
    ):
        clouds = project.clouds(station)
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(clouds)
        start = time.monotonic()
        note = method(project, Path(folder), station)
        took = time.monotonic() - start
        calls = [call for call in station.calls if call.service != "keystone"]
        changing = sum(call.method != "GET" for call in calls)
        return f"{took:.1f} s, {len(calls)} calls, {changing} of them to change something{note}"


def with_stargaze(_: Tenancy, folder: Path, __: Faults) -> str:
    """Do what ``stargaze infra up`` does."""
    times: dict[str, list[float]] = {}
    ups: list[float] = []

    def set_row(row: str, _state: str, _text: str) -> None:
        if row.endswith(" is active"):
            ups.append(time.monotonic())
        else:
            times.setdefault(row.partition(" ")[2], []).append(time.monotonic())

    start = time.monotonic()
    cloud, state_dir = connect(SECTION), open_state_dir(SECTION, Store(folder / "store"))
    todo = plan_up(SECTION, cloud, state_dir)
    planned = time.monotonic() - start
    converge(SECTION, cloud, state_dir, todo, set_row)
    took = {key: ends[-1] - ends[0] for key, ends in times.items()}
    boots = max(ups) - max(ends[-1] for key, ends in times.items() if key.startswith("server "))
    chain = planned + longest(todo, took) + max(0.0, boots)
    return f"; the longest chain is {chain:.1f} s, the whole {(time.monotonic() - start) / chain:.2f} × that"


def longest(todo: Plan, took: dict[str, float]) -> float:
    """Return the time of the longest dependency chain [s]."""
    needs = {step.key: step.desired.depends_on if step.desired else () for step in todo.steps}

    def until(key: str) -> float:
        return took.get(key, 0.0) + max((until(need) for need in needs.get(key, ()) if need in needs), default=0.0)

    return max(until(key) for key in needs)


def with_sdk(project: Tenancy, _: Path, station: Faults) -> str:
    """Do the same with a script that waits for each call."""
    clouds = yaml.safe_load(project.clouds(station).read_text(encoding="utf-8"))["clouds"]
    cloud = project.connect(clouds["lab"])
    network, compute = cloud.network, cloud.compute
    key = compute.create_keypair(name="plain")
    net = network.create_network(name="plain")
    subnet = network.create_subnet(name="plain", network_id=net.id, ip_version=4, cidr="10.20.0.0/24")
    outside = next(iter(network.networks(is_router_external=True)))
    router = network.create_router(name="plain", external_gateway_info={"network_id": outside.id})
    network.add_interface_to_router(router, subnet.id)
    groups = [
        network.create_security_group(name=f"plain-{name}") for name in ("jump", "inside", "page", "ray", "swarm")
    ]
    for group in groups:
        network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22
        )
    for one, kind in ((net, network), (subnet, network), (router, network), *((group, network) for group in groups)):
        kind.set_tags(one, ["plain"])
    image = next(iter(cloud.image.images(name="debian-12")))
    flavor = next(flavor for flavor in compute.flavors() if flavor.name == "m1.medium")
    for name in NAMES:
        port = network.create_port(name=name, network_id=net.id, security_group_ids=[group.id for group in groups[:2]])
        network.set_tags(port, ["plain"])
        server = compute.create_server(
            name=name,
            image_id=image.id,
            flavor_id=flavor.id,
            networks=[{"port": port.id}],
            key_name=key.name,
            user_data=base64.b64encode(b"#cloud-config\n{}\n").decode(),
        )
        compute.wait_for_server(server, interval=LOOK)
        if name == NAMES[0]:
            network.set_tags(network.create_ip(floating_network_id=outside.id, port_id=port.id), ["plain"])
    return ""


def played(programs: Path, _: Tenancy, __: Path, ___: Faults) -> str:
    """Do the same with a playbook."""
    environment = {**os.environ, "OS_CLOUD": "lab", "PATH": f"{programs}:{os.environ['PATH']}"}
    words = ["ansible-playbook", "-i", "localhost,", "-e", f"ansible_python_interpreter={programs}/python", str(PLAY)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"; it failed: {done.stdout[-400:]}"


if __name__ == "__main__":
    main()

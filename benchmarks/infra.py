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

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent))
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
POLL_INTERVAL = 0.5
"""Polling interval of the plain script [s]."""
PLAYBOOK = FOLDER / "infra_playbook.yml"


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
                methods["openstack.cloud modules in a playbook"] = functools.partial(
                    with_playbook, arguments.playbook / "bin"
                )
            for turn in range(arguments.times):
                for name, method in methods.items():
                    print(f"{turn + 1}: {name}: {measure(lab, admin, method)}", flush=True)
    finally:
        if not was_up:
            lab.down()


def measure(lab: Lab, admin: Any, method: Callable[[Tenancy, Path, Faults], str]) -> str:
    """Create five machines in an empty project with one method; count its calls."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tenancy(lab, admin, Path(folder), f"bench-{time.time_ns()}") as project,
        fault_proxies(lab.facts()["ports"]) as faults,
    ):
        clouds = project.clouds(faults)
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(clouds)
        start = time.monotonic()
        note = method(project, Path(folder), faults)
        seconds = time.monotonic() - start
        calls = [call for call in faults.calls if call.service != "keystone"]
        changing = sum(call.method != "GET" for call in calls)
        return f"{seconds:.1f} s, {len(calls)} calls, of which {changing} change something{note}"


def with_stargaze(_: Tenancy, folder: Path, __: Faults) -> str:
    """Do what ``stargaze infra up`` does."""
    times: dict[str, list[float]] = {}
    active_times: list[float] = []

    def set_row(row: str, _state: str, _text: str) -> None:
        if row.endswith(" is active"):
            active_times.append(time.monotonic())
        else:
            times.setdefault(row.partition(" ")[2], []).append(time.monotonic())

    start = time.monotonic()
    cloud, state_dir = connect(SECTION), open_state_dir(SECTION, Store(folder / "store"))
    plan = plan_up(SECTION, cloud, state_dir)
    planned = time.monotonic() - start
    converge(SECTION, cloud, state_dir, plan, set_row)
    durations = {key: row_times[-1] - row_times[0] for key, row_times in times.items()}
    boot_time = max(active_times) - max(row_times[-1] for key, row_times in times.items() if key.startswith("server "))
    chain = planned + longest_chain(plan, durations) + max(0.0, boot_time)
    return f"; the longest chain is {chain:.1f} s, the whole {(time.monotonic() - start) / chain:.2f} × that"


def longest_chain(plan: Plan, durations: dict[str, float]) -> float:
    """Return the time of the longest dependency chain [s]."""
    needs = {step.key: step.desired.depends_on if step.desired else () for step in plan.steps}

    def end_of(key: str) -> float:
        return durations.get(key, 0.0) + max(
            (end_of(need) for need in needs.get(key, ()) if need in needs), default=0.0
        )

    return max(end_of(key) for key in needs)


def with_sdk(project: Tenancy, _: Path, faults: Faults) -> str:
    """Do the same with a script that waits for each call."""
    clouds = yaml.safe_load(project.clouds(faults).read_text(encoding="utf-8"))["clouds"]
    cloud = project.connect(clouds["lab"])
    network, compute = cloud.network, cloud.compute
    key = compute.create_keypair(name="plain")
    net = network.create_network(name="plain")
    subnet = network.create_subnet(name="plain", network_id=net.id, ip_version=4, cidr="10.20.0.0/24")
    external = next(iter(network.networks(is_router_external=True)))
    router = network.create_router(name="plain", external_gateway_info={"network_id": external.id})
    network.add_interface_to_router(router, subnet.id)
    groups = [
        network.create_security_group(name=f"plain-{name}") for name in ("jump", "inside", "page", "ray", "swarm")
    ]
    for group in groups:
        network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22
        )
    for resource, kind in (
        (net, network),
        (subnet, network),
        (router, network),
        *((group, network) for group in groups),
    ):
        kind.set_tags(resource, ["plain"])
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
        compute.wait_for_server(server, interval=POLL_INTERVAL)
        if name == NAMES[0]:
            network.set_tags(network.create_ip(floating_network_id=external.id, port_id=port.id), ["plain"])
    return ""


def with_playbook(programs: Path, _: Tenancy, __: Path, ___: Faults) -> str:
    """Do the same with a playbook."""
    environment = {**os.environ, "OS_CLOUD": "lab", "PATH": f"{programs}:{os.environ['PATH']}"}
    argv = [
        "ansible-playbook",
        "-i",
        "localhost,",
        "-e",
        f"ansible_python_interpreter={programs}/python",
        str(PLAYBOOK),
    ]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"; it failed: {done.stdout[-400:]}"


if __name__ == "__main__":
    main()

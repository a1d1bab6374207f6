"""From the plan to machines that answer, and back to nothing: what ``stargaze infra`` does, over the port to a cloud."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.config import InfraSection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.infra.hosts.cloud_init import render_user_data
from stargaze.infra.hosts.host_keys import learn_host_keys
from stargaze.infra.hosts.inventory import PlaybookFiles, SshAccess, build_inventory, to_ssh_hosts
from stargaze.infra.hosts.leave_swarm import remove_from_swarm
from stargaze.infra.hosts.state_dir import StateDir, derive_public_key, ensure_private_key
from stargaze.infra.hosts.wait_for_ssh import wait_for_ssh
from stargaze.infra.machines import Host, Machine, list_machines, parse_machine_name, parse_static_hosts, server_name
from stargaze.infra.plan.apply import State, apply_plan, wait_until_active
from stargaze.infra.plan.cloud import Cloud
from stargaze.infra.plan.desired import desired_resources
from stargaze.infra.plan.own_address import detect_own_address
from stargaze.infra.plan.plan import Plan, Step, plan_changes, plan_teardown
from stargaze.infra.plan.resolve import Problem, resolve_offers
from stargaze.infra.plan.resources import ActualResource
from stargaze.system.files import atomic_write
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

ROUNDS = 4
"""So often a plan is carried out that finds something new each time."""


@dataclass(frozen=True)
class ProgressCallbacks:
    """What is said while it is done: of each step, and of each machine."""

    step: Callable[[Step, State, str], None]
    line: Notify


def plan_up(section: InfraSection, cloud: Cloud, state_dir: StateDir) -> Plan:
    """Compare what the config asks for with what stands in the cloud; changes nothing there."""
    key = derive_public_key(ensure_private_key(section, state_dir))
    hidden: tuple[Problem, ...] = ()
    if not section.ssh_from:
        here, hidden = detect_own_address(cloud.server)
        section = dataclasses.replace(section, ssh_from=here)
    offers = cloud.offers()
    found = cloud.found()  # after the quota, which then counts nothing that is not seen here
    if section.keypair:  # it is used as it is, whoever made it
        found = tuple(one for one in found if one.key != f"keypair {section.keypair}")
    choice, missing = resolve_offers(section, offers)
    resources = desired_resources(section, choice, key, lambda machine: render_user_data(key, machine.name))
    return plan_changes(resources, found, choice, offers.limits, (*missing, *hidden))


def bring_up(
    section: InfraSection, cloud: Cloud, state_dir: StateDir, todo: Plan, telling: ProgressCallbacks
) -> tuple[Host, ...]:
    """Carry the plan out, and wait until every machine answers with a key that we know.

    Raises
    ------
    ExternalError
        If something is missing, or failed; what was made stays, and the next run goes on from it.
    """
    _say_goodbye(section, state_dir, todo, telling)
    stands, servers = converge(section, cloud, state_dir, todo, telling)
    hosts = tuple(_host(section, machine, stands) for machine in list_machines(section))
    write_hosts(state_dir, hosts)
    ids = {host.machine.name: servers[server_name(section, host.machine)].id for host in hosts}
    learn_host_keys(section, ids, cloud, state_dir)
    wait_for_ssh(
        to_ssh_hosts(hosts, ssh_access(section, state_dir)),
        section.patience,
        lambda one: telling.line(f"{one.name} lets us in"),
    )
    return hosts


def _say_goodbye(section: InfraSection, state_dir: StateDir, todo: Plan, telling: ProgressCallbacks) -> None:
    """Have production machines that go leave the Swarm of those that stay."""
    gone = {step.name for step in todo.changes if step.verb == "delete" and step.kind == "server"}
    if not gone or todo.missing or not state_dir.hosts.is_file():
        return
    production = find_ssh_hosts(section, state_dir, "production")
    leaving = [one for one in production if server_name(section, parse_machine_name(one.name)) in gone]
    remove_from_swarm([one.name for one in leaving], [one for one in production if one not in leaving], telling.line)


def converge(
    section: InfraSection, cloud: Cloud, state_dir: StateDir, todo: Plan, telling: ProgressCallbacks
) -> tuple[Mapping[str, ActualResource], Mapping[str, ActualResource]]:
    """Carry the plan out until looking again finds nothing to do: a call of a run that was killed may still have been on its way.

    Returns
    -------
    tuple of mapping, mapping
        All that stands, by key; the machines, by name.
    """
    names = [server_name(section, machine) for machine in list_machines(section)]
    for _ in range(ROUNDS):
        check_plan(todo)
        stands = apply_plan(todo, cloud, telling.step)
        servers = wait_until_active(names, cloud, section.patience, lambda name: telling.line(f"{name} is up"))
        if not todo.changes or not (todo := plan_up(section, cloud, state_dir)).changes:
            return stands, servers
    left = ", ".join(f"{step.verb} {step.key}" for step in todo.changes)
    raise ExternalError(
        f"somebody else changes the same machines: {left}", hint="stargaze infra up, when they are done"
    )


def check_plan(todo: Plan) -> None:
    """Raise one error for all that is missing."""
    if todo.missing:
        raise ExternalError(
            "; ".join(one.what for one in todo.missing), hint="; ".join(dict.fromkeys(one.hint for one in todo.missing))
        )


def tear_down(cloud: Cloud, state_dir: StateDir, todo: Plan, telling: ProgressCallbacks) -> None:
    """Delete all that is ours until looking again finds nothing, and forget the machines.

    A call of a run that was killed may land after the look, and what it made keeps in use what goes.

    Raises
    ------
    ExternalError
        If something is left.
    """
    for _ in range(ROUNDS):
        failure = _carried_out(todo, cloud, telling)
        before, todo = todo, plan_down(cloud)
        if not todo.changes:
            break
        if failure and _ids(todo) <= _ids(before):  # nothing that was not seen before is in the way
            raise failure
    if todo.changes:
        left = ", ".join(step.key for step in todo.changes)
        raise ExternalError(f"still there: {left}", hint="stargaze infra down again")
    for path in (state_dir.hosts, state_dir.pins, state_dir.known_hosts, state_dir.inventory, state_dir.configured):
        path.unlink(missing_ok=True)


def _carried_out(todo: Plan, cloud: Cloud, telling: ProgressCallbacks) -> ExternalError | None:
    try:
        apply_plan(todo, cloud, telling.step)
    except ExternalError as error:
        return error
    return None


def _ids(todo: Plan) -> set[str]:
    return {step.found.id for step in todo.changes if step.found}


def plan_down(cloud: Cloud) -> Plan:
    """Return the plan that deletes all that is ours."""
    return plan_teardown(cloud.found())


def _host(section: InfraSection, machine: Machine, stands: Mapping[str, ActualResource]) -> Host:
    name = server_name(section, machine)
    private_ip = str(stands[f"port {name}"].spec["address"])
    floating = stands.get(f"floating IP {name}")
    return Host(machine, str(floating.spec["address"]) if floating else private_ip, private_ip, section.user)


def write_hosts(state_dir: StateDir, hosts: Sequence[Host]) -> None:
    """Write down which machines there are."""
    rows = {
        host.machine.name: {"address": host.address, "private_ip": host.private_ip, "user": host.user} for host in hosts
    }
    with atomic_write(state_dir.hosts) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def read_hosts(section: InfraSection, state_dir: StateDir) -> tuple[Host, ...]:
    """Return the machines: of the config where they exist already, else those that were brought up last.

    Raises
    ------
    MissingInputError
        If none was brought up.
    """
    if section.provider == "static":
        return parse_static_hosts(section.hosts)
    if not state_dir.hosts.is_file():
        raise MissingInputError("no machines were brought up from here", hint="stargaze infra up")
    rows = json.loads(state_dir.hosts.read_text(encoding="utf-8"))
    return tuple(
        Host(parse_machine_name(name), row["address"], row["private_ip"], row["user"]) for name, row in rows.items()
    )


def ssh_access(section: InfraSection, state_dir: StateDir) -> SshAccess:
    """Return how the machines are entered."""
    return SshAccess(ensure_private_key(section, state_dir), state_dir.known_hosts, section.host_keys == "first-use")


def read_ssh_hosts(section: InfraSection, state_dir: StateDir) -> tuple[SshHost, ...]:
    """Return all machines as they are entered."""
    return to_ssh_hosts(read_hosts(section, state_dir), ssh_access(section, state_dir))


def find_ssh_hosts(section: InfraSection, state_dir: StateDir, role: str) -> tuple[SshHost, ...]:
    """Return the machines of one role, in the order of their names, for those who send work there.

    Raises
    ------
    MissingInputError
        If there is none.
    """
    found = tuple(one for one in read_ssh_hosts(section, state_dir) if one.role == role)
    if not found:
        raise MissingInputError(
            f"the cluster has no machine for {role}", hint="stargaze infra up; stargaze infra status"
        )
    return found


def write_inventory(section: InfraSection, state_dir: StateDir, hosts: Sequence[Host], files: PlaybookFiles) -> Path:
    """Write Ansible's inventory; JSON is YAML."""
    value = build_inventory(section, hosts, ssh_access(section, state_dir), files)
    with atomic_write(state_dir.inventory) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return state_dir.inventory


def ensure_ray_token(state_dir: StateDir) -> Path:
    """Return the file with what whoever sends work to Ray must know, made on first use for its owner alone."""
    if not state_dir.ray_token.is_file():
        with atomic_write(state_dir.ray_token, 0o600) as temporary:
            temporary.write_text(secrets.token_hex(32), encoding="ascii")
    return state_dir.ray_token

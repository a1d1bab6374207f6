"""From the plan to machines that answer, and back to nothing: what ``stargaze infra`` does, over the port to a cloud."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.config.sections import InfraSection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.infra.hosts.cloud_init import user_data
from stargaze.infra.hosts.host_keys import learn
from stargaze.infra.hosts.inventory import Access, Files, inventory, remotes
from stargaze.infra.hosts.leave_swarm import remove_from_swarm
from stargaze.infra.hosts.state_dir import StateDir, private_key, public_key
from stargaze.infra.hosts.wait_for_ssh import await_ssh
from stargaze.infra.machines import Host, Machine, machine_of, machines, server_name, static_hosts
from stargaze.infra.plan.apply import State, await_active, carry_out
from stargaze.infra.plan.cloud import Cloud
from stargaze.infra.plan.desired import wanted
from stargaze.infra.plan.own_address import from_here
from stargaze.infra.plan.plan import Plan, Step, plan, teardown
from stargaze.infra.plan.resolve import Missing, choose
from stargaze.infra.plan.resources import Found
from stargaze.system.files import atomic_write
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

ROUNDS = 4
"""So often a plan is carried out that finds something new each time."""


@dataclass(frozen=True)
class Telling:
    """What is said while it is done: of each step, and of each machine."""

    step: Callable[[Step, State, str], None]
    line: Notify


def look(section: InfraSection, cloud: Cloud, room: StateDir) -> Plan:
    """Compare what the config asks for with what stands in the cloud; changes nothing there."""
    key = public_key(private_key(section, room))
    hidden: tuple[Missing, ...] = ()
    if not section.ssh_from:
        here, hidden = from_here(cloud.server)
        section = dataclasses.replace(section, ssh_from=here)
    offers = cloud.offers()
    found = cloud.found()  # after the quota, which then counts nothing that is not seen here
    if section.keypair:  # it is used as it is, whoever made it
        found = tuple(one for one in found if one.key != f"keypair {section.keypair}")
    choice, missing = choose(section, offers)
    resources = wanted(section, choice, key, lambda machine: user_data(key, machine.name))
    return plan(resources, found, choice, offers.limits, (*missing, *hidden))


def bring_up(section: InfraSection, cloud: Cloud, room: StateDir, todo: Plan, telling: Telling) -> tuple[Host, ...]:
    """Carry the plan out, and wait until every machine answers with a key that we know.

    Raises
    ------
    ExternalError
        If something is missing, or failed; what was made stays, and the next run goes on from it.
    """
    _say_goodbye(section, room, todo, telling)
    stands, servers = converge(section, cloud, room, todo, telling)
    hosts = tuple(_host(section, machine, stands) for machine in machines(section))
    keep_hosts(room, hosts)
    ids = {host.machine.name: servers[server_name(section, host.machine)].id for host in hosts}
    learn(section, ids, cloud, room)
    await_ssh(
        remotes(hosts, access_of(section, room)), section.patience, lambda one: telling.line(f"{one.name} lets us in")
    )
    return hosts


def _say_goodbye(section: InfraSection, room: StateDir, todo: Plan, telling: Telling) -> None:
    """Have production machines that go leave the Swarm of those that stay."""
    gone = {step.name for step in todo.changes if step.verb == "delete" and step.kind == "server"}
    if not gone or todo.missing or not room.hosts.is_file():
        return
    production = machines_of(section, room, "production")
    leaving = [one for one in production if server_name(section, machine_of(one.name)) in gone]
    remove_from_swarm([one.name for one in leaving], [one for one in production if one not in leaving], telling.line)


def converge(
    section: InfraSection, cloud: Cloud, room: StateDir, todo: Plan, telling: Telling
) -> tuple[Mapping[str, Found], Mapping[str, Found]]:
    """Carry the plan out until looking again finds nothing to do: a call of a run that was killed may still have been on its way.

    Returns
    -------
    tuple of mapping, mapping
        All that stands, by key; the machines, by name.
    """
    names = [server_name(section, machine) for machine in machines(section)]
    for _ in range(ROUNDS):
        check_complete(todo)
        stands = carry_out(todo, cloud, telling.step)
        servers = await_active(names, cloud, section.patience, lambda name: telling.line(f"{name} is up"))
        if not todo.changes or not (todo := look(section, cloud, room)).changes:
            return stands, servers
    left = ", ".join(f"{step.verb} {step.key}" for step in todo.changes)
    raise ExternalError(
        f"somebody else changes the same machines: {left}", hint="stargaze infra up, when they are done"
    )


def check_complete(todo: Plan) -> None:
    """Raise one error for all that is missing."""
    if todo.missing:
        raise ExternalError(
            "; ".join(one.what for one in todo.missing), hint="; ".join(dict.fromkeys(one.hint for one in todo.missing))
        )


def take_down(cloud: Cloud, room: StateDir, todo: Plan, telling: Telling) -> None:
    """Delete all that is ours until looking again finds nothing, and forget the machines.

    A call of a run that was killed may land after the look, and what it made keeps in use what goes.

    Raises
    ------
    ExternalError
        If something is left.
    """
    for _ in range(ROUNDS):
        failure = _carried_out(todo, cloud, telling)
        before, todo = todo, what_stands(cloud)
        if not todo.changes:
            break
        if failure and _ids(todo) <= _ids(before):  # nothing that was not seen before is in the way
            raise failure
    if todo.changes:
        left = ", ".join(step.key for step in todo.changes)
        raise ExternalError(f"still there: {left}", hint="stargaze infra down again")
    for path in (room.hosts, room.pins, room.known_hosts, room.inventory, room.configured):
        path.unlink(missing_ok=True)


def _carried_out(todo: Plan, cloud: Cloud, telling: Telling) -> ExternalError | None:
    try:
        carry_out(todo, cloud, telling.step)
    except ExternalError as error:
        return error
    return None


def _ids(todo: Plan) -> set[str]:
    return {step.found.id for step in todo.changes if step.found}


def what_stands(cloud: Cloud) -> Plan:
    """Return the plan that deletes all that is ours."""
    return teardown(cloud.found())


def _host(section: InfraSection, machine: Machine, stands: Mapping[str, Found]) -> Host:
    name = server_name(section, machine)
    inside = str(stands[f"port {name}"].spec["address"])
    floating = stands.get(f"floating IP {name}")
    return Host(machine, str(floating.spec["address"]) if floating else inside, inside, section.user)


def keep_hosts(room: StateDir, hosts: Sequence[Host]) -> None:
    """Write down which machines there are."""
    rows = {host.machine.name: {"address": host.address, "inside": host.inside, "user": host.user} for host in hosts}
    with atomic_write(room.hosts) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def hosts_of(section: InfraSection, room: StateDir) -> tuple[Host, ...]:
    """Return the machines: of the config where they exist already, else those that were brought up last.

    Raises
    ------
    MissingInputError
        If none was brought up.
    """
    if section.provider == "static":
        return static_hosts(section.hosts)
    if not room.hosts.is_file():
        raise MissingInputError("no machines were brought up from here", hint="stargaze infra up")
    rows = json.loads(room.hosts.read_text(encoding="utf-8"))
    return tuple(Host(machine_of(name), row["address"], row["inside"], row["user"]) for name, row in rows.items())


def access_of(section: InfraSection, room: StateDir) -> Access:
    """Return how the machines are entered."""
    return Access(private_key(section, room), room.known_hosts, section.host_keys == "first-use")


def ssh_hosts(section: InfraSection, room: StateDir) -> tuple[SshHost, ...]:
    """Return all machines as they are entered."""
    return remotes(hosts_of(section, room), access_of(section, room))


def machines_of(section: InfraSection, room: StateDir, role: str) -> tuple[SshHost, ...]:
    """Return the machines of one role, in the order of their names, for those who send work there.

    Raises
    ------
    MissingInputError
        If there is none.
    """
    found = tuple(one for one in ssh_hosts(section, room) if one.role == role)
    if not found:
        raise MissingInputError(
            f"the cluster has no machine for {role}", hint="stargaze infra up; stargaze infra status"
        )
    return found


def write_inventory(section: InfraSection, room: StateDir, hosts: Sequence[Host], files: Files) -> Path:
    """Write Ansible's inventory; JSON is YAML."""
    value = inventory(section, hosts, access_of(section, room), files)
    with atomic_write(room.inventory) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return room.inventory


def ray_token(room: StateDir) -> Path:
    """Return the file with what whoever sends work to Ray must know, made on first use for its owner alone."""
    if not room.ray_token.is_file():
        with atomic_write(room.ray_token, 0o600) as temporary:
            temporary.write_text(secrets.token_hex(32), encoding="ascii")
    return room.ray_token

"""Provision the cluster in a cloud: plan the changes, apply them, verify that every machine accepts ssh."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from stargaze.config import InfraSection
from stargaze.errors import ExternalError
from stargaze.infra.hosts.host_keys import learn_host_keys, render_cloud_init
from stargaze.infra.hosts.host_list import find_ssh_hosts, ssh_access, to_ssh_hosts, write_hosts
from stargaze.infra.hosts.leave_swarm import remove_from_swarm
from stargaze.infra.hosts.state_dir import StateDir, derive_public_key, ensure_private_key
from stargaze.infra.hosts.wait_for_ssh import wait_for_ssh
from stargaze.infra.machines import Host, Machine, list_machines, parse_machine_name, server_name
from stargaze.infra.plan.apply import apply_plan, wait_until_active
from stargaze.infra.plan.offers import Problem, detect_own_address, resolve_offers
from stargaze.infra.plan.plan import Plan, plan_changes, plan_teardown
from stargaze.infra.plan.resources import ActualResource, Cloud, desired_resources
from stargaze.system.progress import Notify, SetRow

MAX_ROUNDS = 4
"""A plan that is not empty after as many rounds is an error: another command changes the same resources."""


def plan_up(section: InfraSection, cloud: Cloud, state_dir: StateDir) -> Plan:
    """Compare the desired resources with those in the cloud; change nothing."""
    public_key = derive_public_key(ensure_private_key(section, state_dir))
    problems: tuple[Problem, ...] = ()
    if not section.ssh_from:
        ssh_from, problems = detect_own_address(cloud.auth_host)
        section = dataclasses.replace(section, ssh_from=ssh_from)
    offers = cloud.offers()
    actual = cloud.resources()  # after the quota: whatever the quota counts is in this list
    if section.keypair:  # used unchanged, even if another program created it
        actual = tuple(resource for resource in actual if resource.key != f"keypair {section.keypair}")
    resolved, unresolved = resolve_offers(section, offers)
    desired = desired_resources(
        section, resolved, public_key, lambda machine: render_cloud_init(public_key, machine.name)
    )
    return plan_changes(desired, actual, resolved, offers.limits, (*unresolved, *problems))


def plan_down(cloud: Cloud) -> Plan:
    """Return the plan that deletes all owned resources."""
    return plan_teardown(cloud.resources())


def check_plan(plan: Plan) -> None:
    """Raise all problems of a plan as one error."""
    if plan.problems:
        raise ExternalError(
            "; ".join(problem.message for problem in plan.problems),
            hint="; ".join(dict.fromkeys(problem.hint for problem in plan.problems)),
        )


def bring_up(section: InfraSection, cloud: Cloud, state_dir: StateDir, plan: Plan, set_row: SetRow) -> tuple[Host, ...]:
    """Apply a plan, then verify it: nothing is left to change, and every machine accepts ssh with a pinned host key.

    If a step fails, the completed ones stay, and the next run continues from them.
    """
    check_plan(plan)
    _drain_deleted_nodes(section, state_dir, plan, _notify(set_row))
    resources, servers = converge(section, cloud, state_dir, plan, set_row)
    hosts = tuple(_to_host(section, machine, resources) for machine in list_machines(section))
    write_hosts(state_dir, hosts)
    server_ids = {host.machine.name: servers[server_name(section, host.machine)].id for host in hosts}
    learn_host_keys(section, server_ids, cloud, state_dir)
    wait_for_ssh(to_ssh_hosts(hosts, ssh_access(section, state_dir)), section.timeout, _notify(set_row))
    return hosts


def _notify(set_row: SetRow) -> Notify:
    return lambda line: set_row(line, "done", "")


def _drain_deleted_nodes(section: InfraSection, state_dir: StateDir, plan: Plan, notify: Notify) -> None:
    """Remove the production machines that the plan deletes from the Swarm of the others."""
    deleted = {step.name for step in plan.changes if step.action == "delete" and step.kind == "server"}
    if not deleted or not state_dir.hosts.is_file():
        return
    production = find_ssh_hosts(section, state_dir, "production")
    leaving = [host for host in production if server_name(section, parse_machine_name(host.name)) in deleted]
    remove_from_swarm([host.name for host in leaving], [host for host in production if host not in leaving], notify)


def converge(
    section: InfraSection, cloud: Cloud, state_dir: StateDir, plan: Plan, set_row: SetRow
) -> tuple[Mapping[str, ActualResource], Mapping[str, ActualResource]]:
    """Apply the plan and compute it again until it is empty, because a call of a killed run may take effect late.

    Return all resources by key, and the servers by name.
    """
    names = [server_name(section, machine) for machine in list_machines(section)]
    for _ in range(MAX_ROUNDS):
        check_plan(plan)
        resources = apply_plan(plan, cloud, set_row)
        servers = wait_until_active(names, cloud, section.timeout, _notify(set_row))
        if not plan.changes or not (plan := plan_up(section, cloud, state_dir)).changes:
            return resources, servers
    changes = ", ".join(f"{step.action} {step.key}" for step in plan.changes)
    raise ExternalError(
        f"another command is changing these machines: {changes}", hint="wait for it, then run stargaze infra up again"
    )


def tear_down(cloud: Cloud, state_dir: StateDir, plan: Plan, set_row: SetRow) -> None:
    """Delete all owned resources until none is left, then the files that describe the machines.

    A call of a killed run may create a resource late, which keeps others in use; the next round finds it.
    """
    for _ in range(MAX_ROUNDS):
        failure = _try_apply(plan, cloud, set_row)
        previous, plan = plan, plan_down(cloud)
        if not plan.changes:
            break
        if failure and _resource_ids(plan) <= _resource_ids(previous):  # no new resource explains the failure
            raise failure
    if plan.changes:
        left = ", ".join(step.key for step in plan.changes)
        raise ExternalError(f"could not be deleted: {left}", hint="run stargaze infra down again")
    for path in (state_dir.hosts, state_dir.pins, state_dir.known_hosts, state_dir.inventory, state_dir.configured):
        path.unlink(missing_ok=True)


def _try_apply(plan: Plan, cloud: Cloud, set_row: SetRow) -> ExternalError | None:
    try:
        apply_plan(plan, cloud, set_row)
    except ExternalError as error:
        return error
    return None


def _resource_ids(plan: Plan) -> set[str]:
    return {step.actual.id for step in plan.changes if step.actual}


def _to_host(section: InfraSection, machine: Machine, resources: Mapping[str, ActualResource]) -> Host:
    name = server_name(section, machine)
    private_ip = str(resources[f"port {name}"].spec["address"])
    floating_ip = resources.get(f"floating IP {name}")
    return Host(machine, str(floating_ip.spec["address"]) if floating_ip else private_ip, private_ip, section.user)

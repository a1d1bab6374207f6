"""The commands of ``stargaze infra``: read the config, call one function, print its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stargaze.commands.options import CommonOptions, ConfigOptions, command_with_example
from stargaze.errors import DifferenceFoundError, UsageError
from stargaze.output import Output, live_table

if TYPE_CHECKING:
    from stargaze.config import InfraSection
    from stargaze.infra.hosts.state_dir import StateDir
    from stargaze.store import Store

EXAMPLES = {
    "infra up": "stargaze infra up --dry-run",
    "infra status": "stargaze infra status --json",
    "infra ssh": "stargaze infra ssh production1 -- docker ps",
    "infra configure": "stargaze infra configure --tags ray,swarm",
    "infra forget": "stargaze infra forget production1",
    "infra down": "stargaze infra down --dry-run",
}
PLAN_COLUMNS = ["action", "resource", "name", "detail"]
app = typer.Typer(
    help="Create the machines of the cluster on OpenStack or use existing ones, configure them, and delete them.\n\n"
    "Example: stargaze infra up --dry-run",
    rich_markup_mode=None,
    no_args_is_help=True,
)


command = command_with_example(app, EXAMPLES, "infra")
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")]


@command("up")
def up(
    *,
    dry_run: DryRun = False,
    configure: Annotated[bool, typer.Option(help="Run the playbooks on the machines afterwards.")] = True,
    common: CommonOptions,
) -> None:
    """Create, update or delete machines until the cloud matches the config, then configure them. A second run changes nothing."""
    out, section, state_dir, opened = _open(common)
    answer = {"plan": _bring_up(out, section, state_dir, dry_run=dry_run) if section.provider == "openstack" else []}
    if not dry_run:
        answer["machines"] = _configure_if_changed(out, section, state_dir, opened) if configure else []
    if out.as_json:
        out.answer(answer)


@command("status")
def status(common: CommonOptions) -> None:
    """Show every machine: its state in the cloud, its addresses, and whether it accepts ssh."""
    from stargaze.infra.status import survey_machines

    out, section, state_dir, _ = _open(common)
    rows = survey_machines(section, state_dir)
    out.table(rows, ["machine", "state", "address", "private_ip", "ssh"], f"Machines of {section.name}")
    if any(row["ssh"] != "ok" for row in rows):
        raise DifferenceFoundError("cannot log in to every machine", hint="stargaze infra up")


@command("ssh", context_settings={"ignore_unknown_options": True})
def ssh(
    name: Annotated[str, typer.Argument(help="A machine as named by infra status.")],
    remote_command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="A command to run instead of a shell.")
    ] = None,
    *,
    common: ConfigOptions,
) -> None:
    """Open a shell on a machine by ssh, through the orchestration machine; only the pinned host key is trusted."""
    import os

    from stargaze.infra.status import ssh_command

    _, section, state_dir, _ = _open(common)
    argv = [*ssh_command(section, state_dir, name, terminal=not remote_command), *(remote_command or [])]
    os.execvp(argv[0], argv)  # noqa: S606 - a list of our own, no shell


@command("configure")
def configure(
    *,
    tags: Annotated[str, typer.Option(help="Only these parts, comma-separated: base, ray, swarm, page, git.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Print what would change, and change nothing.")] = False,
    common: CommonOptions,
) -> None:
    """Run the playbooks on all machines: users, firewall, Docker, Ray, the Swarm, the proxy, the release repositories."""
    out, section, state_dir, opened = _open(common)
    tag_list = tuple(filter(None, tags.split(",")))
    out.table(
        _run_playbooks(section, state_dir, opened, tags=tag_list, check=check), ["machine", "changed"], "Configured"
    )


@command("forget")
def forget(
    name: Annotated[str, typer.Argument(help="A machine as named by infra status.")], *, common: ConfigOptions
) -> None:
    """Forget the ssh host key of a machine that was created again, so that infra up reads the new one."""
    from stargaze.infra.hosts.host_keys import forget_host_key

    out, _, state_dir, _ = _open(common)
    forget_host_key(state_dir, name)
    out.text(f"{name}: host key forgotten; next: stargaze infra up")


@command("down")
def down(
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    common: CommonOptions,
) -> None:
    """Delete everything that infra up created, and nothing else."""
    from stargaze.infra.openstack.client import connect
    from stargaze.infra.provision import plan_down, tear_down

    out, section, state_dir, _ = _open(common)
    if section.provider == "static":
        raise UsageError(
            "stargaze did not create these machines and does not delete them", hint="stargaze infra status"
        )
    cloud = connect(section)
    plan = plan_down(cloud)
    out.table(plan.as_rows(), PLAN_COLUMNS)
    if dry_run or not plan.changes:
        out.text("nothing to do" if not plan.changes else "next: stargaze infra down")
        return
    if not yes:
        _confirm(section)
    with live_table("infra down") as table:
        tear_down(cloud, state_dir, plan, table.set_row)
    out.text(f"{section.name}: everything is deleted")


def _open(common: ConfigOptions) -> tuple[Output, InfraSection, StateDir, Store]:
    from stargaze.infra.hosts.state_dir import open_state_dir

    out, settings, opened = common.open_session()
    return out, settings.infra, open_state_dir(settings.infra, opened), opened


def _bring_up(out: Output, section: InfraSection, state_dir: StateDir, *, dry_run: bool) -> list[dict[str, Any]]:
    """Plan, apply, verify; return the rows of the plan, which the command prints with the rest of its JSON document."""
    from stargaze.infra.openstack.client import connect
    from stargaze.infra.provision import bring_up, check_plan, plan_up

    cloud = connect(section)
    plan = plan_up(section, cloud, state_dir)
    rows = plan.as_rows()
    if not out.as_json:
        out.table(rows, PLAN_COLUMNS)
    elif plan.problems:
        out.answer({"plan": rows})
    check_plan(plan)
    if not dry_run:
        with live_table("infra up") as table:
            bring_up(section, cloud, state_dir, plan, table.set_row)
    out.text("nothing to do" if not plan.changes else "next: stargaze infra up" if dry_run else "all machines are up")
    return rows


def _configure_if_changed(
    out: Output, section: InfraSection, state_dir: StateDir, store: Store
) -> list[dict[str, Any]]:
    """Run the playbooks if anything has changed since the last run."""
    from stargaze.infra.ansible.configure import is_up_to_date

    if is_up_to_date(section, state_dir, store):
        out.text("nothing to configure")
        return []
    rows = _run_playbooks(section, state_dir, store)
    if not out.as_json:
        out.table(rows, ["machine", "changed"], "Configured")
    return rows


def _run_playbooks(
    section: InfraSection, state_dir: StateDir, store: Store, *, tags: tuple[str, ...] = (), check: bool = False
) -> list[dict[str, Any]]:
    from stargaze.infra.ansible.configure import configure_hosts

    with live_table("infra configure") as table:
        return configure_hosts(section, state_dir, store, table.set_row, tags=tags, check=check)


def _confirm(section: InfraSection) -> None:
    """Ask the user to type the name of the cluster; without a terminal, refuse."""
    import sys

    if not sys.stdin.isatty():
        raise UsageError(
            "refusing to delete machines without confirmation (not a terminal)", hint="stargaze infra down --yes"
        )
    try:
        typed = input(f"Type the name of the cluster ({section.name}) to delete all of this: ").strip()
    except EOFError as error:
        raise UsageError("no name was typed; nothing was deleted", hint="stargaze infra down --yes") from error
    if typed != section.name:
        raise UsageError("the name does not match; nothing was deleted", hint="stargaze infra down")

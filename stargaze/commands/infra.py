"""The commands of ``stargaze infra``: read the config, call one function, print its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stargaze.commands.options import AsJson, ConfigPath, StorePath, open_session
from stargaze.errors import DifferenceFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stargaze.config import InfraSection
    from stargaze.infra.hosts.state_dir import StateDir
    from stargaze.output import Output
    from stargaze.store import Store

EXAMPLES = {
    "infra up": "stargaze infra up --dry-run",
    "infra status": "stargaze infra status --json",
    "infra ssh": "stargaze infra ssh production1 -- docker ps",
    "infra configure": "stargaze infra configure --tags ray,swarm",
    "infra forget": "stargaze infra forget production1",
    "infra down": "stargaze infra down --dry-run",
}
app = typer.Typer(
    help="Machines of the cluster: made on OpenStack or taken as they are, configured, and taken down again.\n\n"
    "Example: stargaze infra up --dry-run",
    rich_markup_mode=None,
    no_args_is_help=True,
)


def command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command with its example below its help."""
    more = {"ignore_unknown_options": True} if name == "ssh" else {}
    return app.command(name, epilog=f"Example: {EXAMPLES[f'infra {name}']}", context_settings=more)


DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and stop there.")]


@command("up")
def up(
    *,
    dry_run: DryRun = False,
    configure: Annotated[bool, typer.Option(help="Run the playbooks on the machines afterwards.")] = True,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Bring the cloud to the size that the config asks for, and configure the machines; again, it changes nothing."""
    out, section, state_dir, place = _enter(path, store, as_json)
    planned = _bring_up(out, section, state_dir, dry_run=dry_run) if section.provider == "openstack" else []
    answer = {"plan": planned}
    if not dry_run:
        answer["machines"] = _configure_anew(out, section, state_dir, place) if configure else []
    if as_json:
        out.answer(answer)


@command("status")
def status(path: ConfigPath = None, store: StorePath = None, as_json: AsJson = False) -> None:
    """Show every machine: what the cloud says of it, where it is, and whether it lets us in."""
    from stargaze.infra.status import survey_machines

    out, section, state_dir, _ = _enter(path, store, as_json)
    rows = survey_machines(section, state_dir)
    out.table(rows, ["machine", "state", "address", "private_ip", "ssh"], f"Machines of {section.name}")
    if any(row["ssh"] != "yes" for row in rows):
        raise DifferenceFoundError("not every machine lets us in", hint="stargaze infra up")


@command("ssh")
def ssh(
    name: Annotated[str, typer.Argument(help="A machine, as infra status names it.")],
    words: Annotated[list[str] | None, typer.Argument(help="A command to run there instead of a shell.")] = None,
    path: ConfigPath = None,
    store: StorePath = None,
) -> None:
    """Enter a machine by ssh, through the orchestration machine, believing only the key that was learnt."""
    import os

    from stargaze.infra.status import ssh_command

    _, section, state_dir, _ = _enter(path, store, as_json=False)
    argv = [*ssh_command(section, state_dir, name, terminal=not words), *(words or [])]
    os.execvp(argv[0], argv)  # noqa: S606 - a list of our own, no shell


@command("configure")
def configure(
    *,
    tags: Annotated[str, typer.Option(help="Only these: base, ray, swarm, page, git; divided by commas.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Change nothing, say what would change.")] = False,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Run the playbooks on all machines: users, firewall, Docker, Ray, the Swarm, the way to the page, the releases."""
    out, section, state_dir, place = _enter(path, store, as_json)
    _configure(out, section, state_dir, place, tags=tuple(filter(None, tags.split(","))), check=check)


@command("forget")
def forget(
    name: Annotated[str, typer.Argument(help="A machine, as infra status names it.")],
    path: ConfigPath = None,
    store: StorePath = None,
) -> None:
    """Forget the ssh host key of a machine that was made anew, so that infra up learns it again."""
    from stargaze.infra.hosts.host_keys import forget_host_key as forget_machine

    out, _, state_dir, _ = _enter(path, store, as_json=False)
    forget_machine(state_dir, name)
    out.text(f"{name}: forgotten; next: stargaze infra up")


@command("down")
def down(
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the name.")] = False,
    path: ConfigPath = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Delete all that infra up made, and nothing else."""
    from stargaze.infra.openstack.client import connect
    from stargaze.infra.provision import plan_down, tear_down
    from stargaze.infra.view import rows_of, telling

    out, section, state_dir, _ = _enter(path, store, as_json)
    if section.provider == "static":
        raise UsageError(
            "these machines were not made by stargaze, so it does not delete them", hint="stargaze infra status"
        )
    cloud = connect(section)
    todo = plan_down(cloud)
    out.table(rows_of(todo), ["do", "what", "name", "why"])
    if dry_run or not todo.changes:
        out.text("nothing to do" if not todo.changes else "next: stargaze infra down")
        return
    if not yes:
        _confirm(section)
    with telling("infra down") as tell:
        tear_down(cloud, state_dir, todo, tell)
    out.text(f"{section.name}: nothing is left")


def _enter(path: Path | None, store: str | None, as_json: bool) -> tuple[Output, InfraSection, StateDir, Store]:
    from stargaze.infra.hosts.state_dir import open_state_dir

    out, settings, place = open_session(path, store, as_json)
    return out, settings.infra, open_state_dir(settings.infra, place), place


def _bring_up(out: Output, section: InfraSection, state_dir: StateDir, *, dry_run: bool) -> list[dict[str, Any]]:
    """Carry the plan out and return its rows; JSON is printed by the command, where it is one document."""
    from stargaze.infra.openstack.client import connect
    from stargaze.infra.provision import bring_up, check_plan, plan_up
    from stargaze.infra.view import rows_of, telling

    cloud = connect(section)
    todo = plan_up(section, cloud, state_dir)
    rows = rows_of(todo)
    if not out.as_json:
        out.table(rows, ["do", "what", "name", "why"])
    elif todo.missing:
        out.answer({"plan": rows})
    check_plan(todo)
    if not dry_run:
        with telling("infra up") as tell:
            bring_up(section, cloud, state_dir, todo, tell)
    out.text("nothing to do" if not todo.changes else "next: stargaze infra up" if dry_run else "all machines are up")
    return rows


def _configure_anew(out: Output, section: InfraSection, state_dir: StateDir, place: Store) -> list[dict[str, Any]]:
    """Run the playbooks if anything has changed since they ran last."""
    from stargaze.infra.ansible.configure import configure_hosts, is_up_to_date

    if is_up_to_date(section, state_dir, place):
        out.text("nothing to configure")
        return []
    rows = configure_hosts(section, state_dir, place)
    if not out.as_json:
        _show_configured(out, rows)
    return rows


def _configure(
    out: Output, section: InfraSection, state_dir: StateDir, place: Store, *, tags: tuple[str, ...], check: bool
) -> None:
    from stargaze.infra.ansible.configure import configure_hosts

    rows = configure_hosts(section, state_dir, place, tags=tags, check=check)
    _show_configured(out, rows)


def _show_configured(out: Output, rows: list[dict[str, Any]]) -> None:
    out.table(rows, ["machine", "changed"], "Configured")


def _confirm(section: InfraSection) -> None:
    """Let the name be typed; where nobody can type, say what to type."""
    import sys

    if not sys.stdin.isatty():
        raise UsageError("this deletes machines, and nobody is there to confirm it", hint="stargaze infra down --yes")
    try:
        typed = input(f"Type the name of the cluster ({section.name}) to delete all of this: ").strip()
    except EOFError as error:
        raise UsageError("no name was typed: nothing was done", hint="stargaze infra down --yes") from error
    if typed != section.name:
        raise UsageError("another name was typed: nothing was deleted", hint="stargaze infra down")

"""Whose ssh host keys are believed: learnt once from where nobody else can write, then pinned."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from stargaze.config import InfraSection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.infra.hosts.cloud_init import parse_host_keys
from stargaze.infra.hosts.state_dir import StateDir, known_hosts_names, pin_host_keys, read_pins
from stargaze.infra.machines import parse_machine_name
from stargaze.infra.plan.cloud import Cloud

CONSOLE_LOOK = 2.0
"""Between two looks at a machine's console [s]."""


def learn_host_keys(section: InfraSection, servers: Mapping[str, str], cloud: Cloud, state_dir: StateDir) -> None:
    """Pin the host keys of machines that are new; those of machines that stand are never learnt again.

    Raises
    ------
    ExternalError
        If a console tells none within ``infra.patience``.
    """
    known = read_pins(state_dir)
    kept = {name: one for name, one in known.items() if servers.get(name) == one["id"]}
    new = [name for name in servers if name not in kept]
    if section.host_keys == "first-use":
        pin_host_keys(state_dir, {name: (servers[name], ()) for name in servers}, keep=set(kept))
        return
    limit = time.monotonic() + section.patience
    with ThreadPoolExecutor(max(1, len(new))) as pool:
        keys = dict(zip(new, pool.map(lambda name: _from_console(name, servers[name], cloud, limit), new), strict=True))
    pin_host_keys(
        state_dir,
        {name: (server, keys[name] if name in keys else known[name]["keys"]) for name, server in servers.items()},
    )


def check_host_keys(section: InfraSection, state_dir: StateDir) -> None:
    """See that machines which exist already can be believed: they have no console that tells us their keys.

    Raises
    ------
    UsageError
        If the key of one is not known; it says how that is said.
    """
    unknown = sorted(set(section.hosts) - known_hosts_names(state_dir))
    if section.provider == "static" and section.host_keys == "console" and unknown:
        raise UsageError(
            f"no ssh host key of {', '.join(unknown)} is known",
            hint=f'infra.host_keys = "first-use" believes whom it meets first; or a line "{unknown[0]} ssh-ed25519 AAAA…" in '
            f"{state_dir.known_hosts}",
        )


def forget_host_key(state_dir: StateDir, machine: str) -> None:
    """Forget the keys of one machine, so that they are learnt anew; those of all others stay, also such as were met only."""
    parse_machine_name(machine)
    known = read_pins(state_dir)
    everybody = known_hosts_names(state_dir) | set(known)
    if machine not in everybody:
        raise MissingInputError(
            f"no host key of {machine} is known", hint=f"known: {', '.join(sorted(everybody)) or 'none'}"
        )
    others = {name: (one["id"], one["keys"]) for name, one in known.items() if name != machine}
    pin_host_keys(state_dir, others, keep=everybody - {machine})


def _from_console(name: str, server_id: str, cloud: Cloud, limit: float) -> tuple[str, ...]:
    while not (keys := parse_host_keys(cloud.console(server_id))):
        if time.monotonic() > limit:
            raise ExternalError(
                f"{name}: its console tells no ssh host keys",
                hint='stargaze infra up waits on; where a cloud shows no console: infra.host_keys = "first-use"',
            )
        time.sleep(CONSOLE_LOOK)
    return keys

"""The first boot: cloud-init's user data, and the ssh host keys that it prints to the console, read once and then pinned."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping

from stargaze.config import InfraSection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.infra.hosts.state_dir import StateDir, machines_with_known_keys, pin_host_keys, read_pins
from stargaze.infra.machines import parse_machine_name
from stargaze.infra.plan.resources import Cloud
from stargaze.system.parallel import map_in_threads

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
"""cloud-init prints the public host keys between these lines."""
KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,3})")
POLL_INTERVAL = 2.0
"""Time between two reads of a console [s]."""


def render_cloud_init(public_key: str, machine: str) -> str:
    """Return the cloud-config of one machine: its host name, the ssh key of its user, and no password login.

    >>> print(render_cloud_init("ssh-ed25519 AAAA", "production1").splitlines()[0])
    #cloud-config
    """
    config = {
        "hostname": machine,
        "ssh_pwauth": False,
        "disable_root": True,
        "ssh_authorized_keys": [public_key],
        "ssh": {"emit_keys_to_console": True},
        "growpart": {"mode": "auto"},
    }
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"  # JSON is YAML


def parse_host_keys(console: str) -> tuple[str, ...]:
    r"""Return the public host keys of the last boot that printed them; empty if none has yet.

    >>> parse_host_keys(f"[ 9.1] cloud-init\n{BEGIN}\nssh-ed25519 AAAAC3Nz root@x\n{END}\n")
    ('ssh-ed25519 AAAAC3Nz',)
    """
    begin = console.rfind(BEGIN)
    end = console.find(END, begin)
    if begin < 0 or end < 0:
        return ()
    return tuple(dict.fromkeys(f"{kind} {key}" for kind, key in KEY.findall(console[begin:end])))


def learn_host_keys(section: InfraSection, server_ids: Mapping[str, str], cloud: Cloud, state_dir: StateDir) -> None:
    """Pin the host keys of new servers; the keys of a server that is already pinned are never read again."""
    pinned = {name: pin for name, pin in read_pins(state_dir).items() if server_ids.get(name) == pin["id"]}
    if section.host_keys == "first-use":
        pin_host_keys(state_dir, {name: (server_id, ()) for name, server_id in server_ids.items()}, keep=set(pinned))
        return
    new = [name for name in server_ids if name not in pinned]
    deadline = time.monotonic() + section.timeout
    read = map_in_threads(lambda name: _read_console(name, server_ids[name], cloud, deadline), new)
    keys = dict(zip(new, read, strict=True))
    keys |= {name: pin["keys"] for name, pin in pinned.items()}
    pin_host_keys(state_dir, {name: (server_id, keys[name]) for name, server_id in server_ids.items()})


def check_host_keys(section: InfraSection, state_dir: StateDir) -> None:
    """Raise an error if the host key of a static machine is unknown: its console cannot be read."""
    unknown = sorted(set(section.hosts) - machines_with_known_keys(state_dir))
    if section.provider == "static" and section.host_keys == "console" and unknown:
        raise UsageError(
            f"no ssh host key of {', '.join(unknown)} is known",
            hint='infra.host_keys = "first-use" trusts the key seen on the first connection; '
            f'or add a line "{unknown[0]} ssh-ed25519 AAAA…" to {state_dir.known_hosts}',
        )


def forget_host_key(state_dir: StateDir, machine: str) -> None:
    """Remove the pinned keys of one machine, so that they are read again; all others stay."""
    parse_machine_name(machine)
    pins = read_pins(state_dir)
    known = machines_with_known_keys(state_dir) | set(pins)
    if machine not in known:
        raise MissingInputError(
            f"no host key of {machine} is known", hint=f"known: {', '.join(sorted(known)) or 'none'}"
        )
    others = {name: (pin["id"], pin["keys"]) for name, pin in pins.items() if name != machine}
    pin_host_keys(state_dir, others, keep=known - {machine})


def _read_console(name: str, server_id: str, cloud: Cloud, deadline: float) -> tuple[str, ...]:
    while not (keys := parse_host_keys(cloud.console_output(server_id))):
        if time.monotonic() > deadline:
            raise ExternalError(
                f"{name}: no ssh host keys in its console output",
                hint='run stargaze infra up again to keep waiting; if the cloud shows no console: infra.host_keys = "first-use"',
            )
        time.sleep(POLL_INTERVAL)
    return keys

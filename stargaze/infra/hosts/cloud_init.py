"""cloud-init: the user data of a machine's first boot, and the ssh host keys that it prints to the console."""

from __future__ import annotations

import json
import re

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
"""cloud-init prints the public host keys between these lines."""
KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,3})")


def render_user_data(public_key: str, machine: str) -> str:
    """Return the cloud-config of one machine: its host name, the ssh key of its user, and no password login.

    >>> print(render_user_data("ssh-ed25519 AAAA", "production1").splitlines()[0])
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

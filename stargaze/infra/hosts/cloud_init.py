"""What a machine does at its first boot, and what it then tells: cloud-init's user data, and the ssh host keys on the console."""

from __future__ import annotations

import json
import re

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
"""Between these cloud-init writes the public host keys to the console."""
KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,3})")


def render_user_data(public_key: str, machine: str) -> str:
    """Return the cloud-config of one machine: its name, who may enter, and nothing by password.

    Examples
    --------
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
    r"""Find the public host keys of the last boot that told them; empty if none did yet.

    Examples
    --------
    >>> parse_host_keys(f"[ 9.1] cloud-init\n{BEGIN}\nssh-ed25519 AAAAC3Nz root@x\n{END}\n")
    ('ssh-ed25519 AAAAC3Nz',)
    """
    begin = console.rfind(BEGIN)
    end = console.find(END, begin)
    if begin < 0 or end < 0:
        return ()
    found = KEY.findall(console[begin:end])
    return tuple(dict.fromkeys(f"{kind} {key}" for kind, key in found))

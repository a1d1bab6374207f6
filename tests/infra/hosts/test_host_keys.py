"""The first boot: user data for cloud-init, and host keys from the console."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from stargaze.infra.hosts.host_keys import BEGIN, END, parse_host_keys, render_cloud_init

CLOUD_INIT = f"""[   12.1] cloud-init[512]: Cloud-init v. 22.4.2 running 'modules:final'
<14>Nov 25 09:00:01 cloud-init: #############################################################
<14>Nov 25 09:00:01 cloud-init: -----BEGIN SSH HOST KEY FINGERPRINTS-----
<14>Nov 25 09:00:01 cloud-init: 256 SHA256:abc root@production1 (ED25519)
<14>Nov 25 09:00:01 cloud-init: -----END SSH HOST KEY FINGERPRINTS-----
{BEGIN}
ecdsa-sha2-nistp256 AAAAE2VjZHNh root@production1
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 root@production1
{END}
[   12.4] cloud-init[512]: Cloud-init finished
"""


def test_the_keys_printed_by_cloud_init_are_found() -> None:
    assert parse_host_keys(CLOUD_INIT) == ("ecdsa-sha2-nistp256 AAAAE2VjZHNh", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5")


def test_the_keys_of_the_last_boot_count() -> None:
    assert parse_host_keys(CLOUD_INIT + f"{BEGIN}\nssh-ed25519 BBBB x\n{END}") == ("ssh-ed25519 BBBB",)


def test_an_incomplete_list_has_no_keys() -> None:
    assert parse_host_keys(CLOUD_INIT.partition(END)[0]) == ()


@given(st.text())
def test_any_console_output_yields_only_keys(console: str) -> None:
    assert all(key.split()[0].startswith(("ssh-", "ecdsa-")) for key in parse_host_keys(console))


def test_passwords_and_root_logins_are_disabled() -> None:
    head, _, body = render_cloud_init("ssh-ed25519 AAAA", "production1").partition("\n")
    config = json.loads(body)

    assert head == "#cloud-config"
    assert (config["ssh_pwauth"], config["disable_root"]) == (False, True)
    assert config["ssh_authorized_keys"] == ["ssh-ed25519 AAAA"]

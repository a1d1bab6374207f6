"""The first boot: what is asked of cloud-init, and what the console tells."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from stargaze.infra.hosts.cloud_init import BEGIN, END, parse_host_keys, render_user_data

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


def test_the_keys_that_cloud_init_writes_are_found() -> None:
    assert parse_host_keys(CLOUD_INIT) == ("ecdsa-sha2-nistp256 AAAAE2VjZHNh", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5")


def test_of_two_boots_the_last_is_believed() -> None:
    assert parse_host_keys(CLOUD_INIT + f"{BEGIN}\nssh-ed25519 BBBB x\n{END}") == ("ssh-ed25519 BBBB",)


def test_half_a_list_is_none() -> None:
    assert parse_host_keys(CLOUD_INIT.partition(END)[0]) == ()


@given(st.text())
def test_whatever_a_console_says_nothing_but_keys_comes_out(console: str) -> None:
    assert all(key.split()[0].startswith(("ssh-", "ecdsa-")) for key in parse_host_keys(console))


def test_nobody_enters_by_password_or_as_root() -> None:
    head, _, body = render_user_data("ssh-ed25519 AAAA", "production1").partition("\n")
    config = json.loads(body)

    assert head == "#cloud-config"
    assert (config["ssh_pwauth"], config["disable_root"]) == (False, True)
    assert config["ssh_authorized_keys"] == ["ssh-ed25519 AAAA"]

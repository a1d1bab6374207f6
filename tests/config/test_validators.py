"""Names, addresses and ports of the config: one normal form each, and what has none is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stargaze.config import InfraSection, parse_section
from stargaze.errors import ConfigError


def infra(**values: Any) -> InfraSection:
    section: InfraSection = parse_section("infra", values, source="stargaze.toml")
    return section


def refused(**values: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        infra(**values)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", ["my lab", "../../evil", "lab,1", "lab/x", "..", "-lab", "a" * 41, "lab\n", "läb"])
def test_a_name_that_is_no_folder_and_no_tag_is_refused(name: str) -> None:
    assert refused(name=name).message.startswith("stargaze.toml: infra.name should be at most 40 of letters")


@pytest.mark.parametrize("name", ["stargaze", "lab-1", "Lab_2.x", "7", "a" * 40])
def test_a_plain_name_is_kept(name: str) -> None:
    assert infra(name=name).name == name


def test_ranges_stand_as_neutron_keeps_them() -> None:
    given = ["192.0.2.7", "192.0.2.7/32", "2001:DB8::/32", "2001:DB8::1", "198.51.100.0/255.255.255.0"]

    assert infra(ssh_from=given).ssh_from == ["192.0.2.7/32", "2001:db8::/32", "2001:db8::1/128", "198.51.100.0/24"]


@pytest.mark.parametrize("text", ["nonsense", "", " 192.0.2.7", "192.0.2.0/33", "fe80::1%eth0", "host.example"])
def test_what_is_no_range_is_refused(text: str) -> None:
    assert f"ranges of addresses, as 192.0.2.0/24: {text!r} is none" in refused(ssh_from=[text]).message


def test_an_address_inside_a_range_is_refused_with_the_range() -> None:
    assert "192.0.2.7/24 is one of 192.0.2.0/24" in refused(ssh_from=["192.0.2.7/24"]).message


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/29", "10.0.0.0/32", "fd00::/64"])
def test_a_network_that_cannot_hold_the_cluster_is_refused(text: str) -> None:
    assert "infra.cidr should be an IPv4 network of /28 or larger" in refused(cidr=text).message


def test_a_network_is_brought_into_its_normal_form() -> None:
    assert infra(cidr="10.0.0.0/28").cidr == "10.0.0.0/28"
    assert infra(cidr="10.0.0.0/255.255.0.0").cidr == "10.0.0.0/16"
    assert "10.0.0.1/24 is one of 10.0.0.0/24" in refused(cidr="10.0.0.1/24").message


def test_nameservers_are_addresses() -> None:
    assert infra(nameservers=["2001:DB8::53", "192.0.2.53", "192.0.2.53"]).nameservers == ["2001:db8::53", "192.0.2.53"]
    assert "'dns.example' is none" in refused(nameservers=["dns.example"]).message


@pytest.mark.parametrize("port", [22, 2377, 7946, 4789, 6379, 8265, 10001])
def test_the_page_takes_no_port_of_the_cluster(port: int) -> None:
    assert "infra.page_port should be a port that the cluster does not use" in refused(page_port=port).message


def test_the_environment_is_brought_into_its_form_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stargaze.config import load

    monkeypatch.chdir(tmp_path)

    assert load(environ={"STARGAZE_INFRA_SSH_FROM": "192.0.2.7"}).infra.ssh_from == ["192.0.2.7/32"]

"""Names, addresses and ports of the config have one normal form; invalid ones are one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stargaze.config import InfraSection, parse_section
from stargaze.config.keys import host_names
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
def test_an_invalid_cluster_name_is_rejected(name: str) -> None:
    assert refused(name=name).message.startswith("stargaze.toml: infra.name should be at most 40 letters")


@pytest.mark.parametrize("name", ["stargaze", "lab-1", "Lab_2.x", "7", "a" * 40])
def test_a_valid_cluster_name_is_unchanged(name: str) -> None:
    assert infra(name=name).name == name


def test_ranges_have_the_normal_form_of_neutron() -> None:
    ranges = ["192.0.2.7", "192.0.2.7/32", "2001:DB8::/32", "2001:DB8::1", "198.51.100.0/255.255.255.0"]

    assert infra(ssh_from=ranges).ssh_from == ["192.0.2.7/32", "2001:db8::/32", "2001:db8::1/128", "198.51.100.0/24"]


@pytest.mark.parametrize("text", ["nonsense", "", " 192.0.2.7", "192.0.2.0/33", "fe80::1%eth0", "host.example"])
def test_an_invalid_range_is_rejected(text: str) -> None:
    assert f"address ranges, as 192.0.2.0/24: {text!r} is not one" in refused(ssh_from=[text]).message


def test_an_address_inside_a_range_is_rejected() -> None:
    assert "192.0.2.7/24 is in 192.0.2.0/24" in refused(ssh_from=["192.0.2.7/24"]).message


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/29", "10.0.0.0/32", "fd00::/64"])
def test_a_network_that_is_too_small_is_rejected(text: str) -> None:
    assert "infra.cidr should be an IPv4 network of /28 or larger" in refused(cidr=text).message


def test_a_network_is_normalized() -> None:
    assert infra(cidr="10.0.0.0/28").cidr == "10.0.0.0/28"
    assert infra(cidr="10.0.0.0/255.255.0.0").cidr == "10.0.0.0/16"
    assert "10.0.0.1/24 is in 10.0.0.0/24" in refused(cidr="10.0.0.1/24").message


def test_nameservers_are_addresses() -> None:
    assert infra(nameservers=["2001:DB8::53", "192.0.2.53", "192.0.2.53"]).nameservers == ["2001:db8::53", "192.0.2.53"]
    assert "'dns.example' is not one" in refused(nameservers=["dns.example"]).message


@pytest.mark.parametrize("port", [22, 2377, 7946, 4789, 6379, 8265, 10001])
def test_a_port_of_the_cluster_is_rejected_for_the_page(port: int) -> None:
    assert "infra.page_port should be a port that the cluster does not use" in refused(page_port=port).message


def test_environment_variables_are_normalized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stargaze.config import load

    monkeypatch.chdir(tmp_path)

    assert load(environ={"STARGAZE_INFRA_SSH_FROM": "192.0.2.7"}).infra.ssh_from == ["192.0.2.7/32"]


@pytest.mark.parametrize("text", ["", " ", ".", "*.pots.example", "https://pots.example", "pots example"])
def test_a_text_that_no_host_header_equals_is_not_a_host_name(text: str) -> None:
    with pytest.raises(ValueError, match="should contain host names"):
        host_names([text])

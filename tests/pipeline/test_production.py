"""The production target: who is trusted as the page's name, and which addresses are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze import config
from stargaze.config import Config
from stargaze.pipeline.production import production_target
from stargaze.serve.runtime.settings import read_environment, trusted_hosts
from stargaze.serve.stack.compose import app_environment
from stargaze.serve.stack.service_options import Node, SecretVersions, StackSpec
from stargaze.serve.swarm.production import ProductionTarget
from stargaze.store import Store

NODES = {"production1": "debian@10.20.0.21"}
PROXY = {"orchestration": "debian@203.0.113.9,10.20.0.10"}
"""With a floating IP."""


def target_of(folder: Path, hosts: dict[str, str], **keys: str) -> ProductionTarget:
    """Return the target of a config."""
    lines = [f"{name} = {value!r}" for name, value in keys.items()]
    machines = [f"{name} = {value!r}" for name, value in hosts.items()]
    text = "\n".join(['[infra]\nprovider = "static"', *lines, "[infra.hosts]", *machines, ""])
    file = folder / "stargaze.toml"
    file.write_text(text.replace("'", '"'))
    loaded: Config = config.load(file, environ={})
    return production_target(loaded, Store(folder / "store"))


def page_settings(target: ProductionTarget) -> tuple[list[str], int]:
    """Return the trusted names and the number of trusted proxies of a deployed page."""
    spec = StackSpec(
        config.Config().deploy,
        target.serve,
        target.sources,
        "image",
        target.port,
        SecretVersions(1, 1),
        (Node("production1", ("10.20.0.21",)),),
        page_hosts=target.page_hosts,
        has_proxy=target.has_proxy,
    )
    section, _ = read_environment(app_environment(spec))
    return trusted_hosts(section), section.trusted_proxies


def test_the_page_trusts_the_addresses_of_the_proxy_and_its_header_about_visitors(tmp_path: Path) -> None:
    target = target_of(tmp_path, PROXY | NODES)
    hosts, proxies = page_settings(target)

    assert [page.url for page in target.pages] == ["http://203.0.113.9"]
    assert {"203.0.113.9", "10.20.0.10", "10.20.0.21", "production1", "localhost"} <= set(hosts)
    assert proxies == 1


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({"page_domain": "stars.example.org"}, "http://stars.example.org"),
        ({"page_domain": "stars.example.org", "tls": "acme"}, "https://stars.example.org"),
    ],
)
def test_the_page_trusts_its_domain_and_is_printed_with_it(tmp_path: Path, keys: dict[str, str], url: str) -> None:
    target = target_of(tmp_path, PROXY | NODES, **keys)

    assert [page.url for page in target.pages] == [url]
    assert "stars.example.org" in page_settings(target)[0]


def test_without_an_orchestration_machine_visitors_reach_the_nodes_and_no_header_is_trusted(tmp_path: Path) -> None:
    target = target_of(tmp_path, NODES)

    assert [page.url for page in target.pages] == ["http://10.20.0.21"]
    assert page_settings(target)[1] == 0

"""The production target of the config: the machines of ``infra``, the image and the settings of ``serve``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from stargaze.infra.ansible.page_tls import check_page_tls
from stargaze.infra.hosts.host_list import find_ssh_hosts, read_ssh_hosts
from stargaze.infra.hosts.state_dir import open_state_dir
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.swarm.production import ProductionTarget
from stargaze.serve.swarm.public_page import DEFAULT_PORTS, PublicPage
from stargaze.system.docker import DockerEngine, ImageRecipe
from stargaze.system.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stargaze.config import Config, InfraSection
    from stargaze.store import Store
    from stargaze.system.ssh import SshHost


def lock_production(store: Store) -> AbstractContextManager[None]:
    """Let no other command of this store change production while the block runs, else BusyError."""
    busy = f"{store.root}: another command is changing production"
    return file_lock(store.root / "production.lock", busy=busy, hint="wait for it, or stargaze status")


def production_target(config: Config, store: Store) -> ProductionTarget:
    """Return the machines of production, the addresses of its page, and how its image is built."""
    infra, state_dir = config.infra, open_state_dir(config.infra, store)
    builds_remotely = config.deploy.build_on == "development"
    builder = find_ssh_hosts(infra, state_dir, "development")[0] if builds_remotely else None
    hosts = find_ssh_hosts(infra, state_dir, "production")
    proxies = [host for host in read_ssh_hosts(infra, state_dir) if host.role == "orchestration"]
    names = [infra.page_domain, *(address for host in proxies for address in (host.address, host.private_ip))]
    return ProductionTarget(
        hosts=hosts,
        engine=DockerEngine(builder, alternative='deploy.build_on = "development" builds on the cluster'),
        recipe=ImageRecipe(config.screening.base_image, tuple(config.screening.build_options)),
        serve=config.serve,
        sources=Sources(config.github.api_url),
        port=infra.page_port,
        pages=public_pages(infra, proxies or hosts, has_proxy=bool(proxies)),
        page_hosts=tuple(dict.fromkeys(filter(None, names))),
        has_proxy=bool(proxies),
    )


def public_pages(section: InfraSection, gateways: Sequence[SshHost], *, has_proxy: bool) -> tuple[PublicPage, ...]:
    """Return the addresses of the page: that of the orchestration machine, else those of the production machines."""
    if has_proxy and section.tls != "off":
        ca_file = check_page_tls(section).ca
        return (PublicPage(_url("https", section.page_domain, section.tls_port), gateways[0], ca_file),)
    names = [section.page_domain] if has_proxy and section.page_domain else [host.address for host in gateways]
    return tuple(
        PublicPage(_url("http", name, section.page_port), host) for name, host in zip(names, gateways, strict=True)
    )


def _url(scheme: str, name: str, port: int) -> str:
    """Return a URL without its default port.

    >>> _url("https", "stars.example.org", 443), _url("http", "2001:db8::1", 8000)
    ('https://stars.example.org', 'http://[2001:db8::1]:8000')
    """
    host = f"[{name}]" if ":" in name else name
    return f"{scheme}://{host}" if port == DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"

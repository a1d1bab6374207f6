"""The network of the hosts: a switch without a way out, this machine on one of its ports, and a namespace for every host."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Network:
    """Names of namespaces and links begin with ``prefix``: up to 9 characters, and not the beginning of another lab's."""

    prefix: str

    @property
    def switch(self) -> str:
        """The namespace that holds the switch."""
        return f"{self.prefix}-switch"

    @property
    def link(self) -> str:
        """The port of this machine."""
        return f"{self.prefix}-me"

    def namespace(self, name: str) -> str:
        """Return the namespace of a host."""
        return f"{self.prefix}-{name}"

    def create(self, own: Iterable[str]) -> None:
        """Create the switch, with this machine on it under these addresses (with their prefix lengths)."""
        if self.switch not in namespaces():
            _ip("netns", "add", self.switch)
            _ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
            _ip("-n", self.switch, "link", "set", "switch", "up")
        if Path("/sys/class/net", self.link).exists():
            return
        _ip("link", "add", self.link, "type", "veth", "peer", "name", "machine", "netns", self.switch)
        _ip("-n", self.switch, "link", "set", "machine", "master", "switch", "up")
        for address in own:
            _ip("address", "add", address, "dev", self.link)
        _ip("link", "set", self.link, "up")

    def add_host(self, name: str, addresses: Sequence[str]) -> None:
        """Create the namespace of a host with these addresses on one link, and no default route."""
        namespace = self.namespace(name)
        if namespace in namespaces():
            return
        _ip("netns", "add", namespace)
        _ip(
            "-n",
            self.switch,
            "link",
            "add",
            f"to-{name}"[:15],
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            namespace,
        )
        _ip("-n", self.switch, "link", "set", f"to-{name}"[:15], "master", "switch", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        # Always the same, so that the ARP caches of other hosts stay valid when a host is rebuilt.
        _ip("-n", namespace, "link", "set", "eth0", "address", _hardware_address(namespace), "up")
        for address in addresses:
            self.add_address(name, address)

    def add_address(self, name: str, address: str) -> None:
        """Add an address to a host, as a cloud does with a floating IP."""
        _ip("-n", self.namespace(name), "address", "replace", address, "dev", "eth0")

    def remove_address(self, name: str, address: str) -> None:
        """Remove an address from a host."""
        _ip("-n", self.namespace(name), "address", "del", address, "dev", "eth0")

    def remove_host(self, name: str) -> None:
        """Remove the namespace of a host and with it its links."""
        if self.namespace(name) in namespaces():
            # The kernel deletes a namespace later, but a link at once, and with it its other end.
            with contextlib.suppress(OSError):
                _ip("-n", self.switch, "link", "del", f"to-{name}"[:15])
            _ip("netns", "del", self.namespace(name))

    def remove(self) -> None:
        """Remove the switch and every namespace of this prefix."""
        with contextlib.suppress(OSError):
            _ip("link", "del", self.link)
        for namespace in namespaces():
            if namespace.startswith(f"{self.prefix}-"):
                _ip("netns", "del", namespace)


def namespaces() -> list[str]:
    """Return the names of all network namespaces of this machine."""
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line.strip()]


def _hardware_address(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ":".join(["02", *(digest[at : at + 2] for at in range(0, 10, 2))])


def _ip(*argv: str) -> str:
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout

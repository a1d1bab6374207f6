"""Nova's fake hypervisor; tests control and watch it through files in one folder.

``orders/PROJECT.json``  a list of behaviors for servers whose names match, see ``Hypervisor.set_behavior``
``consoles/SERVER.log``  console output of a server
``events/*.json``        events of servers, see ``events.py``
"""

from __future__ import annotations

import base64
import fnmatch
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from events import Events
from nova import exception
from nova.virt import fake

PAUSE = 0.05
"""Time between two checks whether a held server may start [s]."""


class LabDriver(fake.FakeDriver):
    """One compute host."""

    def __init__(self, virtapi: Any) -> None:
        super().__init__(virtapi)
        self._folder = Path(os.environ["LAB_HYPERVISOR"])
        self._events = Events(self._folder / "events")

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """Return the resources of the host."""
        return {**super().get_available_resource(nodename), "uuid": _identity(nodename)}

    def get_nodenames_by_uuid(self, refresh: bool = False) -> dict[str, str]:  # noqa: FBT002 - Nova's contract
        """Return the same ids after each start, unlike the fake driver."""
        return {_identity(name): name for name in self.get_available_nodes()}

    def spawn(self, context: Any, instance: Any, *args: Any, **more: Any) -> None:
        """Start the server, later or not at all if the tests have set this."""
        for order in self._orders(instance):
            time.sleep(order.get("delay", 0.0))
            while order.get("hold") and order in self._orders(instance):
                time.sleep(PAUSE)
            if "fail" in order:
                # the only error after which Nova does not try the next host
                raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=order["fail"])
        super().spawn(context, instance, *args, **more)
        self._write_event("spawn", instance, more.get("network_info"))

    def destroy(self, context: Any, instance: Any, network_info: Any, *args: Any, **more: Any) -> None:
        """Delete the server."""
        super().destroy(context, instance, network_info, *args, **more)
        self._write_event("destroy", instance, network_info)

    def reboot(self, context: Any, instance: Any, network_info: Any, *args: Any, **more: Any) -> None:
        """Restart the server."""
        super().reboot(context, instance, network_info, *args, **more)
        self._write_event("reboot", instance, network_info)

    def power_off(self, instance: Any, *args: Any, **more: Any) -> None:
        """Switch the server off."""
        super().power_off(instance, *args, **more)
        self._write_event("power_off", instance, None)

    def power_on(self, context: Any, instance: Any, network_info: Any, *args: Any, **more: Any) -> None:
        """Switch the server on."""
        super().power_on(context, instance, network_info, *args, **more)
        self._write_event("power_on", instance, network_info)

    def get_console_output(self, context: Any, instance: Any) -> str:
        """Return the output that the tests set for this server, or for its name."""
        written = self._folder / "consoles" / f"{instance.uuid}.log"
        if written.exists():
            return written.read_text(encoding="utf-8")
        consoles = [order["console"] for order in self._orders(instance) if "console" in order]
        return consoles[-1] if consoles else ""

    def _orders(self, instance: Any) -> Iterator[dict[str, Any]]:
        orders = self._folder / "orders" / f"{instance.project_id}.json"
        if orders.exists():
            for order in json.loads(orders.read_text(encoding="utf-8")):
                if fnmatch.fnmatch(instance.display_name, order["name"]):
                    yield order

    def _write_event(self, event: str, instance: Any, network_info: Any) -> None:
        facts = {
            "id": instance.uuid,
            "name": instance.display_name,
            "project_id": instance.project_id,
            "host": self._host,
            "hostname": instance.hostname,
            "flavor": instance.flavor.name,
            "image": instance.image_ref,
            "key_name": instance.key_name,
            "public_key": instance.key_data,
            "metadata": dict(instance.metadata),
            "user_data": base64.b64decode(instance.user_data).decode(errors="replace") if instance.user_data else None,
            "config_drive": bool(instance.config_drive),
            "ports": [_port(vif) for vif in network_info or instance.get_network_info()],
        }
        self._events.write(event, facts)


def _identity(host: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, host))


def _port(vif: Any) -> dict[str, Any]:
    return {
        "id": vif["id"],
        "network": vif["network"]["id"],
        "mac": vif["address"],
        "addresses": [address["address"] for address in vif.fixed_ips()],
        "subnets": [subnet["cidr"] for subnet in vif["network"]["subnets"]],
    }

"""Neutron without agents: ports are bound and floating IPs active at once; changes of floating IPs are events."""

from __future__ import annotations

from typing import Any

from events import Events
from neutron.services.l3_router import l3_router_plugin
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class Ports(api.MechanismDriver):
    """Binds each port on each host. Neutron's own drivers need an agent or reject what Nova asks."""

    def initialize(self) -> None:
        """Do nothing; the interface requires this method."""

    def bind_port(self, context: Any) -> None:
        """Bind the first segment and set the port active."""
        segment = context.segments_to_bind[0][api.ID]
        details = {portbindings.CAP_PORT_FILTER: True}
        context.set_binding(segment, portbindings.VIF_TYPE_OVS, details, status=constants.PORT_STATUS_ACTIVE)


class Routers(l3_router_plugin.L3RouterPlugin):
    """Neutron's own routers, whose floating IPs do not wait for an agent."""

    def __init__(self) -> None:
        super().__init__()
        self._events = Events.from_environment()

    def create_floatingip(self, context: Any, floatingip: Any) -> Any:
        """Create it active, as an agent would set it a moment later."""
        created = super(l3_router_plugin.L3RouterPlugin, self).create_floatingip(
            context, floatingip, initial_status=constants.FLOATINGIP_STATUS_ACTIVE
        )
        self._write_event("floating", created)
        return created

    def update_floatingip(self, context: Any, id: str, floatingip: Any) -> Any:  # noqa: A002 - Neutron's own name
        """Bind it to a port, or to none."""
        created = super().update_floatingip(context, id, floatingip)
        self._write_event("floating", created)
        return created

    def delete_floatingip(self, context: Any, id: str) -> None:  # noqa: A002 - Neutron's own name
        """Release the address."""
        gone = self.get_floatingip(context, id)
        super().delete_floatingip(context, id)
        self._write_event("floating", {**gone, "fixed_ip_address": None, "port_id": None})

    def disassociate_floatingips(self, context: Any, port_id: str) -> Any:
        """Remove the addresses from a port that is deleted."""
        bound = self.get_floatingips(context.elevated(), filters={"port_id": [port_id]})
        routers = super().disassociate_floatingips(context, port_id)
        for floating_ip in bound:
            self._write_event("floating", {**floating_ip, "fixed_ip_address": None, "port_id": None})
        return routers

    def _write_event(self, event: str, floating_ip: Any) -> None:
        names = ("id", "project_id", "floating_ip_address", "fixed_ip_address", "port_id")
        self._events.write(event, {name: floating_ip.get(name) for name in names})

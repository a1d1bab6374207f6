"""Nova's API, conductor, scheduler and some compute hosts in one process: ``nova_services.py CONF PASTE PORT HOSTS PLACEMENT``.

In one process, oslo.messaging's in-process driver transports the calls, so no broker is needed. The steps are those of Nova's
own programs (``nova/cmd``, ``nova/wsgi``), one after the other.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from pathlib import Path

from nova import monkey_patch

monkey_patch.patch(backend="threading")

import nova.conf  # noqa: E402 - Nova requires its patch first
import nova.virt  # noqa: E402
import os_brick  # noqa: E402
import os_vif  # noqa: E402
import sqlite_rules  # noqa: E402, F401
import waitress  # noqa: E402
from nova import config, context, objects, service  # noqa: E402
from nova.compute import rpcapi as compute  # noqa: E402
from nova.conductor import rpcapi as conductor  # noqa: E402
from nova.objects import host_mapping  # noqa: E402
from nova.scheduler import rpcapi as scheduler  # noqa: E402
from oslo_log import log  # noqa: E402
from oslo_service import opts  # noqa: E402
from paste import deploy  # noqa: E402

THREADS = 16
PAUSE = 0.1


def main(conf: str, paste: str, port: int, hosts: int, placement: int) -> None:
    """Start them in the order of their dependencies, once Placement listens."""
    sys.argv = ["nova"]
    config.parse_args(["nova", "--config-file", conf])
    log.setup(nova.conf.CONF, "nova")
    opts.register_service_opts(nova.conf.CONF)
    objects.register_all()
    os_brick.setup(nova.conf.CONF)
    os_vif.initialize()
    objects.Service.enable_min_version_cache()
    nova.virt.__path__.append(str(Path(__file__).parent))  # Nova finds drivers only there
    while not _listens(placement):  # a host reports its resources at its start, and then each minute
        time.sleep(PAUSE)
    running = [_start("nova-conductor", conductor.RPC_TOPIC), _start("nova-scheduler", scheduler.RPC_TOPIC)]
    for number in range(1, hosts + 1):
        host = f"compute{number}"
        running.append(_start("nova-compute", compute.RPC_TOPIC, host=host, topic_alt=compute.RPC_TOPIC_ALT))
    host_mapping.discover_hosts(context.get_admin_context())
    application = deploy.loadapp(f"config:{paste}", name="osapi_compute")
    waitress.serve(application, host="127.0.0.1", port=port, threads=THREADS, ident=None)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _start(binary: str, topic: str, **more: str) -> service.Service:
    nova.conf.CONF.set_override("host", more.get("host", "compute1"))  # some parts of Nova read it
    started = service.Service.create(binary=binary, topic=topic, **more)
    started.start()
    return started


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
    except BaseException:  # noqa: BLE001 - threads of started services would keep the process running
        traceback.print_exc()
        os._exit(1)

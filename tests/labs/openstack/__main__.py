"""``python -m tests.labs.openstack install | up | status | down``: the command line of the lab."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

from stargaze.system.signals import exit_on_signals
from tests.labs.openstack.lab import PROJECT, Lab

PAUSE = 0.1


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m tests.labs.openstack", description=__doc__)
    parser.add_argument("what", choices=["install", "up", "status", "down", "serve"])
    parser.add_argument("--hours", type=float, default=3.0, help="stop after this time (default: 3)")
    options = parser.parse_args()
    began = time.monotonic()
    lab = Lab(log=lambda line: print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True))
    commands = {"install": _install, "up": _up, "status": _status, "down": _down, "serve": _serve}
    return commands[options.what](lab, options.hours)


def _install(lab: Lab, _hours: float) -> int:
    lab.install()
    lab.log(f"installed in {lab.folder}")
    return 0


def _up(lab: Lab, hours: float) -> int:
    """Start a background process that runs the services, and wait until they respond."""
    if lab.programs():
        print(f"already running: {lab.clouds}")
        return 0
    command = [sys.executable, "-m", "tests.labs.openstack", "serve", "--hours", str(hours)]
    server = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, start_new_session=True)
    while not lab.programs():
        if server.poll() is not None:
            return server.returncode
        time.sleep(PAUSE)
    print(f"up for {hours:g} hours: export OS_CLIENT_CONFIG_FILE={lab.clouds} OS_CLOUD=lab")
    return 0


def _serve(lab: Lab, hours: float) -> int:
    """Run the services until a signal, until the time is over, or until one of them ends."""
    with exit_on_signals():
        lab.up()
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # the terminal, or a pipe whose reader waits for its end
            os.dup2(null, stream)
        limit = time.monotonic() + hours * 3600
        number = len(lab.programs())
        while time.monotonic() < limit and len(lab.programs()) == number:
            time.sleep(1)
        lab.down()
    return 0


def _status(lab: Lab, _hours: float) -> int:
    programs = lab.programs()
    for program in programs:
        print(
            f"{program.name:10} pid {program.pid:<8} port {lab.facts()['ports'][program.name]:<6} {program.memory} MiB"
        )
    print(f"up: {lab.clouds}" if programs else "down")
    return 0 if programs else 1


def _down(lab: Lab, _hours: float) -> int:
    lab.down()
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())

"""Run the simulated GitHub: ``python -m tests.simulated`` prints a command to run in another terminal."""

from __future__ import annotations

import argparse
import contextlib

from tests.simulated.limits import RunningClock
from tests.simulated.server import Server
from tests.simulated.world import COMMON_FAULTS, Faults, World

parser = argparse.ArgumentParser()
parser.add_argument("--repositories", type=int, default=20_000)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--faults", action="store_true")
options = parser.parse_args()

faults = COMMON_FAULTS if options.faults else Faults()
with Server(World(options.repositories, faults=faults, clock=RunningClock()), options.port) as server:
    print(
        f"STARGAZE_GITHUB_API_URL={server.url} GITHUB_TOKEN=good stargaze fetch --stars '>=130' --limit 2000",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()

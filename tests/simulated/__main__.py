"""Try the collector by hand: ``python -m tests.simulated``, then in another terminal what it prints."""

from __future__ import annotations

import argparse
import contextlib

from tests.simulated.limits import RunningClock
from tests.simulated.server import Server
from tests.simulated.world import MISHAPS, Faults, World

parser = argparse.ArgumentParser()
parser.add_argument("--repositories", type=int, default=20_000)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--mishaps", action="store_true")
options = parser.parse_args()

faults = MISHAPS if options.mishaps else Faults()
with Server(World(options.repositories, faults=faults, clock=RunningClock()), options.port) as server:
    print(
        f"STARGAZE_GITHUB_API_URL={server.url} GITHUB_TOKEN=good stargaze fetch --stars '>=130' --limit 2000",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()

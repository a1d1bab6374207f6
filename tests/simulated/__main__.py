"""Run the simulated GitHub: ``python -m tests.simulated`` prints commands to run in another terminal, and some names.

Token ``good`` reads public repositories, ``owner`` private ones too; without a token there are 60 requests per hour.
"""

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
tokens = {"good": "good", "owner": "owner"}
world = World(options.repositories, faults=faults, tokens=tokens, clock=RunningClock())
public, renamed, private = (min(row, options.repositories - 1) for row in (20, 21, 22))
former_name = world.population.name(renamed)
world.population.rename(renamed)
world.population.private[private] = True
with Server(world, options.port) as server:
    print(
        f"STARGAZE_GITHUB_API_URL={server.url} GITHUB_TOKEN=good stargaze fetch --stars '>=130' --limit 2000",
        f"STARGAZE_GITHUB_API_URL={server.url} stargaze serve",
        f"public {world.population.name(public)}, renamed {former_name}, private {world.population.name(private)}",
        sep="\n",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()

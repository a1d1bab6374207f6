"""Results of the commands that tests run as a user does."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document that it printed."""
        return json.loads(self.out)


KILL_ROUNDS = int(os.environ.get("STARGAZE_KILL_ROUNDS", "3"))
"""How often a test kills a command: 3 times in its suite, 20 times in `make kills`."""


def kill_moments(last: float, seed: int) -> list[float]:
    """Return a random moment up to `last` for each round: the range is divided into equal parts, one per round."""
    width, chance = last / KILL_ROUNDS, random.Random(seed)
    return [width * (part + chance.random()) for part in range(KILL_ROUNDS)]

"""A plan as rows for people, and the board on which its steps are followed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from stargaze.infra.plan.plan import Plan
from stargaze.infra.provision import ProgressCallbacks
from stargaze.live_table import board


def rows_of(todo: Plan) -> list[dict[str, Any]]:
    """Return the steps that do something, and those that keep something which is not as the config says."""
    return [
        {"do": step.verb, "what": step.kind, "name": step.name, "why": step.why}
        for step in todo.steps
        if step.verb != "keep" or step.why
    ]


@contextlib.contextmanager
def telling(title: str) -> Iterator[ProgressCallbacks]:
    """Show each resource and each machine while a plan is carried out."""
    with board(title) as shown:
        yield ProgressCallbacks(
            lambda step, state, words: shown.say(f"{step.verb} {step.key}", state, words),
            lambda line: shown.say(line, "done"),
        )

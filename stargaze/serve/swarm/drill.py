"""Hardships that production is put through on purpose, under load, and whether its promises held.

Each is a blow that a cluster will meet one day: a process that is killed, a queue that goes away, a machine whose engine stops,
a deploy that ends in its middle. Visitors ask all the while; afterwards every service must be well again by itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError, StargazeError, UsageError, did_you_mean
from stargaze.serve.release.publish import list_releases, verified_bundle_folder
from stargaze.serve.stack.service_options import NAME
from stargaze.serve.swarm.docker import NodeInfo, Swarm
from stargaze.serve.swarm.production import ProductionTarget, image_in_use
from stargaze.serve.swarm.wait import await_serving, await_well
from stargaze.store import Store
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

BEFORE = 3.0
"""Visitors ask for so long before the blow [s]."""
AWAY = 20.0
"""How long a machine's engine is away [s]."""
NOTICE = 5.0
"""After a blow, before services are asked whether they are well: a Swarm takes as long to see it [s]."""
MID_WAY = 6.0
"""After so long a deploy that changes pages and workers is in its middle [s]."""
LESS = 0.98
"""The part of their memory that such a deploy leaves them: too little less to be missed, and yet other services."""
QUIET_LIMIT = 180.0
"""Within which visitors have all their answers, once they ask no more [s]."""
BROKEN = ("lost", "unanswered", "failed")
"""What may become of no question, whatever is struck."""
ROOM = 0.8
"""The part of what the page lets one address ask that visitors take: a question that is led to another page counts twice [1]."""
_KILL = f"""
for id in $(docker ps --quiet --filter "name={NAME}_$1" | head -n 1); do
  docker kill --signal KILL "$id"
done
"""


@dataclass(frozen=True)
class DrillContext:
    """Where the drill takes place."""

    section: DeploySection
    store: Store
    site: ProductionTarget
    machines: Sequence[NodeInfo]
    swarm: Swarm
    command: Sequence[str]
    """``stargaze deploy`` as it is typed for this cluster."""


@dataclass(frozen=True)
class Fault:
    """One blow, the promise that it tries, and whether visitors may be sent away with a 503 meanwhile."""

    name: str
    promise: str
    strike: Callable[[DrillContext], None]
    refuses: bool = False


@dataclass(frozen=True)
class DrillResult:
    """What became of one hardship."""

    hardship: str
    promise: str
    held: bool
    counts: Mapping[str, Any]
    healed: float
    """From the blow until all services were well [s]; NaN if they were not."""
    why: str = ""

    def as_row(self) -> dict[str, Any]:
        """Return it as a row for people."""
        names = ("asked", "answered", "unanswered", "refused", "failed", "lost", "slowest")
        return {
            "hardship": self.hardship,
            "promise": self.promise,
            "state": "held" if self.held else "BROKEN",
            **{name: self.counts.get(name, "") for name in names},
            "healed": self.healed,
            "why": self.why,
        }


def drill(
    ground: DrillContext, hosts: Sequence[str], chosen: Sequence[Fault], rate: float, say: Notify
) -> list[DrillResult]:
    """Put production through the hardships, one after the other; return a sheet each.

    Parameters
    ----------
    hosts : sequence of str
        Addresses of the page, each as ``host:port``.
    rate : float
        Questions that visitors ask [1/s].

    Raises
    ------
    StargazeError
        If production is not well before: then nothing is done.
    """
    await_well(ground.section, ground.swarm, None, say)
    sheets = []
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names"
        names.write_text("\n".join(_names(ground.store)), encoding="utf-8")
        for hardship in chosen:
            say(f"{hardship.name}: {hardship.promise}")
            sheets.append(_undergone(hardship, ground, hosts, names, rate, say))
    return sheets


def named(names: str) -> list[Fault]:
    """Return the hardships of these names, divided by commas; all where none is named.

    Raises
    ------
    UsageError
        If one has no such name.
    """
    asked = [name.strip() for name in names.split(",") if name.strip()]
    for name in asked:
        if name not in HARDSHIPS:
            raise UsageError(f"{name}: no such hardship", hint=did_you_mean(name, HARDSHIPS, ", ".join(HARDSHIPS)))
    return [HARDSHIPS[name] for name in asked or HARDSHIPS]


def max_rate(rate: float, per_minute: int) -> float:
    """Return how many questions visitors may ask who all have one address [1/s]: no more than the page would answer.

    ``per_minute`` is that of the config's section ``serve``, where 0 sets no limit.

    >>> max_rate(50.0, 0), max_rate(50.0, 120), max_rate(1.0, 120)
    (50.0, 1.6, 1.0)
    """
    return min(rate, ROOM * per_minute / 60) if per_minute else rate


def _undergone(
    hardship: Fault, ground: DrillContext, hosts: Sequence[str], names: Path, rate: float, say: Notify
) -> DrillResult:
    words = [sys.executable, "-P", "-m", "stargaze.serve.swarm.load_generator", f"{rate:g}", str(names), *hosts]
    why = ""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as visitors:
        try:
            time.sleep(BEFORE)
            struck = time.monotonic()
            try:
                hardship.strike(ground)
                time.sleep(NOTICE)
                await_well(ground.section, ground.swarm, None, say)
                await_serving(
                    ground.section,
                    ground.site.production,
                    image_in_use(ground.swarm.state().services),
                    ground.site.port,
                    _released(ground.store),
                )
            except StargazeError as error:
                why = error.message
            healed = time.monotonic() - struck
            said, _ = visitors.communicate(timeout=QUIET_LIMIT)
        except subprocess.TimeoutExpired:  # the sheets of other hardships are worth having
            late = [f"visitors had not all their answers after {QUIET_LIMIT:g} s"]
            said_why = "; ".join([why, *late] if why else late)
            return DrillResult(hardship.name, hardship.promise, False, {}, round(healed, 1), said_why)
        finally:
            visitors.kill()
    return judged(hardship, json.loads(said), round(healed, 1), why)


def judged(hardship: Fault, counts: Mapping[str, Any], healed: float, why: str) -> DrillResult:
    """Notify whether a promise held: all that was accepted was answered, nobody met an error, and all is well again."""
    bad = {name: counts[name] for name in (*BROKEN, *(() if hardship.refuses else ("refused",)))}
    met = [f"{number} {name}" for name, number in bad.items() if number]
    said = "; ".join([*([why] if why else []), *([", ".join(met)] if met else []), *(counts["said"] if met else [])])
    return DrillResult(hardship.name, hardship.promise, not said and counts["answered"] > 0, counts, healed, said[:300])


def _names(store: Store) -> list[str]:
    """Return repositories that production knows."""
    from stargaze.bundle.star_bundle import Bundle

    return [str(name) for name in Bundle.load(verified_bundle_folder(store, _released(store))).known["full_name"]]


def _released(store: Store) -> str:
    """Return the bundle that was released last."""
    made = list_releases(store)
    if not made:
        raise MissingInputError("nothing was released from here", hint="stargaze deploy")
    return made[0].digest


def _kill_one(service: str) -> Callable[[DrillContext], None]:
    """Return the blow that kills one container of a service, on the first machine that has one."""

    def strike(ground: DrillContext) -> None:
        for remote in ground.site.production:
            if remote.run("sh", "-c", _KILL, "sh", service, root=True).strip():
                return
        raise ExternalError(f"{service}: runs nowhere", hint="stargaze status")

    return strike


def _stop_machine(ground: DrillContext) -> None:
    """Have the engine of one machine stop for a while: not of one that the others need to agree."""
    managers = [one.remote for one in ground.machines if one.manages]
    workers = [one.remote for one in ground.machines if not one.manages]
    spare: Sequence[SshHost] = workers or (managers[1:] if len(managers) >= 3 else [])
    if not spare:
        raise ExternalError(
            "the cluster has no machine to spare", hint="infra.production_servers = 2 or more; stargaze infra up"
        )
    remote = spare[-1]
    try:
        remote.run("systemctl", "stop", "docker.socket", "docker.service", root=True)
        time.sleep(AWAY)
    finally:  # also after Ctrl-C
        remote.run("systemctl", "start", "docker.socket", "docker.service", root=True)


def _cut_a_deploy(ground: DrillContext) -> None:
    """Kill a deploy that changes pages and workers in its middle; then deploy as the config says."""
    sizes = {"WEB_MEMORY": ground.section.web_memory, "WORKER_MEMORY": ground.section.worker_memory}
    other = {f"STARGAZE_DEPLOY_{name}": f"{size * LESS:g}" for name, size in sizes.items()}
    words = [*ground.command, _released(ground.store)[:12]]
    with subprocess.Popen(
        words,
        env={**os.environ, **other},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as cut:
        time.sleep(MID_WAY)
        os.killpg(cut.pid, signal.SIGKILL)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
        why = next(reversed(errors), f"exit code {done.returncode}")
        raise ExternalError(f"the deploy after it failed: {why}", hint="stargaze status")


HARDSHIPS = {
    one.name: one
    for one in (
        Fault("worker", "a worker is killed in mid-task: its questions are answered", _kill_one("worker")),
        Fault("web", "a page process is killed: visitors are led to another", _kill_one("web")),
        Fault(
            "broker",
            "the queue is killed: a quick 503, and nothing accepted is lost",
            _kill_one("broker"),
            refuses=True,
        ),
        Fault("node", "a machine's engine stops and comes back: the others answer", _stop_machine),
        Fault("deploy", "a deploy is killed in its middle: what served serves, and the next one heals", _cut_a_deploy),
    )
}
"""What ``stargaze drill`` knows, in the order in which it is done."""

"""Production machines that go leave the Swarm before: one whose managers vanish may have no majority left to notice it."""

from __future__ import annotations

from collections.abc import Sequence

from stargaze.errors import StargazeError
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

LEAVE = """
docker node ls >/dev/null 2>&1 || exit 44
for id in $(docker node ls --format '{{.ID}} {{.Hostname}}' | awk -v name="$1" '$2 == name {print $1}'); do
  docker node update --availability drain --role worker "$id" >/dev/null || exit 1
  tries=0
  while test -n "$(docker node ps --filter desired-state=running --quiet "$id")" && test $tries -lt 60; do
    tries=$((tries + 1)); sleep 1
  done
  tries=0
  until docker node rm --force "$id" >/dev/null 2>&1; do
    tries=$((tries + 1)); test $tries -lt 60 || exit 1; sleep 1
  done
done
"""
"""Has what runs on a node go elsewhere, then has its Swarm forget it; a node that is no manager any more can be forgotten."""
NO_MANAGER = 44
PATIENCE = 180.0
"""For one machine [s]."""


def remove_from_swarm(names: Sequence[str], others: Sequence[SshHost], say: Notify) -> None:
    """Have the Swarm of the others forget machines, one after the other; what is in the way is said, and ends nothing."""
    for name in names:
        said: list[str | None] = []
        for remote in others:
            said.append(_asked(name, remote))
            if said[-1] == "":
                break
        if "" in said:
            say(f"{name} has left the Swarm")
        elif why := "; ".join(dict.fromkeys(filter(None, said))):
            say(f"{name} could not leave the Swarm: {why}")


def _asked(name: str, remote: SshHost) -> str | None:
    """Ask one machine; return what was in the way, empty if nothing was; None where it manages no Swarm."""
    try:
        done = remote.ask("sh", "-c", LEAVE, "sh", name, root=True, seconds=PATIENCE)
    except StargazeError as error:
        return error.message
    if done.returncode == NO_MANAGER:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return f"{remote.name}: {lines[-1]}" if done.returncode else ""

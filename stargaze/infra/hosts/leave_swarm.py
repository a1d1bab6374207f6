"""Drain and remove nodes from the Swarm before their machines are deleted, so that the managers keep their quorum."""

from __future__ import annotations

from collections.abc import Sequence

from stargaze.errors import StargazeError
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost
from stargaze.system.text import last_line

REMOVE_NODE = """
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
"""Demotes and drains the node, waits until its tasks have moved, then removes it."""
NOT_A_MANAGER = 44
TIMEOUT = 180.0
"""Timeout of one removal [s]."""


def remove_from_swarm(names: Sequence[str], others: Sequence[SshHost], notify: Notify) -> None:
    """Remove nodes one by one through any of the other machines; a failure is reported and does not stop the caller."""
    for name in names:
        errors: list[str | None] = []
        for host in others:
            errors.append(_remove_node(name, host))
            if errors[-1] == "":
                break
        if "" in errors:
            notify(f"{name} has left the Swarm")
        elif message := "; ".join(dict.fromkeys(filter(None, errors))):
            notify(f"{name} could not leave the Swarm: {message}")


def _remove_node(name: str, host: SshHost) -> str | None:
    """Return the error of one attempt; empty if it succeeded, None if the machine is not a manager."""
    try:
        result = host.try_run("sh", "-c", REMOVE_NODE, "sh", name, root=True, seconds=TIMEOUT)
    except StargazeError as error:
        return error.message
    if result.returncode == NOT_A_MANAGER:
        return None
    return f"{host.name}: {last_line(result.stderr)}" if result.returncode else ""

"""New passwords and keys while questions are asked: first a second user beside the first, at the end only the second.

Queue and results learn the new user while they run; page and workers change to it one replica after the other; only then
queue and results begin anew with what they shall know from their start. What was accepted waits on their disks meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.serve.stack import secret_versions as vault
from stargaze.serve.stack.service_options import NAME
from stargaze.serve.swarm.delivery_state import apply, keep
from stargaze.serve.swarm.production import ProductionTarget, contents_in_use, image_in_use, survey_all, wanted_stack
from stargaze.serve.swarm.wait import await_well
from stargaze.store import Store
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost
from stargaze.system.text import last_line

_IN = """
id=$(docker ps --quiet --filter "label=com.docker.swarm.service.name=$1" | head -n 1)
test -n "$id" || exit 44
shift
exec docker exec --interactive "$id" "$@"
"""
NOT_HERE = 44
_SUCCESSOR = ("python", "-m", "stargaze.serve.supervisor.redis_user")
_MAKE = """
rabbitmqctl --quiet add_user "$1" && rabbitmqctl --quiet set_permissions --vhost stargaze "$1" '.*' '.*' '.*' </dev/null
"""
_ONLY = """
for user in $(rabbitmqctl --quiet list_users --no-table-headers </dev/null | cut -f 1); do
  case $user in "$1") ;; *) rabbitmqctl --quiet delete_user "$user" </dev/null;; esac
done
"""


def rotate(section: DeploySection, store: Store, site: ProductionTarget, *, say: Notify) -> int:
    """Return the version of the new secrets once nothing knows the old ones any more.

    Raises
    ------
    MissingInputError
        If nothing is deployed.
    ExternalError
        If a service is not well with the new ones; both are valid then, and the command may be repeated.
    """
    machines, swarm = survey_all(site)
    services = swarm.state().services
    name, used = image_in_use(services), vault.in_use(services)
    image = name, contents_in_use(services).get(name, "")
    if used is None:
        raise MissingInputError("no secrets are in use", hint="stargaze deploy")
    held = swarm.secrets()
    version, user = vault.next_version(held), f"{NAME}_{vault.next_version(held)}"
    made = vault.made(version)
    say(f"making secrets of version {version}")
    for name, content in made.items():
        swarm.keep_secret(name, content)
    broker, results = made[f"{NAME}_broker_{version}"], made[f"{NAME}_results_{version}"]
    names = _brokers(services)
    _within(site.production, names, ["sh", "-c", _MAKE, "sh", user], broker)
    asked = json.dumps({"user": user, "digest": hashlib.sha256(results).hexdigest()}).encode()

    def change(shown: int, behind: int, what: str) -> dict[str, Any]:
        say(f"changing {what}")
        whole = wanted_stack(section, site, machines, image, shown, behind)
        apply(store, swarm, whole)
        await_well(section, swarm, whole, say)
        return whole

    try:
        _within(site.production, [f"{NAME}_web"], _SUCCESSOR, asked)
    except ExternalError:
        if used[0] == used[1]:
            raise
        # A rotation was stopped before its end, and Redis began anew since: it knows whom it knew from its start, not the page.
        change(used[0], used[0], "queue and results, as the rotation before did not")
        _within(site.production, [f"{NAME}_web"], _SUCCESSOR, asked)
        used = used[0], used[0]
    change(version, used[1], "page and workers")
    whole = change(version, version, "queue and results")
    _within(site.production, names, ["sh", "-c", _ONLY, "sh", user], b"")
    swarm.forget_secrets(vault.older(held, version))
    keep(store, whole)
    return version


def _brokers(services: Sequence[dict[str, object]]) -> list[str]:
    names = [str(service["Spec"]["Name"]) for service in services]  # type: ignore[index]  # JSON
    return [name for name in names if name.startswith(f"{NAME}_broker")]


def _within(machines: Sequence[SshHost], services: Sequence[str], words: Sequence[str], stdin: bytes) -> None:
    """Run a program in a container of one of the services, on whichever machine there is one."""
    names = [service.removeprefix(f"{NAME}_") for service in services]  # as people know them
    for service, name in zip(services, names, strict=True):
        for remote in machines:
            done = remote.try_run("sh", "-c", _IN, "sh", service, *words, stdin=stdin, root=True)
            if done.returncode == 0:
                return
            if done.returncode != NOT_HERE:
                reason = last_line(done.stderr + done.stdout)
                raise ExternalError(f"{name} on {remote.name}: {reason}", hint=f"stargaze logs {name}")
    raise ExternalError(f"{' and '.join(names)}: runs nowhere", hint="stargaze status")

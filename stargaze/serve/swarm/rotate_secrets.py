"""Replace all secrets without interrupting service.

Broker and results create a second user while they run. Web and workers change to it one replica at a time. Only then broker and
results restart with the new secrets; accepted jobs wait on their disks meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.serve.stack.secret_versions import generate_secrets, next_version, older_secrets, versions_in_use
from stargaze.serve.stack.service_options import STACK_NAME
from stargaze.serve.swarm.delivery_state import save_verified_stack, send_stack
from stargaze.serve.swarm.plan import desired_stack
from stargaze.serve.swarm.production import (
    ProductionTarget,
    await_services,
    contents_in_use,
    image_in_use,
    survey_production,
)
from stargaze.store import Store
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost
from stargaze.system.text import last_line

EXEC_SCRIPT = """
id=$(docker ps --quiet --filter "label=com.docker.swarm.service.name=$1" | head -n 1)
test -n "$id" || exit 44
shift
exec docker exec --interactive "$id" "$@"
"""
NO_CONTAINER = 44
"""Exit code of a machine without a container of the service."""
ADD_REDIS_USER = ("python", "-m", "stargaze.serve.supervisor.redis_user")
ADD_BROKER_USER = """
rabbitmqctl --quiet add_user "$1" && rabbitmqctl --quiet set_permissions --vhost stargaze "$1" '.*' '.*' '.*' </dev/null
"""
DELETE_OTHER_USERS = """
for user in $(rabbitmqctl --quiet list_users --no-table-headers </dev/null | cut -f 1); do
  case $user in "$1") ;; *) rabbitmqctl --quiet delete_user "$user" </dev/null;; esac
done
"""


def rotate_secrets(section: DeploySection, store: Store, target: ProductionTarget, *, notify: Notify) -> int:
    """Return the version of the new secrets after the old ones were deleted everywhere.

    ExternalError if a service fails with the new ones; both versions are valid then, and the command may be repeated.
    """
    survey = survey_production(target.hosts)
    swarm, services = survey.swarm, survey.state.services
    name, used = image_in_use(services), versions_in_use(services)
    image = name, contents_in_use(services).get(name, "")
    if used is None:
        raise MissingInputError("no secrets are in use", hint="stargaze deploy")
    names = swarm.list_secrets()
    version = next_version(names)
    user = f"{STACK_NAME}_{version}"
    secrets = generate_secrets(version)
    notify(f"creating secrets of version {version}")
    for secret, content in secrets.items():
        swarm.create_secret(secret, content)
    broker_password = secrets[f"{STACK_NAME}_broker_{version}"]
    results_digest = hashlib.sha256(secrets[f"{STACK_NAME}_results_{version}"]).hexdigest()
    brokers = [name for service in services if (name := service["Spec"]["Name"]).startswith(f"{STACK_NAME}_broker")]
    redis_user = json.dumps({"user": user, "digest": results_digest}).encode()

    def add_redis_user() -> None:
        _run_in_container(target.hosts, [f"{STACK_NAME}_web"], ADD_REDIS_USER, redis_user)

    def change_versions(app: int, backing: int, description: str) -> dict[str, Any]:
        notify(f"changing {description}")
        stack = desired_stack(section, target, survey, image, app, backing)
        send_stack(store, swarm, stack)
        await_services(section, swarm, stack, notify)
        return stack

    _run_in_container(target.hosts, brokers, ["sh", "-c", ADD_BROKER_USER, "sh", user], broker_password)
    try:
        add_redis_user()
    except ExternalError:
        if used[0] == used[1]:
            raise
        # An earlier rotation was interrupted and Redis restarted since: it has the old user only, web uses the new one.
        change_versions(used[0], used[0], "broker and results, which an interrupted rotation left behind")
        add_redis_user()
        used = used[0], used[0]
    change_versions(version, used[1], "web and workers")
    stack = change_versions(version, version, "broker and results")
    _run_in_container(target.hosts, brokers, ["sh", "-c", DELETE_OTHER_USERS, "sh", user], b"")
    swarm.remove_secrets(older_secrets(names, version))
    save_verified_stack(store, stack)
    return version


def _run_in_container(hosts: Sequence[SshHost], services: Sequence[str], argv: Sequence[str], stdin: bytes) -> None:
    """Run a program in one container of one of the services, on whichever machine has one."""
    names = [service.removeprefix(f"{STACK_NAME}_") for service in services]
    for service, name in zip(services, names, strict=True):
        for host in hosts:
            completed = host.try_run("sh", "-c", EXEC_SCRIPT, "sh", service, *argv, stdin=stdin, root=True)
            if completed.returncode == 0:
                return
            if completed.returncode != NO_CONTAINER:
                reason = last_line(completed.stderr + completed.stdout)
                raise ExternalError(f"{name} on {host.name}: {reason}", hint=f"stargaze logs {name}")
    raise ExternalError(f"{' and '.join(names)}: no running container", hint="stargaze status")

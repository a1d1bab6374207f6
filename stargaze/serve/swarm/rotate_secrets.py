"""Replace all secrets without interrupting service.

Broker and results create a second user while they run. Web and workers change to it one replica at a time, and accept the old
and the new certificates. Only then broker and results restart with the new secrets; accepted jobs wait on their disks meanwhile.
Last, web and workers accept the new certificates only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.serve.stack.backing_services import REDIS_CLIENT, REDIS_RULES
from stargaze.serve.stack.secret_versions import (
    generate_secrets,
    next_version,
    older_secrets,
    sha256_hex,
    versions_in_use,
)
from stargaze.serve.stack.service_options import STACK_NAME, SecretVersions
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
ADD_REDIS_USER = f"""
read -r digest
REDISCLI_AUTH=$(cat /run/secrets/admin) {REDIS_CLIENT} --user admin ACL SETUSER "$1" reset on "#$digest" \
  {" ".join(f"'{rule}'" for rule in REDIS_RULES)}
"""
ADD_BROKER_USER = """
trap 'rm -f /tmp/user.json' EXIT
umask 077
cat >/tmp/user.json && rabbitmqctl --quiet import_definitions /tmp/user.json </dev/null
"""
"""The password's hash comes from a file: with Erlang 28 rabbitmqctl reads no password from standard input."""
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
    broker_user = secrets[f"{STACK_NAME}_broker_conf_{version}"]
    results_digest = sha256_hex(secrets[f"{STACK_NAME}_results_{version}"]).encode()
    brokers = [name for service in services if (name := service["Spec"]["Name"]).startswith(f"{STACK_NAME}_broker")]

    def change_versions(app: int, backing: int, description: str, retired: int = 0) -> dict[str, Any]:
        notify(f"changing {description}")
        stack = desired_stack(section, target, survey, image, SecretVersions(app, backing, retired))
        send_stack(store, swarm, stack)
        await_services(section, swarm, stack, notify)
        return stack

    _run_in_container(target.hosts, brokers, ["sh", "-c", ADD_BROKER_USER, "sh", user], broker_user)
    results = [f"{STACK_NAME}_results"]
    _run_in_container(target.hosts, results, ["sh", "-c", ADD_REDIS_USER, "sh", user], results_digest + b"\n")
    change_versions(version, used[1], "web and workers")
    change_versions(version, version, "broker and results", retired=used[1])
    stack = change_versions(version, version, "web and workers, which no longer accept the old certificates")
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

"""Docker on the production nodes, and the Swarm behind one of its managers, over ssh; every method may be repeated safely."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stargaze.errors import ExternalError
from stargaze.serve.stack.compose import encode_stack
from stargaze.serve.stack.service_options import CONTENT_LABEL, STACK_NAME, Node
from stargaze.system.docker import CONTENT_DIGEST_LENGTH, CONTENT_FORMAT, DockerEngine
from stargaze.system.ssh import SshHost

RELEASE_HOME = "/srv/stargaze"
"""The folder in which the account ``git`` of a node receives and installs releases."""
LOG_TIMEOUT = 60
"""Timeout for a log that is not followed [s]."""
_CONTENT_FUNCTION = f"""
content() {{
  description=$(docker image inspect --format '{CONTENT_FORMAT}' "$1" 2>/dev/null) &&
    printf %s "$description" | sha256sum | cut -c -{CONTENT_DIGEST_LENGTH}
}}
"""
SURVEY_SCRIPT = f"""{_CONTENT_FUNCTION}
docker info --format '{{{{json .}}}}'
docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | tr '\\n' '\\t'; echo
docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep -F {STACK_NAME}-serve | while read -r name; do
  printf '%s=%s\\t' "$name" "$(content "$name")"
done; echo
unshare --net ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode transport \
  aead 'rfc4106(gcm(aes))' 0x0123456789012345678901234567890123456789 64 2>&1 |
  grep -qE 'Requested .* not found|not supported|not implemented' && echo no-esp || echo
git --git-dir={RELEASE_HOME}/releases.git rev-parse --verify --quiet refs/heads/main 2>/dev/null || echo
readlink {RELEASE_HOME}/serving/current || echo
cat {RELEASE_HOME}/keys/allowed_signers 2>/dev/null || :
"""
STATE_SCRIPT = f"""
nodes=$(docker node ls --quiet) || exit 1
docker node inspect $nodes | tr -d '\\n'; echo
ids=$(docker service ls --quiet --filter label=com.docker.stack.namespace={STACK_NAME}) || exit 1
test -n "$ids" || {{ echo '[]'; echo '[]'; exit 0; }}
docker service inspect $ids | tr -d '\\n'; echo
tasks=$(docker service ps --quiet --no-trunc $ids)
test -n "$tasks" && docker inspect --type task $tasks | tr -d '\\n' || echo '[]'
"""
INSPECT_SCRIPT = f"""{_CONTENT_FUNCTION}
readlink {RELEASE_HOME}/serving/current || echo
own=$(content "$1")
docker ps --no-trunc --filter label=com.docker.stack.namespace={STACK_NAME} \
  --format '{{{{.ID}}}} {{{{.Label "com.docker.swarm.service.name"}}}}' | while read -r id service; do
  case $service in
  {STACK_NAME}_web|{STACK_NAME}_worker)
    bundles=$(docker exec "$id" python -m stargaze.serve.runtime.healthcheck served-bundles </dev/null 2>/dev/null);;
  *) bundles='[]';;
  esac
  actual=$(content "$(docker inspect --format '{{{{.Image}}}}' "$id")")
  desired=$(docker inspect --format '{{{{index .Config.Labels "{CONTENT_LABEL}"}}}}' "$id")
  matches=$(test -n "$actual" && test "$actual" = "${{desired:-$own}}" && echo yes || echo no)
  echo "$service $matches ${{bundles:-null}}"
done
echo "page $(python3 -c "$4" "$2" "$3" 2>/dev/null)"
"""
_PAGE_PROGRAM = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
connection.request("GET", "/readyz")
response = connection.getresponse()
print(response.status, *response.read().decode(errors="replace").split())
"""
"""Prints status and body on one line, whatever server listens on the port."""


@dataclass(frozen=True)
class NodeInfo:
    """A production node: its place in the Swarm, its images and its release repository."""

    host: SshHost
    hostname: str
    node_id: str
    is_manager: bool
    images: frozenset[str]
    release_commit: str
    """The newest release in its repository; empty before the first."""
    installed_release: str
    """The name of the installed release, which has the digests of its bundles; empty before the first."""
    allowed_signers: tuple[str, ...]
    """Lines of the file that lists whose releases it accepts."""
    image_contents: Mapping[str, str] = field(default_factory=dict)
    """The content digest of each of its web and worker images, by name."""
    lacks_esp: bool = False
    """Whether its kernel cannot encrypt what containers send to other nodes."""

    def as_node(self) -> Node:
        """Return the node as the stack needs it."""
        addresses = dict.fromkeys([self.host.name, self.host.address, self.host.private_ip])
        return Node(self.hostname, tuple(addresses))


@dataclass(frozen=True)
class Container:
    """A container of the stack, and the releases that its processes serve; None if they do not report any."""

    service: str
    has_expected_image: bool
    """Whether its image has the content that the builder labeled, or without a label that of the node's image of that name."""
    releases: Sequence[str] | None


@dataclass(frozen=True)
class NodeStatus:
    """The containers and the page of a node at the moment."""

    name: str
    installed_release: str
    containers: tuple[Container, ...]
    page_response: str
    """Status code and body of ``/readyz`` on the node's port; empty without an answer."""


def survey_node(host: SshHost) -> NodeInfo:
    """Read the state of a production node; ExternalError if it or its engine does not answer, or it is in no Swarm."""
    lines = [*host.run("sh", "-c", SURVEY_SCRIPT, root=True).decode().split("\n"), "", "", "", "", "", ""]
    try:
        info = json.loads(lines[0])
        swarm = info["Swarm"]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{host.name}: the Docker engine does not answer"
        raise ExternalError(message, hint="stargaze infra configure") from error
    if not swarm.get("NodeID"):
        raise ExternalError(f"{host.name} is not part of a Swarm", hint="stargaze infra configure --tags swarm")
    return NodeInfo(
        host=host,
        hostname=info["Name"],
        node_id=swarm["NodeID"],
        is_manager=bool(swarm.get("ControlAvailable")),
        images=frozenset(lines[1].split()),
        release_commit=lines[4].strip(),
        installed_release=lines[5].strip().rpartition("/")[2],
        allowed_signers=tuple(filter(None, lines[6:])),
        lacks_esp=lines[3].strip() == "no-esp",
        image_contents=dict(pair.split("=", 1) for pair in lines[2].split()),
    )


def inspect_node(host: SshHost, image: str, port: int) -> NodeStatus:
    """Read which containers a node runs, whether they have the image's content, and the response of its page."""
    arguments = ["sh", "-c", INSPECT_SCRIPT, "sh", image, host.private_ip, str(port), _PAGE_PROGRAM]
    first, *lines, last = host.run(*arguments, root=True).decode().splitlines()
    containers = []
    for line in lines:
        service, matches, releases = line.split(" ", 2)
        containers.append(Container(service.removeprefix(f"{STACK_NAME}_"), matches == "yes", json.loads(releases)))
    return NodeStatus(host.name, first.rpartition("/")[2], tuple(containers), last.removeprefix("page").strip())


@dataclass(frozen=True)
class SwarmState:
    """Nodes, services and tasks of the Swarm as Docker describes them; no services before the first deploy."""

    nodes: list[dict[str, Any]]
    services: list[dict[str, Any]]
    tasks: list[dict[str, Any]]


@dataclass(frozen=True)
class Swarm:
    """The Swarm, behind one of its managers."""

    manager: SshHost

    def read_state(self) -> SwarmState:
        """Return the current nodes, services and tasks."""
        output = self.manager.run("sh", "-c", STATE_SCRIPT, root=True).decode()
        return SwarmState(*map(json.loads, output.strip().splitlines()))

    def list_secrets(self) -> list[str]:
        """Return the names of the secrets."""
        return self._run("secret", "ls", "--format", "{{.Name}}").decode().split()

    def create_secret(self, name: str, content: bytes) -> None:
        """Create a secret; only containers can read it afterwards."""
        self._run("secret", "create", name, "-", stdin=content)

    def remove_secrets(self, names: Sequence[str]) -> None:
        """Remove secrets that no service uses."""
        if names:
            self._run("secret", "rm", *names)

    def list_configs(self) -> list[str]:
        """Return the names of the configs."""
        return self._run("config", "ls", "--format", "{{.Name}}").decode().split()

    def remove_configs(self, names: Sequence[str]) -> None:
        """Remove configs that no service uses."""
        if names:
            self._run("config", "rm", *names)

    def deploy_stack(self, stack: Mapping[str, Any]) -> None:
        """Create missing configs (a name implies the text) and change the services that do not match the stack."""
        existing = self.list_configs()
        for name, text in stack["x-configs"].items():
            if name not in existing:
                self._run("config", "create", name, "-", stdin=text.encode())
        options = ("--prune", "--resolve-image", "never", "--compose-file", "-")
        self._run("stack", "deploy", *options, STACK_NAME, stdin=encode_stack(stack))

    def scale_services(self, replicas: Mapping[str, int]) -> None:
        """Set the number of replicas of services."""
        numbers = (f"{STACK_NAME}_{name}={number}" for name, number in replicas.items())
        self._run("service", "scale", "--detach", *numbers)

    def reconcile_service(self, name: str) -> None:
        """Let Swarm compare the tasks of a service with its definition again. Tasks that match it stay."""
        self._run("service", "update", "--detach", f"{STACK_NAME}_{name}")

    def log_argv(self, service: str, lines: int, *, follow: bool) -> list[str]:
        """Return the argv that prints a service's log."""
        # Docker sometimes waits forever at the end of a log, after everything was printed.
        limit = [] if follow else ["timeout", str(LOG_TIMEOUT)]
        command = ["docker", "service", "logs", "--timestamps", f"--tail={lines}", *(["--follow"] if follow else [])]
        return self.manager.argv([*limit, *command, f"{STACK_NAME}_{service}"], root=True)

    def _run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        return DockerEngine(self.manager).run(arguments, stdin)

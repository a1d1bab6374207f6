"""The one file that asks Docker on the cluster: on each production machine, and on one that manages the Swarm.

Every verb may be repeated safely. What is asked goes over ssh as a list of words, what is secret as standard input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stargaze.errors import ExternalError
from stargaze.serve.stack.service_options import CONTENT, NAME, Node
from stargaze.system.ssh import SshHost

HOME = "/srv/stargaze"
"""Where the git role's account receives releases and installs them."""
LOGS = 60
"""How long a log may take that is not followed [s]."""
HOLDS = "{{json .RootFS.Layers}} {{json .Config.Entrypoint}} {{json .Config.Env}} {{json .Config.User}}"
"""What Docker is asked for to know an image by what it holds. Its Id is no such thing: engines that keep images with containerd
call the same image otherwise than those that do not."""
SUM = 12
_CONTENT = f"""
content() {{
  holds=$(docker image inspect --format '{HOLDS}' "$1" 2>/dev/null) && printf %s "$holds" | sha256sum | cut -c -{SUM}
}}
"""
_SURVEY = f"""{_CONTENT}
docker info --format '{{{{json .}}}}'
docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | tr '\\n' '\\t'; echo
docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep -F {NAME}-serve | while read -r name; do
  printf '%s=%s\\t' "$name" "$(content "$name")"
done; echo
git --git-dir={HOME}/releases.git rev-parse --verify --quiet refs/heads/main 2>/dev/null || echo
readlink {HOME}/serving/current || echo
cat {HOME}/keys/allowed_signers 2>/dev/null || :
"""
_STATE = f"""
nodes=$(docker node ls --quiet) || exit 1
docker node inspect $nodes | tr -d '\\n'; echo
ids=$(docker service ls --quiet --filter label=com.docker.stack.namespace={NAME}) || exit 1
test -n "$ids" || {{ echo '[]'; echo '[]'; exit 0; }}
docker service inspect $ids | tr -d '\\n'; echo
tasks=$(docker service ps --quiet --no-trunc $ids)
test -n "$tasks" && docker inspect --type task $tasks | tr -d '\\n' || echo '[]'
"""
_LOOK = f"""{_CONTENT}
readlink {HOME}/serving/current || echo
own=$(content "$1")
docker ps --no-trunc --filter label=com.docker.stack.namespace={NAME} \
  --format '{{{{.ID}}}} {{{{.Label "com.docker.swarm.service.name"}}}}' | while read -r id service; do
  case $service in
  {NAME}_web|{NAME}_worker)
    serves=$(docker exec "$id" python -m stargaze.serve.runtime.healthcheck served-bundles </dev/null 2>/dev/null);;
  *) serves='[]';;
  esac
  runs=$(content "$(docker inspect --format '{{{{.Image}}}}' "$id")")
  wanted=$(docker inspect --format '{{{{index .Config.Labels "{CONTENT}"}}}}' "$id")
  same=$(test -n "$runs" && test "$runs" = "${{wanted:-$own}}" && echo yes || echo no)
  echo "$service $same ${{serves:-null}}"
done
echo "page $(python3 -c "$4" "$2" "$3" 2>/dev/null)"
"""
_PAGE = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
connection.request("GET", "/readyz")
answer = connection.getresponse()
print(answer.status, *answer.read().decode(errors="replace").split())
"""
"""Prints status and body on one line, whoever it is that answers there."""


@dataclass(frozen=True)
class NodeInfo:
    """A production machine, as it stands."""

    remote: SshHost
    hostname: str
    node: str
    """Its number in the Swarm; empty if it is in none."""
    manages: bool
    images: frozenset[str]
    tip: str
    """The newest release that it holds; empty before the first."""
    installed: str
    """The digest of the bundle that it serves; empty before the first."""
    signers: tuple[str, ...]
    """Whose releases it takes, a line each."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """What each image of ours holds that it has, by the image's name."""

    def as_node(self) -> Node:
        """Return it as the stack knows it."""
        addresses = dict.fromkeys([self.remote.name, self.remote.address, self.remote.private_ip])
        return Node(self.hostname, tuple(addresses))


@dataclass(frozen=True)
class Container:
    """A container of the stack on one machine, and which bundles its processes answer with; None if it does not say."""

    service: str
    as_sent: bool
    """Whether its image holds what the builder's does; where that is not known, what its node's own of that name does."""
    serves: Sequence[str] | None


@dataclass(frozen=True)
class Seen:
    """What runs on one machine."""

    name: str
    installed: str
    containers: tuple[Container, ...]
    page: str
    """What the page said of itself at the machine's own port."""


def survey(remote: SshHost) -> NodeInfo:
    """Ask a machine what it is and holds.

    Raises
    ------
    ExternalError
        If its engine does not answer, or is in no Swarm.
    """
    lines = [*remote.run("sh", "-c", _SURVEY, root=True).decode().split("\n"), "", "", "", "", ""]
    try:
        info = json.loads(lines[0])
        swarm = info["Swarm"]
    except (ValueError, KeyError, TypeError) as error:
        raise ExternalError(
            f"{remote.name}: its Docker engine does not answer", hint="stargaze infra configure"
        ) from error
    if not swarm.get("NodeID"):
        raise ExternalError(f"{remote.name} is in no Swarm", hint="stargaze infra configure --tags swarm")
    return NodeInfo(
        remote=remote,
        hostname=info["Name"],
        node=swarm["NodeID"],
        manages=bool(swarm.get("ControlAvailable")),
        images=frozenset(lines[1].split()),
        tip=lines[3].strip(),
        installed=lines[4].strip().rpartition("/")[2],
        signers=tuple(filter(None, lines[5:])),
        contents=dict(one.split("=", 1) for one in lines[2].split()),
    )


def look(remote: SshHost, image: str, port: int) -> Seen:
    """Ask a machine what runs on it, and of the image that was sent; and its page whether it can take questions."""
    words = ["sh", "-c", _LOOK, "sh", image, remote.private_ip, str(port), _PAGE]
    first, *lines, last = remote.run(*words, root=True).decode().splitlines()
    found = []
    for line in lines:
        service, as_sent, serves = line.split(" ", 2)
        found.append(Container(service.removeprefix(f"{NAME}_"), as_sent == "yes", json.loads(serves)))
    return Seen(remote.name, first.rpartition("/")[2], tuple(found), last.removeprefix("page").strip())


@dataclass(frozen=True)
class State:
    """Nodes, services and tasks of the Swarm, as Docker describes them; no service before the first deploy."""

    nodes: list[dict[str, Any]]
    services: list[dict[str, Any]]
    tasks: list[dict[str, Any]]


@dataclass(frozen=True)
class Swarm:
    """The Swarm, behind one of its managers."""

    manager: SshHost

    def state(self) -> State:
        """Return how all is at this moment."""
        return State(*map(json.loads, self.manager.run("sh", "-c", _STATE, root=True).decode().strip().splitlines()))

    def secrets(self) -> list[str]:
        """Return the names of the secrets."""
        return self._run("secret", "ls", "--format", "{{.Name}}").decode().split()

    def keep_secret(self, name: str, content: bytes) -> None:
        """Hand a secret to Swarm, once; nobody reads it again but the containers that it is given to."""
        self._run("secret", "create", name, "-", stdin=content)

    def forget_secrets(self, names: Sequence[str]) -> None:
        """Have Swarm forget secrets that no service has any more."""
        if names:
            self._run("secret", "rm", *names)

    def configs(self) -> list[str]:
        """Return the names of the configs."""
        return self._run("config", "ls", "--format", "{{.Name}}").decode().split()

    def forget_configs(self, names: Sequence[str]) -> None:
        """Have Swarm forget configs that no service has any more."""
        if names:
            self._run("config", "rm", *names)

    def keep_configs(self, texts: Mapping[str, str]) -> None:
        """Hand files to Swarm that it does not hold yet; another text has another name."""
        held = self.configs()
        for name, text in texts.items():
            if name not in held:
                self._run("config", "create", name, "-", stdin=text.encode())

    def deploy(self, compose: bytes) -> None:
        """Have the stack be as the Compose file says; services that are so already stay as they are."""
        words = ("stack", "deploy", "--prune", "--resolve-image", "never", "--compose-file", "-", NAME)
        self._run(*words, stdin=compose)

    def scale(self, replicas: Mapping[str, int]) -> None:
        """Set how many replicas services have."""
        self._run("service", "scale", "--detach", *(f"{NAME}_{name}={number}" for name, number in replicas.items()))

    def log_words(self, service: str, lines: int, *, follow: bool) -> list[str]:
        """Return the argv that prints a service's log."""
        # Docker was seen to wait for ever for the end of a log: what is there by then has been printed.
        begin = [] if follow else ["timeout", str(LOGS)]
        words = ["docker", "service", "logs", "--timestamps", f"--tail={lines}", *(["--follow"] if follow else [])]
        return self.manager.argv([*begin, *words, f"{NAME}_{service}"], root=True)

    def _run(self, *words: str, stdin: bytes = b"") -> bytes:
        return self.manager.run("docker", *words, stdin=stdin, root=True)

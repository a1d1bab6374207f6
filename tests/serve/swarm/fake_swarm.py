"""A Docker Swarm of a few machines in memory: it replaces the functions that run ssh and docker."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.stack.compose import SERVICE_LABEL, STACK_LABEL
from stargaze.serve.stack.service_options import STACK_NAME
from stargaze.serve.swarm import docker, release_sync, rotate_secrets
from stargaze.serve.swarm.node_signers import TRUST_SCRIPT
from stargaze.serve.swarm.production import ProductionTarget
from stargaze.serve.swarm.public_page import PublicPage
from stargaze.serve.swarm.release_sync import REINSTALL_ARGV
from stargaze.system.docker import CONTENT_DIGEST_LENGTH, DockerEngine, ImageRecipe
from stargaze.system.ssh import SSH_FAILED, SshHost
from tests.isolation import copy_module

Completed = subprocess.CompletedProcess[bytes]
CONTENT = b"[layers]\n"
"""The content of every image."""
READ_COMMANDS = ("docker secret ls", "docker config ls", "docker ps", "docker image ls")


def machine(number: int) -> SshHost:
    """Return a production machine."""
    address = f"10.20.0.{20 + number}"
    return SshHost(f"production{number}", "production", address, address, "debian", ())


@dataclass
class FakeSwarm:
    """Answers like ssh, Docker and programs in containers; ``changes`` are the commands that change something."""

    machines: tuple[SshHost, ...] = (machine(1), machine(2))
    managers: int = 1
    unreachable: set[str] = field(default_factory=set)
    has_no_leader: bool = False
    """Whether the managers have lost their majority."""
    images: dict[str, set[str]] = field(default_factory=dict)
    built: set[str] = field(default_factory=set)
    """Images of this machine's engine."""
    secrets: dict[str, bytes] = field(default_factory=dict)
    configs: dict[str, bytes] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As Docker describes them, by name."""
    unhealthy: dict[str, str] = field(default_factory=dict)
    """Services that become unhealthy after a change, with the reason; Swarm rolls them back."""
    task_errors: dict[str, str] = field(default_factory=dict)
    """The error of a task of a service."""
    ended_images: list[str] = field(default_factory=list)
    """Images of ended containers."""
    never_started: set[str] = field(default_factory=set)
    """Services of which no task ever ran."""
    releases: dict[str, str] = field(default_factory=dict)
    """The bundle of each release commit."""
    release_commits: dict[str, str] = field(default_factory=dict)
    repositories: dict[str, Path] = field(default_factory=dict)
    """A real git repository with all releases of a machine."""
    installed: dict[str, str] = field(default_factory=dict)
    """The bundle that each machine has installed."""
    stale_bundles: dict[str, str] = field(default_factory=dict)
    """Machines whose workers keep serving another bundle."""
    esp: str = ""
    """``no-esp`` if the kernels lack it."""
    signers: dict[str, list[str]] = field(default_factory=dict)
    runs_on: dict[str, str] = field(default_factory=dict)
    """The only machine with containers of a service; by default all."""
    failures: dict[str, str] = field(default_factory=dict)
    """Programs in containers that fail, with their error."""
    changes: list[str] = field(default_factory=list)
    stdin: list[tuple[str, bytes]] = field(default_factory=list)
    """Each command that got standard input, with that input."""

    def target(self) -> ProductionTarget:
        """Return the target of a deploy."""
        return ProductionTarget(self.machines, DockerEngine(), ImageRecipe("python:3"), ServeSection(), Sources(), 80)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace ssh and this machine's docker by this fake."""
        monkeypatch.setattr("stargaze.system.ssh.run_program", self.over_ssh)
        monkeypatch.setattr("stargaze.system.docker.run_program", self.engine)
        monkeypatch.setattr(PublicPage, "ask", lambda _: self.ask_page())
        monkeypatch.setattr("stargaze.system.docker.shutil", copy_module(shutil, which=lambda program: program))

    def engine(self, program: str, *argv: str, **_: Any) -> Completed:
        """Answer like this machine's engine, which has no image at first and can build any."""
        if argv[:2] == ("image", "inspect"):
            has = argv[-1] in self.built
            return subprocess.CompletedProcess(program, int(not has), CONTENT if has else b"", b"")
        if argv[0] == "ps" or argv[:2] == ("image", "ls"):
            return subprocess.CompletedProcess(
                program, 0, "\n".join(self.built if argv[0] == "image" else ()).encode(), b""
            )
        if argv[:2] == ("image", "rm"):
            self.built -= set(argv[2:])
        self.built |= {word.removeprefix("--tag=") for word in argv if word.startswith("--tag=")}
        self.changes.append(f"here: {argv[0]}")
        return subprocess.CompletedProcess(program, 0, b"", b"")

    def ask_page(self) -> tuple[str, str]:
        """Answer like the page of a machine that is up."""
        name = next(item.name for item in self.machines if item.name not in self.unreachable)
        return f'200 {{"bundle": "{self.installed.get(name, "")}"}}', ""

    def over_ssh(self, program: str, *argv: str, stdin: bytes = b"", **_: Any) -> Completed:
        """Answer like sshd of a machine."""
        address, line = argv[-2].rpartition("@")[2], argv[-1]
        name = next(item.name for item in self.machines if item.address == address)
        if name in self.unreachable:
            return subprocess.CompletedProcess(program, SSH_FAILED, b"", f"ssh: {address}: No route to host\n".encode())
        command = shlex.split(line)[2:] if line.startswith("sudo -n ") else shlex.split(line)
        if command[:2] == ["sh", "-c"] and command[2] == release_sync.EXPORT_SCRIPT:
            script = release_sync.EXPORT_SCRIPT.replace(
                f"{docker.RELEASE_HOME}/releases.git", str(self.repositories[name])
            )
            return subprocess.run(["sh", "-c", script, *command[3:]], capture_output=True, check=False)
        code, out, err = self.answer(name, command, stdin)
        return subprocess.CompletedProcess(program, code, out.encode(), err.encode())

    def answer(self, name: str, command: Sequence[str], stdin: bytes) -> tuple[int, str, str]:
        """Run a command on a machine."""
        if command[:2] == ["sh", "-c"]:
            return self._script(name, command[2], command[4:], stdin)
        if tuple(command[-len(REINSTALL_ARGV) :]) == REINSTALL_ARGV:
            self.changes.append(f"{name}: reinstall")
            self.installed[name] = self.releases[self.release_commits[name]]
            return 0, "", ""
        return self._docker(name, list(command), stdin)

    def _script(self, name: str, script: str, more: Sequence[str], stdin: bytes) -> tuple[int, str, str]:
        if script == TRUST_SCRIPT:
            self.changes.append(f"{name}: trust a key")
            self.signers.setdefault(name, []).append(stdin.decode().strip())
            return 0, "", ""
        if script == rotate_secrets.EXEC_SCRIPT:
            return self._exec(name, more[0], more[1:], stdin)
        if script == docker.STATE_SCRIPT and self.has_no_leader:
            return 1, "", "Error response from daemon: rpc error: The swarm does not have a leader.\n"
        scripts = {
            docker.SURVEY_SCRIPT: self._survey,
            docker.STATE_SCRIPT: self._state,
            docker.INSPECT_SCRIPT: self._inspect,
        }
        return 0, scripts[script](name, *more), ""

    def _docker(self, name: str, command: list[str], stdin: bytes) -> tuple[int, str, str]:
        line = " ".join(command)
        if not line.startswith(READ_COMMANDS):
            self.changes.append(line if command[1] != "pull" else f"{name}: {line}")
        if stdin:
            self.stdin.append((line, stdin))
        stored = {"secret": self.secrets, "config": self.configs}
        match command[1:]:
            case ["secret" | "config" as kind, "ls", *_]:
                return 0, "\n".join(stored[kind]), ""
            case ["secret" | "config" as kind, "create", what, "-"]:
                stored[kind][what] = stdin
            case ["config", "rm", *names]:
                self.configs = {item: self.configs[item] for item in self.configs.keys() - names}
            case ["ps" | "image" | "pull", *_]:
                return self._images(name, command[1:])
            case ["secret", "rm", *names]:
                self.secrets = {item: self.secrets[item] for item in self.secrets.keys() - names}
            case ["stack", "deploy", *_]:
                self._deploy(json.loads(stdin))
            case ["service", "scale" | "update", "--detach", *wanted]:
                self._scale(dict(item.split("=") for item in wanted if "=" in item))
            case _:
                pytest.fail(f"unexpected command: {line}")
        return 0, "", ""

    def _images(self, name: str, argv: list[str]) -> tuple[int, str, str]:
        stored = self.images.setdefault(name, set())
        match argv:
            case ["ps", "--all", *_]:
                running = (
                    service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] for service in self.services.values()
                )
                return 0, "\n".join([*running, *self.ended_images]), ""
            case ["image", "ls", *_]:
                return 0, "\n".join(stored), ""
            case ["image", "rm", *names]:
                if "image rm" in self.failures:
                    return 1, "", self.failures["image rm"]
                stored -= set(names)
            case ["pull", "--quiet", image]:
                stored.add(image)
            case _:
                pytest.fail(f"unexpected command: docker {' '.join(argv)}")
        return 0, "", ""

    def _scale(self, replicas: Mapping[str, str]) -> None:
        for service, number in replicas.items():
            self.services[service]["Spec"]["Mode"] = {"Replicated": {"Replicas": int(number)}}

    def _deploy(self, whole: dict[str, Any]) -> None:
        assert set(whole["secrets"]) <= set(self.secrets)
        assert set(whole["configs"]) <= set(self.configs)
        desired = {
            f"{STACK_NAME}_{name}": _describe(name, definition) for name, definition in whole["services"].items()
        }
        for name, service in desired.items():
            before = self.services.get(name)
            changed = before is None or _label(before) != _label(service)
            if name.removeprefix(f"{STACK_NAME}_") in self.unhealthy and changed:
                self.task_errors[name] = self.unhealthy[name.removeprefix(f"{STACK_NAME}_")]
                desired[name] = {**before, "UpdateStatus": {"State": "rollback_completed"}} if before else service
                self.never_started |= set() if before else {name}
        self.services = desired

    def _exec(self, name: str, service: str, argv: Sequence[str], stdin: bytes) -> tuple[int, str, str]:
        if self.runs_on.get(service, name) != name or service not in self.services:
            return rotate_secrets.NO_CONTAINER, "", ""
        action = {
            rotate_secrets.ADD_BROKER_USER: "add a user",
            rotate_secrets.ADD_REDIS_USER: "add a user",
            rotate_secrets.DELETE_OTHER_USERS: "delete all users but",
        }.get(" ".join(argv[2:3]), argv[-1])
        reported = f"{name}: {service}: {action} {argv[-1] if len(argv) > 3 else ''}".strip()
        self.changes.append(reported)
        self.stdin.append((reported, stdin))
        failure = self.failures.get(f"{service.removeprefix(f'{STACK_NAME}_')}: {action}", "")
        return (1, "", f"a first line\n{failure}\n") if failure else (0, "", "")

    def _survey(self, name: str) -> str:
        number = [item.name for item in self.machines].index(name)
        info = {
            "Name": f"host{number + 1}",
            "Swarm": {"NodeID": f"n{number}", "ControlAvailable": number < self.managers},
        }
        digest = self.installed.get(name, "")
        bundles = f"bundles/{digest}" if digest else ""
        images, content = self.images.get(name, ()), hashlib.sha256(CONTENT.strip()).hexdigest()[:CONTENT_DIGEST_LENGTH]
        contents = (f"{image}={content}" for image in images if f"{STACK_NAME}-serve" in image)
        lines = [
            json.dumps(info),
            "\t".join(images),
            "\t".join(contents),
            self.esp,
            self.release_commits.get(name, ""),
            bundles,
        ]
        return "\n".join([*lines, *self.signers.get(name, ()), ""])

    def _state(self, _name: str) -> str:
        nodes = [
            {
                "ID": f"n{number}",
                "Description": {"Hostname": f"host{number + 1}"},
                "Status": {"State": "down" if item.name in self.unreachable else "ready"},
                "Spec": {"Availability": "active", "Labels": {"stargaze.role": "production"}},
            }
            for number, item in enumerate(self.machines)
        ]
        tasks = [task for name, service in self.services.items() for task in self._tasks(name, service, nodes)]
        return "\n".join(map(json.dumps, (nodes, list(self.services.values()), tasks)))

    def _tasks(self, name: str, service: dict[str, Any], nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        ready = [node["ID"] for node in nodes if node["Status"]["State"] == "ready"]
        replicated = service["Spec"]["Mode"].get("Replicated")
        number = 0 if name in self.never_started else replicated["Replicas"] if replicated else len(ready)
        common = {"ServiceID": service["ID"], "Spec": service["Spec"]["TaskTemplate"]}
        result = [
            {**common, "NodeID": ready[item % len(ready)], "DesiredState": "running", "Status": _status("running")}
            for item in range(number)
        ]
        if name in self.task_errors:
            broken = {"DesiredState": "shutdown", "Status": _status("failed", self.task_errors[name])}
            result.append({**common, "NodeID": ready[0], **broken})
        return result

    def _inspect(self, name: str, image: str, *_: str) -> str:
        digest = self.installed.get(name, "")
        lines = [f"bundles/{digest}"]
        for service, item in self.services.items():
            runs = item["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
            is_app = service.removeprefix(f"{STACK_NAME}_") in ("web", "worker")
            bundles = [self.stale_bundles.get(name, digest) if service.endswith("worker") else digest] if is_app else []
            lines.append(f"{service} {'yes' if runs == image else 'no'} {json.dumps(bundles)}")
        return "\n".join([*lines, f'page 200 {{"status": "ready", "bundle": "{digest}"}}', ""])


def _describe(name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service of a Compose file as Docker describes it."""
    container = {
        "Image": definition["image"],
        "Labels": dict(definition["labels"]),
        "Secrets": [{"SecretName": secret["source"]} for secret in definition.get("secrets", ())],
    }
    replicas = definition["deploy"].get("replicas")
    spec = {
        "Name": f"{STACK_NAME}_{name}",
        "Labels": {STACK_LABEL: definition["deploy"]["labels"][STACK_LABEL]},
        "TaskTemplate": {"ContainerSpec": container},
        "Mode": {"Replicated": {"Replicas": replicas}} if replicas else {"Global": {}},
    }
    return {"ID": name, "Spec": spec}


def _label(service: Mapping[str, Any]) -> str:
    return str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Labels"][SERVICE_LABEL])


def _status(state: str, why: str = "") -> dict[str, str]:
    return {"State": state, "Timestamp": "2026-03-01T12:00:00Z", "Err": why}

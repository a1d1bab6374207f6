"""A Swarm of two real hosts, a desk to deliver to it from, and visitors who never stop asking."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.manifest import MANIFEST, write_manifest
from stargaze.config import DeploySection
from stargaze.serve.release import signing
from stargaze.store import Store
from tests.labs.hosts.lab import FOLDER, Host, Lab
from tests.labs.hosts.wheelhouse import fill

PROJECT = Path(__file__).parent.parent.parent.parent
IMAGES = PROJECT / "tests" / "labs" / "images"
NET = "10.80.0"
ADDRESSES = {"production1": f"{NET}.21", "production2": f"{NET}.22"}
PORT = 8000
CONFIG = """
[deploy]
to = "swarm"
publish_mode = "host"     # the kernel of the lab has no IPVS, which one port for all nodes and virtual addresses want
endpoint_mode = "dnsrr"
timeout = 240

[serve]
github_lookup = false
web_processes = 1
rate_limit = 0
cache_ttl = 0
time_limit = 60

[screening]
build_options = ["--network=host"]

[infra]
provider = "static"
host_keys = "first-use"
key_file = "{key}"
page_port = {port}
ssh_from = ["{net}.254/32"]

[infra.hosts]
production1 = "debian@{net}.21"
production2 = "debian@{net}.22"

[infra.ansible_variables]
base_time_sync = "false"
stargaze_wheelhouse = "{wheelhouse}"
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """What it answered, where that is JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Desk:
    """Somebody's folder, with a config and a store."""

    folder: Path
    hosts: dict[str, Host]
    a: str
    b: str
    bad: str

    @property
    def store(self) -> Store:
        """Where everything lies."""
        return Store(self.folder / "store")

    def type(self, *words: str, code: int | None = 0, **variables: str) -> Ended:
        """Run a command as its user does."""
        done = subprocess.run(
            [sys.executable, "-m", "stargaze", *words],
            cwd=self.folder,
            env={**os.environ, "NO_COLOR": "1", **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    @property
    def manager(self) -> Host:
        """The host that manages the Swarm."""
        return self.hosts["production1"]

    def serving(self) -> dict[str, str]:
        """Return with which bundle the page of each host is ready; empty where it is not."""
        return {name: ready(host.address) for name, host in self.hosts.items()}

    def tasks(self) -> set[str]:
        """Return the numbers of all tasks that run: a service that was rolled has others."""
        names = self.manager.run("docker", "stack", "services", "--quiet", "stargaze").stdout.split()
        words = ["docker", "service", "ps", "--quiet", "--filter=desired-state=running", *names]
        return set(self.manager.run(*words).stdout.split())


def ready(address: str) -> str:
    """Return the bundle that a page says it is ready with."""
    connection = http.client.HTTPConnection(address, PORT, timeout=5)
    with contextlib.suppress(OSError, ValueError), contextlib.closing(connection):
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return str(json.loads(answer.read()).get("bundle", "")) if answer.status == 200 else ""
    return ""


@pytest.fixture(scope="session")
def images() -> None:
    """The images of other people that the stack asks for, made of Debian's packages: the lab reaches no registry."""
    for name, folder in (("rabbitmq:3.13-management", "rabbitmq"), ("redis:7", "redis")):
        there = subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False)
        if there.returncode:
            subprocess.run(
                ["docker", "build", "--quiet", "--network=host", f"--tag={name}", IMAGES / folder], check=True
            )


def changed(folder: Path, bundles: Path, **meta: Any) -> str:
    """Make another bundle of one: with other words in its description, and sums that are right."""
    making = bundles / "making"
    shutil.copytree(folder, making)
    (making / MANIFEST).unlink()
    described = json.loads((making / "bundle.json").read_text())
    (making / "bundle.json").write_text(json.dumps({**described, **meta}))
    digest = write_manifest(making)
    making.rename(bundles / digest)
    return digest


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path, images: None) -> Iterator[Desk]:
    """Two hosts, configured by the project's own playbooks, and three bundles: two good ones, and one that predicts falsely.

    With STARGAZE_KEEP_LAB=FOLDER hosts and desk stay, and are taken up again by the next run.
    """
    kept = os.environ.get("STARGAZE_KEEP_LAB")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("desk")
    store, lab = Store(folder / "store"), Lab(prefix="sgd", mine=(f"{NET}.254/24",))
    again = (folder / "bundles.json").is_file()
    try:
        if not again:
            furnish(folder, store, bundle_folder)
            boot(lab, folder)
        hosts = {host.name: host for host in lab.hosts()}
        made = Desk(folder, hosts, *json.loads((folder / "bundles.json").read_text()))
        if not again:
            made.type("infra", "configure")
        yield made
    finally:
        if not kept:
            lab.remove()


def furnish(folder: Path, store: Store, bundle_folder: Path) -> None:
    """Write the config, and make a key and bundles."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / "key"], check=True)
    (folder / "stargaze.toml").write_text(
        CONFIG.format(key=folder / "key", port=PORT, net=NET, wheelhouse=FOLDER / "wheelhouse")
    )
    store.bundles.mkdir(parents=True)
    signing.allow(signing.signing_key(DeploySection(), store), store)
    (folder / "bundles.json").write_text(json.dumps(bundles_of(bundle_folder, store)))


def boot(lab: Lab, folder: Path) -> None:
    """Boot the hosts."""
    lab.remove()  # what a killed run left
    lab.prepare()
    fill(FOLDER / "wheelhouse", FOLDER / "template")
    public = (folder / "key.pub").read_text()
    for host in [lab.boot(name, f"{address}/24", public) for name, address in ADDRESSES.items()]:
        host.wait()


def bundles_of(folder: Path, store: Store) -> tuple[str, str, str]:
    """Put three bundles into a store."""
    shutil.copytree(folder, store.bundles / folder.name)
    described = json.loads((folder / "bundle.json").read_text())
    false = {policy: [value + 1 for value in said] for policy, said in described["prototype"]["predicted"].items()}
    prototype = {**described["prototype"], "predicted": false}
    b = changed(folder, store.bundles, made_at="2026-03-02T12:00:00+00:00")
    return folder.name, b, changed(folder, store.bundles, prototype=prototype)


class Load:
    """Visitors in a process of their own."""

    def __init__(self, desk: Desk, rate: float) -> None:
        names, self._log = desk.folder / "names", desk.folder / "load.log"
        known = pd.read_parquet(desk.store.bundles / desk.a / "known.parquet", columns=["full_name"])
        names.write_text("\n".join(known["full_name"].head(500)))
        hosts = [f"{address}:{PORT}" for address in ADDRESSES.values()]
        command = [sys.executable, "-P", "-m", "stargaze.serve.swarm.load_generator", str(rate), str(names), *hosts]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self) -> dict[str, Any]:
        """Stop asking, wait for the answers, and return the counts."""
        said, _ = self._process.communicate(timeout=300)
        found: dict[str, Any] = json.loads(said)
        with self._log.open("a") as log:
            log.write(f"{os.environ.get('PYTEST_CURRENT_TEST', '')}: {said}")
        return found


@pytest.fixture
def load(desk: Desk) -> Iterator[Load]:
    """About fifty questions a second, from before the test's first step on."""
    visitors = Load(desk, float(os.environ.get("STARGAZE_LOAD", "50")))
    try:
        yield visitors
    finally:
        if visitors._process.poll() is None:
            visitors._process.kill()
            visitors._process.wait()

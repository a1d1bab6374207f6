"""A Swarm of two hosts, a workspace from which releases are deployed to it, and a load generator."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.manifest import MANIFEST, write_manifest
from stargaze.config import DeploySection
from stargaze.serve.release.repository import allow_signer, signing_key
from stargaze.store import Store
from tests.integration.commands import CommandResult
from tests.integration.hosts_lab import MEMBERS, TEST_MACHINE, Cluster
from tests.labs.hosts.lab import Host
from tests.labs.hosts.wheelhouse import WHEELHOUSE
from tests.servers import ROOT

PROJECT = Path(__file__).parent.parent.parent.parent
IMAGES = PROJECT / "tests" / "labs" / "images"
ADDRESSES = {name: MEMBERS[name] for name in ("production1", "production2")}
HOSTS = {"orchestration": MEMBERS["orchestration"], **ADDRESSES}
PORT = 8000
CONFIG = """
[deploy]
to = "swarm"
publish_mode = "host"     # the kernel of the lab has no IPVS, which routing meshes and virtual addresses need
endpoint_mode = "dnsrr"
encrypt_networks = false  # nor ESP, which IPsec needs
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
ssh_from = ["{test_machine}/32"]

[infra.hosts]
orchestration = "debian@{orchestration}"
production1 = "debian@{production1}"
production2 = "debian@{production2}"

[infra.ansible_variables]
base_time_sync = "false"
swarm_page_sources = '["{test_machine}"]'  # the load of the tests asks the nodes themselves, and tries the other one like a proxy
stargaze_wheelhouse = "{wheelhouse}"
"""


@dataclass(frozen=True)
class Workspace:
    """A folder with config and store, from which two good bundles and a bad one can be deployed."""

    folder: Path
    hosts: dict[str, Host]
    a: str
    b: str
    bad: str

    @property
    def store(self) -> Store:
        """The store in the folder."""
        return Store(self.folder / "store")

    @property
    def key(self) -> Path:
        """The ssh key that the config names."""
        return Path(tomllib.loads((self.folder / "stargaze.toml").read_text())["infra"]["key_file"])

    @contextlib.contextmanager
    def started(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command in the background; kill it at the end if it still runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stargaze", *argv],
            cwd=self.folder,
            env={**os.environ, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def run(self, *argv: str, code: int | None = 0, **variables: str) -> CommandResult:
        """Run a command as a user does, and compare its exit code."""
        completed = subprocess.run(
            [sys.executable, "-m", "stargaze", *argv],
            cwd=self.folder,
            env={**os.environ, "NO_COLOR": "1", **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert code is None or completed.returncode == code, completed.stdout + completed.stderr
        return CommandResult(completed.returncode, completed.stdout, completed.stderr)

    @property
    def manager(self) -> Host:
        """The host that manages the Swarm."""
        return self.hosts["production1"]

    def served_bundles(self) -> dict[str, str]:
        """Return the bundle that the page of each host serves; empty where the page is not ready."""
        return {name: served_bundle(host.address) for name, host in self.hosts.items()}

    def tasks(self) -> set[str]:
        """Return the ids of all running tasks: a service that was updated has new ones."""
        names = self.manager.run("docker", "stack", "services", "--quiet", "stargaze").stdout.split()
        argv = ["docker", "service", "ps", "--quiet", "--filter=desired-state=running", *names]
        return set(self.manager.run(*argv).stdout.split())


def served_bundle(address: str) -> str:
    """Return the bundle that a page is ready to serve, or nothing."""
    connection = http.client.HTTPConnection(address, PORT, timeout=5)
    with contextlib.suppress(OSError, ValueError), contextlib.closing(connection):
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return str(json.loads(answer.read()).get("bundle", "")) if answer.status == 200 else ""
    return ""


@pytest.fixture(scope="session")
def images() -> None:
    """Build the images of RabbitMQ and Redis from Debian packages: the lab reaches no registry."""
    section = DeploySection()
    names = {section.broker_image: "rabbitmq", section.results_image: "redis"}
    if all(
        subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0
        for name in names
    ):
        return
    archive = f"tar -c -C {shlex.quote(str(ROOT))} . | docker import - stargaze-servers"
    subprocess.run(["bash", "-euo", "pipefail", "-c", archive], stdout=subprocess.DEVNULL, check=True)
    for name, folder in names.items():
        subprocess.run(["docker", "build", "--quiet", f"--tag={name}", IMAGES / folder], check=True)


def copy_bundle(folder: Path, bundles: Path, **meta: Any) -> str:
    """Copy a bundle with changed metadata and a valid manifest; return its digest."""
    draft = bundles / "draft"
    shutil.copytree(folder, draft)
    (draft / MANIFEST).unlink()
    before = json.loads((draft / "bundle.json").read_text())
    (draft / "bundle.json").write_text(json.dumps({**before, **meta}))
    digest = write_manifest(draft)
    draft.rename(bundles / digest)
    return digest


@pytest.fixture(scope="session")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path, images: None, cluster_lab: Cluster
) -> Workspace:
    """Proxy and production hosts of the cluster, configured for deliveries from this workspace; the other hosts are removed.

    With STARGAZE_KEEP_LAB=FOLDER the workspace stays, and the next run uses it again.
    """
    keep = os.environ.get("STARGAZE_KEEP_LAB")
    folder = Path(keep) / "workspace" if keep else tmp_path_factory.mktemp("workspace")
    is_new = not (folder / "bundles.json").is_file()
    if is_new:
        prepare_workspace(folder, bundle_folder, cluster_lab.key)
        prepare_hosts(cluster_lab)
    hosts = {name: cluster_lab.hosts[name] for name in ADDRESSES}
    workspace = Workspace(folder, hosts, *json.loads((folder / "bundles.json").read_text()))
    if is_new:
        workspace.run("infra", "configure")
    return workspace


def prepare_workspace(folder: Path, bundle_folder: Path, key: Path) -> None:
    """Write the config, and create a signing key and bundles."""
    folder.mkdir(exist_ok=True, parents=True)
    store = Store(folder / "store")
    (folder / "stargaze.toml").write_text(
        CONFIG.format(key=key, port=PORT, test_machine=TEST_MACHINE, wheelhouse=WHEELHOUSE, **HOSTS)
    )
    store.bundles.mkdir(parents=True)
    allow_signer(signing_key(DeploySection(), store), store)
    (folder / "bundles.json").write_text(json.dumps(create_bundles(bundle_folder, store)))


def prepare_hosts(cluster: Cluster) -> None:
    """Boot proxy and production hosts if the tests of the playbooks have not; otherwise delete the releases that they left."""
    for name in [name for name in cluster.hosts if name not in HOSTS]:
        cluster.hosts.pop(name).remove()
    for host in cluster.hosts.values():
        host.run("rm", "-rf", "/srv/stargaze")
    cluster.boot(*(name for name in HOSTS if name not in cluster.hosts))


def create_bundles(folder: Path, store: Store) -> tuple[str, str, str]:
    """Store two good bundles, and one whose models do not predict its prototype row."""
    shutil.copytree(folder, store.bundles / folder.name)
    meta = json.loads((folder / "bundle.json").read_text())
    wrong = {policy: [value + 1 for value in values] for policy, values in meta["prototype"]["predicted"].items()}
    prototype = {**meta["prototype"], "predicted": wrong}
    b = copy_bundle(folder, store.bundles, version="a later one")
    return folder.name, b, copy_bundle(folder, store.bundles, prototype=prototype)


class Load:
    """The load generator, in a process of its own."""

    def __init__(self, workspace: Workspace, rate: float) -> None:
        names, self._log = workspace.folder / "names", workspace.folder / "load.log"
        known = pd.read_parquet(workspace.store.bundles / workspace.a / "known.parquet", columns=["full_name"])
        names.write_text("\n".join(known["full_name"].head(500)))
        hosts = [f"{address}:{PORT}" for address in ADDRESSES.values()]
        command = [sys.executable, "-P", "-m", "stargaze.serve.swarm.load_generator", str(rate), str(names), *hosts]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self) -> dict[str, Any]:
        """Send no more requests, wait for the answers, and return the counts."""
        output, _ = self._process.communicate(timeout=300)
        counts: dict[str, Any] = json.loads(output)
        with self._log.open("a") as log:
            log.write(f"{os.environ.get('PYTEST_CURRENT_TEST', '')}: {output}")
        return counts


@pytest.fixture
def load(workspace: Workspace) -> Iterator[Load]:
    """About fifty requests per second, from before the first step of the test."""
    generator = Load(workspace, float(os.environ.get("STARGAZE_LOAD", "50")))
    try:
        yield generator
    finally:
        if generator._process.poll() is None:
            generator._process.kill()
            generator._process.wait()

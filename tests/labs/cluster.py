"""A cluster as the playbooks leave it, of processes on loopback: two Ray nodes of one core each, the head behind a real sshd.

Needs no root. What lies below ``/opt/stargaze``, ``/etc/stargaze`` and ``/var/lib/ray`` on such a machine lies below a folder
here: a word in front of each command that ssh brings says so to the shell.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.waiting import wait_for

BIN = Path(sys.prefix, "bin")
HEAD, WORKER = "127.0.0.2", "127.0.0.3"
"""Ray takes 127.0.0.1 for this machine's outer address; its neighbours are addresses like any other."""
WITH_US = ("setpriv", "--pdeathsig", "TERM")
"""A program that ends with this process, however that ends; a node that is ended so ends all that it started."""
ENTER = """#!/bin/sh
line=$(printf '%s' "$SSH_ORIGINAL_COMMAND" | sed -e 's#^\\(sudo -n \\)\\?runuser -u ray -- ##' \
    -e 's#/opt/stargaze/#{root}/opt/stargaze/#g; s#/etc/stargaze/#{root}/etc/stargaze/#g; s#/var/lib/ray#{root}/ray#g' \
    -e 's#http://127.0.0.1:8265#http://127.0.0.1:{dashboard}#')
exec sh -c "$line"
"""
SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {root}/host
AuthorizedKeysFile {root}/user.pub
ForceCommand {root}/enter
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Node:
    """A Ray node: ``ray start`` and all that it started."""

    address: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as a power cut does: all of its processes at once, without a word."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def pids(self) -> list[int]:
        """Return its processes: those of its session, and workers, which begin sessions of their own, by their parents."""
        parents = dict[int, int]()
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found


@dataclass
class Cluster:
    """A head behind ssh, and workers."""

    root: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    gcs: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    ssh: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str]:
        """What the user's commands run in: an ssh that finds the port, as all else is told by the project itself."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STARGAZE_", "RAY_"))}
        return {**clean, "PATH": f"{self.root}/client:{os.environ['PATH']}", "XDG_CONFIG_HOME": str(self.root)}

    @property
    def config(self) -> str:
        """The part of ``stargaze.toml`` that names the machines."""
        return (
            f'[infra]\nprovider = "static"\nhost_keys = "first-use"\nkey_file = "{self.root}/user"\n'
            f'[infra.hosts]\ndevelopment = "{getpass.getuser()}@127.0.0.1"\n'
        )

    def start_worker(self) -> Node:
        """Let a second node join."""
        return self._start(WORKER, "--address", f"{HEAD}:{self.gcs}")

    def alive(self) -> list[str]:
        """Return the addresses of the nodes that Ray takes for alive."""
        members = Path(__file__).parent.parent.parent / "ansible" / "roles" / "ray" / "files" / "members.py"
        done = subprocess.run(
            [BIN / "python", members, f"{HEAD}:{self.gcs}"],
            env=self._ray(),
            capture_output=True,
            text=True,
            check=False,
        )
        return sorted(done.stdout.split())

    def _start(self, address: str, *words: str) -> Node:
        command = [*_kept(address), BIN / "ray", "start", "--block", "--disable-usage-stats", "--num-cpus=1", *words]
        command += [f"--node-ip-address={address}", f"--dashboard-agent-listen-port={free_port()}"]
        command += ["--object-store-memory=200000000"]
        with (self.root / f"{address}.log").open("ab") as log:
            process = subprocess.Popen(command, env=self._ray(), stdout=log, stderr=log, start_new_session=True)
        node = self.nodes[address] = Node(address, process)
        wait_for(lambda: address in self.alive(), 120)
        return node

    def _start_head(self) -> None:
        place = ("--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard}")
        self._start(HEAD, "--head", f"--port={self.gcs}", *place)

    def _ray(self) -> dict[str, str]:
        lines = (self.root / "etc/stargaze/ray.env").read_text().splitlines()
        settings = dict(line.split("=", 1) for line in lines)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STARGAZE_", "RAY_"))}
        return {**clean, **settings, "PYTHONWARNINGS": "ignore"}


@contextlib.contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    """Start a head and its ssh server; at the end all nodes are ended. ``settings`` are more lines of ``ray.env``."""
    made = Cluster(Path(tempfile.mkdtemp(prefix="sgc-", dir="/tmp")))  # short: Ray's sockets lie below
    sshd = None
    try:
        _furnish(made, settings)
        sshd = _sshd(made)
        made._start_head()
        yield made
    finally:
        for node in made.nodes.values():
            node.kill()
        if sshd is not None:
            sshd.terminate()
            sshd.wait()
        if not os.environ.get("KEEP_CLUSTER"):
            shutil.rmtree(made.root, ignore_errors=True)


def _furnish(made: Cluster, settings: Mapping[str, str]) -> None:
    root = made.root
    for folder in ("opt/stargaze/bin", "etc/stargaze", "ray", "client"):
        (root / folder).mkdir(parents=True)
    _script(root / "opt/stargaze/bin/python", f'#!/bin/sh\nexec {BIN}/python "$@"\n')
    _script(root / "client/ssh", f'#!/bin/sh\nexec {shutil.which("ssh")} -p {made.ssh} "$@"\n')
    _script(root / "enter", ENTER.format(root=root, dashboard=made.dashboard))
    token = root / "etc/stargaze/ray_token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    values = {
        "RAY_ADDRESS": f"{HEAD}:{made.gcs}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(root / "ray"),
        "RAY_USAGE_STATS_ENABLED": "0",
        **settings,
    }
    (root / "etc/stargaze/ray.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


def _sshd(made: Cluster) -> subprocess.Popen[bytes]:
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", made.root / name], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it confines itself
    (made.root / "sshd_config").write_text(SSHD.format(port=made.ssh, root=made.root))
    with (made.root / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen([*WITH_US, "/usr/sbin/sshd", "-D", "-e", "-f", made.root / "sshd_config"], stderr=log)
    wait_for(lambda: _answers(made.ssh))
    return sshd


def _kept(address: str) -> list[str]:
    """Keep a node to a core of its own: what it borrowed of another's would be taken for its own speed."""
    cores = sorted(os.sched_getaffinity(0))
    core = cores[(HEAD, WORKER).index(address) % len(cores)]
    return [*WITH_US, "taskset", "--cpu-list", str(core)]


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)

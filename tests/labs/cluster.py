"""A cluster like a configured one, from processes on loopback: two Ray nodes of one core each, the head behind a real sshd.

It needs no root. ``/opt/stargaze``, ``/etc/stargaze`` and ``/var/lib/ray`` of a configured machine are folders below a temporary
one: the forced command of the ssh server replaces these paths in each command.
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
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import stargaze
from tests.isolation import FIXTURE_PROCESSES
from tests.waiting import wait_for

BIN = Path(sys.prefix, "bin")
HEAD, WORKER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Ray replaces 127.0.0.1 by the external address of this machine, but not other loopback addresses."""
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")
"""Prefix of a command that ends with this process; a Ray node stops its own processes then."""
FORCED_COMMAND = """#!/bin/sh
[ ! -f '{root}/startup' ] || . '{root}/startup'
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
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Node:
    """A Ray node: ``ray start`` and its child processes."""

    address: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Kill all of its processes at once, as a power cut does."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def pids(self) -> list[int]:
        """Return the pids of the node: all descendants, as workers have sessions of their own."""
        parents = dict[int, int]()
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        pids = [self.process.pid]
        for pid in pids:
            pids += [child for child, parent in parents.items() if parent == pid]
        return pids


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
        """Environment of commands: an ssh with the port of the server comes first in PATH."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STARGAZE_", "RAY_"))}
        return {**clean, "PATH": f"{self.root}/client:{os.environ['PATH']}", "XDG_CONFIG_HOME": str(self.root)}

    @property
    def config(self) -> str:
        """The section of ``stargaze.toml`` that names the machines."""
        return (
            f'[infra]\nprovider = "static"\nhost_keys = "first-use"\nkey_file = "{self.root}/user"\n'
            f'[infra.hosts]\ndevelopment = "{getpass.getuser()}@127.0.0.1"\n'
        )

    @property
    def startup(self) -> Path:
        """The start-up file of the login shell; it does not exist yet."""
        return self.root / "startup"

    def start_worker(self, address: str = WORKER, python: Path | None = None) -> Node:
        """Start a node besides the head; another ``python`` has other software."""
        return self._start(address, "--address", f"{HEAD}:{self.gcs}", python=python)

    def start_head(self, cpus: int = 1) -> Node:
        """Start the head, also again after it was killed; nodes that were there before do not join the new one."""
        place = ("--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard}")
        return self._start(HEAD, "--head", f"--port={self.gcs}", *place, cpus=cpus)

    def alive(self) -> list[str]:
        """Return the addresses of the nodes that are alive according to Ray."""
        members = Path(__file__).parent.parent.parent / "ansible" / "roles" / "ray" / "files" / "members.py"
        done = subprocess.run(
            [BIN / "python", members, f"{HEAD}:{self.gcs}"],
            env=self._ray(),
            capture_output=True,
            text=True,
            check=False,
        )
        return sorted(done.stdout.split())

    def _start(self, address: str, *argv: str, cpus: int = 1, python: Path | None = None) -> Node:
        program = [*_pinned(address), python or BIN / "python", BIN / "ray", "start"]
        command = [*program, "--block", "--disable-usage-stats", f"--num-cpus={cpus}", *argv]
        command += [f"--node-ip-address={address}", f"--dashboard-agent-listen-port={free_port()}"]
        command += ["--object-store-memory=200000000"]
        with (self.root / f"{address}.log").open("ab") as log:
            process = subprocess.Popen(command, env=self._ray(), stdout=log, stderr=log, start_new_session=True)
        FIXTURE_PROCESSES.add(process.pid)
        node = self.nodes[address] = Node(address, process)
        wait_for(lambda: address in self.alive(), 120)
        return node

    def _ray(self) -> dict[str, str]:
        lines = (self.root / "etc/stargaze/ray.env").read_text().splitlines()
        settings = dict(line.split("=", 1) for line in lines)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STARGAZE_", "RAY_"))}
        # Ray's account has a home that cannot be written.
        return {**clean, **settings, "HOME": "/proc/no-home", "PYTHONWARNINGS": "ignore"}


@contextlib.contextmanager
def cluster(*, cpus: int = 1, **settings: str) -> Iterator[Cluster]:
    """Start a head and its ssh server; stop all nodes at the end. ``settings`` are more lines of ``ray.env``."""
    lab = Cluster(
        Path(tempfile.mkdtemp(prefix="sgc-", dir="/tmp"))
    )  # short, as it is part of the paths of Ray's sockets
    sshd = None
    try:
        _create_files(lab, settings)
        sshd = _sshd(lab)
        lab.start_head(cpus)
        yield lab
    finally:
        for node in lab.nodes.values():
            node.kill()
        if sshd is not None:
            sshd.terminate()
            sshd.wait()
        if not os.environ.get("KEEP_CLUSTER"):
            shutil.rmtree(lab.root, ignore_errors=True)


def other_software(folder: Path) -> Path:
    """Return a Python whose stargaze differs from that of this process in one comment."""
    package = Path(stargaze.__file__).parent
    shutil.copytree(package, folder / "code" / "stargaze", ignore=shutil.ignore_patterns("__pycache__", "data"))
    module = folder / "code" / "stargaze" / "__init__.py"
    module.write_text(module.read_text(encoding="utf-8") + "# another version\n", encoding="utf-8")
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("*/site-packages")
    paths = [str(folder / "code"), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "other.pth").write_text("\n".join(paths) + "\n")
    return folder / "venv" / "bin" / "python"


def _create_files(lab: Cluster, settings: Mapping[str, str]) -> None:
    root = lab.root
    for folder in ("opt/stargaze/bin", "etc/stargaze", "ray", "client"):
        (root / folder).mkdir(parents=True)
    _script(root / "opt/stargaze/bin/python", f'#!/bin/sh\nexec {BIN}/python "$@"\n')
    _script(root / "client/ssh", f'#!/bin/sh\nexec {shutil.which("ssh")} -p {lab.ssh} "$@"\n')
    _script(root / "enter", FORCED_COMMAND.format(root=root, dashboard=lab.dashboard))
    token = root / "etc/stargaze/ray_token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    values = {
        "RAY_ADDRESS": f"{HEAD}:{lab.gcs}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(root / "ray"),
        "RAY_USAGE_STATS_ENABLED": "0",
        **settings,
    }
    (root / "etc/stargaze/ray.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


def _sshd(lab: Cluster) -> subprocess.Popen[bytes]:
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", lab.root / name], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd needs it
    (lab.root / "sshd_config").write_text(SSHD.format(port=lab.ssh, root=lab.root))
    with (lab.root / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen(
            [*DIE_WITH_PARENT, "/usr/sbin/sshd", "-D", "-e", "-f", lab.root / "sshd_config"], stderr=log
        )
    wait_for(lambda: _accepts_connections(lab.ssh))
    return sshd


def _pinned(address: str) -> list[str]:
    """Bind a node to one core, so that its speed does not depend on the load of the other."""
    cores = sorted(os.sched_getaffinity(0))
    core = cores[(HEAD, WORKER, THIRD).index(address) % len(cores)]
    return [*DIE_WITH_PARENT, "taskset", "--cpu-list", str(core)]


def _accepts_connections(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)

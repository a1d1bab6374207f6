"""A real RabbitMQ and a real Redis on loopback, each with its own folder, port and password; stopped by their pids.

They run in the versions, and with the TLS and the rights, that production has, inside the small Debian of `tools/servers.sh`
(their folder is mounted there).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stargaze.serve.stack.backing_services import broker_definitions, broker_tls_config, redis_config
from stargaze.serve.stack.certificates import Certificates, issue_certificates
from stargaze.serve.stack.secret_versions import sha256_hex
from tests.isolation import FIXTURE_PROCESSES

START_TIMEOUT = 60.0
"""Timeout for the start of a server on a slow machine [s]."""
ROOT = Path(os.environ.get("STARGAZE_SERVERS", Path(__file__).parent.parent / ".servers")) / "root"
"""The Debian that contains the servers."""
PREVIOUS_ROOT = ROOT.parent.with_name(f"{ROOT.parent.name}-previous") / "root"
"""The one with the release of RabbitMQ from which the upgrade is tested."""
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
RABBITMQCTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
"""Debian's inner scripts; the outer ones change the user."""
ADMIN_PASSWORD = "admin of the tests"
INSIDE = "/mnt"
"""Where a server finds its folder."""
ENTER = """
set -e
mount --bind "$1" "$2/mnt"
for folder in dev proc; do mount --rbind "/$folder" "$2/$folder"; done
mount -t tmpfs tmpfs "$2/tmp"
root=$2; shift 2; exec chroot "$root" sh -c 'cd /mnt && exec "$@"' - "$@"
"""


@dataclass
class Server:
    """A program that listens on a port of 127.0.0.1; it can be killed and restarted with its data."""

    command: list[str]
    port: int
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    wait_until_ready: Callable[[int], None] = lambda _port: None
    process: subprocess.Popen[bytes] | None = None
    root: Path = ROOT

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "stargaze.system.die_with_parent",
                    str(os.getpid()),
                    *self._enter(),
                    *self.command,
                ],
                env={**os.environ, **self.environment},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        FIXTURE_PROCESSES.add(self.process.pid)
        deadline = time.monotonic() + START_TIMEOUT
        while not _listens(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command[0]} did not start:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)
        self.wait_until_ready(self.port)

    def run(self, *command: str) -> None:
        """Run a command with its files and environment."""
        subprocess.run([*self._enter(), *command], env={**os.environ, **self.environment}, check=True, timeout=60)

    def _enter(self) -> list[str]:
        """Return the command that runs another one inside, where mounts are visible to its children only."""
        return [
            "/usr/bin/unshare",
            "--mount",
            "--propagation=private",
            "sh",
            "-c",
            ENTER,
            "-",
            str(self.folder),
            str(self.root),
        ]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and its children by a signal to their process group."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        try:
            self.process.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        FIXTURE_PROCESSES.discard(self.process.pid)
        self.process = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and its children: SIGSTOP makes it unresponsive without closing connections."""
        assert self.process is not None
        group = self.process.pid
        os.killpg(group, number)
        while number == signal.SIGSTOP and not all(_is_stopped(process) for process in _members(group)):
            time.sleep(0.01)


@dataclass(frozen=True)
class Servers:
    """A broker and a result store, their URLs for the config, and the environment with the password files."""

    broker: Server
    results: Server
    broker_url: str
    results_url: str
    environment: Mapping[str, str]


@contextlib.contextmanager
def servers(folder: Path, broker_root: Path = ROOT) -> Iterator[Servers]:
    """Start both servers, and stop them after the block."""
    for root in (ROOT, broker_root):
        if not root.is_dir():
            raise RuntimeError(f"{root} is missing: sh tools/servers.sh {root.parent}")
    with contextlib.ExitStack() as stack:
        password = secrets.token_urlsafe(12)
        password_file, ca_file = folder / "password", folder / "ca"
        password_file.write_text(password + "\n")
        issued = issue_certificates("tests", {"broker": ["localhost"], "results": ["localhost"]})
        ca_file.write_bytes(issued.ca)
        epmd, broker = _rabbitmq(folder / "rabbitmq", password, issued, broker_root)
        results = _redis(folder / "redis", password, issued)
        for server in (epmd, broker, results):
            stack.callback(server.stop)
            server.start()
        environment = {
            "STARGAZE_BROKER_PASSWORD_FILE": str(password_file),
            "STARGAZE_RESULTS_PASSWORD_FILE": str(password_file),
            "STARGAZE_CA_FILES": str(ca_file),
        }
        yield Servers(
            broker,
            results,
            f"amqps://stargaze_1@localhost:{broker.port}/stargaze",
            f"rediss://stargaze_1@localhost:{results.port}/0",
            environment,
        )


def broker_version(root: Path) -> tuple[int, ...]:
    """Return major and minor version of the RabbitMQ in a Debian."""
    (folder,) = (root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")
    return tuple(int(part) for part in folder.name.partition("-")[2].split(".")[:2])


def _rabbitmq(folder: Path, password: str, issued: Certificates, root: Path) -> tuple[Server, Server]:
    _write_certificates(folder, "broker", issued)
    (folder / "epmd").mkdir()
    port, dist_port, epmd_port = _free_port(), _free_port(), _free_port()
    (folder / "definitions.json").write_bytes(broker_definitions(1, password))
    lines = [
        "disk_free_limit.absolute = 50MB",
        "vm_memory_high_watermark.absolute = 1GB",
        *broker_tls_config(INSIDE),
        "",
    ]
    text = "\n".join(lines).replace("listeners.ssl.default = 5671", f"listeners.ssl.1 = 127.0.0.1:{port}")
    (folder / "rabbitmq.conf").write_text(text)
    (folder / "enabled").write_text("[].\n")
    environment = {
        "HOME": INSIDE,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "RABBITMQ_NODENAME": f"stargaze{port}@localhost",
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_CONFIG_FILE": f"{INSIDE}/rabbitmq.conf",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{INSIDE}/enabled",
        "RABBITMQ_MNESIA_BASE": f"{INSIDE}/data",
        "RABBITMQ_LOG_BASE": f"{INSIDE}/logs",
        "RABBITMQ_PID_FILE": f"{INSIDE}/pid",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    epmd = Server(["epmd", "-address", "127.0.0.1", "-port", str(epmd_port)], epmd_port, folder / "epmd")
    return epmd, Server([RABBITMQ], port, folder, environment, _wait_for_login, root=root)


def _redis(folder: Path, password: str, issued: Certificates) -> Server:
    _write_certificates(folder, "results", issued)
    port = _free_port()
    text = redis_config(1, sha256_hex(password.encode()), sha256_hex(ADMIN_PASSWORD.encode()), INSIDE).decode()
    text = text.replace("tls-port 6379", f"bind 127.0.0.1\ntls-port {port}\nsave ''").replace(
        "dir /data", f"dir {INSIDE}"
    )
    (folder / "redis.conf").write_text(text)
    return Server(["redis-server", "redis.conf"], port, folder)


def _write_certificates(folder: Path, service: str, issued: Certificates) -> None:
    folder.mkdir()
    (folder / "ca").write_bytes(issued.ca)
    (folder / f"{service}_cert").write_bytes(issued.certificates[service])
    (folder / f"{service}_key").write_bytes(issued.keys[service])


def _members(group: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _group(process) == group]


def _group(process: psutil.Process) -> int | None:
    with contextlib.suppress(OSError):
        return os.getpgid(process.pid)
    return None


def _is_stopped(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def _wait_for_login(port: int) -> None:
    """Wait until RabbitMQ responds: it accepts connections a moment earlier."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = context.wrap_socket(plain)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            if connection.recv(1):
                return
        time.sleep(0.1)
    raise RuntimeError("RabbitMQ does not respond")

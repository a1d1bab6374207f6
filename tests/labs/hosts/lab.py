"""Boot, power off and remove hosts. Their state is stored in a folder, so that any process can do it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.labs.hosts import groups
from tests.labs.hosts.network import Network

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent.parent
FOLDER = Path(os.environ.get("STARGAZE_HOSTS", PROJECT / ".hosts"))
"""Folder of the template and the disks: some gigabytes, on a file system that supports overlays."""
PAUSE = 0.05  # [s]
BANNER = 'read -r -t 1 -n 4 greeting <"/dev/tcp/$1/22" && printf "%s" "$greeting"'


@dataclass(frozen=True)
class Host:
    """One host, powered on or off."""

    name: str
    addresses: tuple[str, ...]
    folder: Path
    network: Network

    @property
    def address(self) -> str:
        """The first address, without the prefix length."""
        return self.addresses[0].partition("/")[0]

    @property
    def host_keys(self) -> list[str]:
        """Public keys of its ssh server, type and key each, as a `known_hosts` file has them."""
        files = sorted((self.folder / "upper" / "etc" / "ssh").glob("ssh_host_*_key.pub"))
        return [" ".join(file.read_text().split()[:2]) for file in files]

    @property
    def log(self) -> str:
        """Output of the boot; the journal of the host has the rest."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def first_process(self) -> int | None:
        """Pid of its process 1 on this machine; None while it is off."""
        return _child(self._starter())

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program on the host as root, without ssh, to inspect or to break something."""
        number = self.first_process
        if number is None:
            raise OSError(f"{self.name} is off")
        command = ["nsenter", f"--target={number}", "--all", "--", *argv]
        own = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}  # a host has its own engine
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=check, env=own)

    def kill(self) -> None:
        """Cut its power: all of its processes end at once, and its disk stays as it is."""
        number = self.first_process
        if number is not None:
            os.kill(number, signal.SIGKILL)
        _until(lambda: self._starter() is None, f"{self.name} does not end")

    def start(self) -> None:
        """Power it on with its disk and its addresses; do nothing if it is on."""
        if self.first_process is not None:
            return
        self.network.add_host(self.name, self.addresses)
        group = self.network.namespace(self.name)
        entries = [str(entry) for entry in groups.create(group)]
        (self.folder / "group").write_text(group)
        argv = ["nsenter", f"--net=/run/netns/{group}"]
        argv += ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--cgroup"]
        argv += [str(HERE / "first.sh"), str(self.folder), self.name, (self.folder / "layers").read_text()]
        # Not a child of this process: a host outlives the process that boots it.
        script = f'for group in {" ".join(entries)}; do echo $$ >"$group" || exit 1; done; exec "$@"'
        outer = f'sh -c "$0" - "$@" </dev/null >>{shlex.quote(str(self.folder / "log"))} 2>&1 & echo $!'
        done = subprocess.run(
            ["sh", "-c", outer, script, *argv], start_new_session=True, capture_output=True, text=True, check=True
        )
        (self.folder / "pid").write_text(done.stdout)

    def power_cycle(self) -> None:
        """Cut its power and power it on again."""
        self.kill()
        self.start()

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until its ssh server answers."""
        _until(self._answers, f"{self.name} does not answer at {self.address}:22\n{self.log[-2000:]}", seconds)

    def add_address(self, address: str) -> None:
        """Add an address (with its prefix length) while it runs, as a cloud does with a floating IP."""
        self.network.add_address(self.name, address)

    def remove_address(self, address: str) -> None:
        """Remove an address."""
        self.network.remove_address(self.name, address)

    def remove(self) -> None:
        """Power it off and delete it with its disk; do nothing if there is none."""
        self.kill()
        self.network.remove_host(self.name)
        groups.remove(self.network.namespace(self.name))
        _delete(self.folder)

    def _starter(self) -> int | None:
        """Return the pid of the process that waits for process 1; pids are reused, so its arguments are compared."""
        with contextlib.suppress(OSError, ValueError):
            number = int((self.folder / "pid").read_text())
            arguments = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            if str(self.folder).encode() in arguments:
                return number
        return None

    def _answers(self) -> bool:
        """Connect from the host itself: not every host has an address that this machine reaches."""
        with contextlib.suppress(OSError):
            return self.run("bash", "-c", BANNER, "-", self.address, check=False).stdout == "SSH-"
        return False


class Lab:
    """Hosts of one prefix on one switch. ``own`` are the addresses of this machine on it, with their prefix lengths."""

    def __init__(self, prefix: str = "sgz", own: Sequence[str] = ("10.78.0.254/24",), folder: Path = FOLDER) -> None:
        self.network = Network(prefix)
        self.own = tuple(own)
        self.folder = folder.resolve()
        self.hosts_folder = self.folder / f"hosts-{prefix}"

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no other checkout uses this prefix, and reserve it: names and addresses are global on this machine."""
        with Path("/run/lock", f"stargaze-{self.network.prefix}").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def prepare(self) -> None:
        """Create the template, if needed, and the switch."""
        subprocess.run(["sh", str(HERE / "template.sh"), str(self.folder)], check=True)
        self.network.create(self.own)

    def boot(
        self,
        name: str,
        address: str | Sequence[str],
        authorized_key: str,
        host_key: Path | None = None,
        layers: Sequence[Path] = (),
    ) -> Host:
        """Boot a host whose user ``debian`` accepts the key; it is on when this returns, its ssh server a second later.

        ``address`` has its prefix length, and may be several. ``host_key`` is the private key of the ssh server
        (its public key beside it); without it one is created. ``layers`` are read-only folders above the template.
        An existing host of that name is removed.
        """
        addresses = (address,) if isinstance(address, str) else tuple(address)
        host = Host(name, addresses, self.hosts_folder / name, self.network)
        host.remove()
        self.prepare()
        disk = host.folder / "upper"
        _write(disk / "home" / "debian" / ".ssh" / "authorized_keys", f"{authorized_key.strip()}\n")
        owner = (self.folder / "template" / "home" / "debian").stat()
        for path in (disk / "home" / "debian", *(disk / "home" / "debian").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
            path.chmod(0o700 if path.is_dir() else 0o600)
        _write(disk / "etc" / "hostname", f"{name}\n")
        _write(disk / "etc" / "hosts", f"127.0.0.1 localhost\n{host.address} {name}\n")
        # Without a name server, the engine would give its containers a public one.
        _write(disk / "etc" / "resolv.conf", f"nameserver {host.address}\n")
        _install_host_key(disk / "etc" / "ssh" / "ssh_host_ed25519_key", host_key)
        (host.folder / "layers").write_text(":".join(map(str, (*layers, self.folder / "template"))))
        (host.folder / "host.json").write_text(json.dumps({"addresses": addresses}))
        host.start()
        return host

    def hosts(self) -> list[Host]:
        """Return all hosts, on or off, also those that another process booted."""
        hosts = []
        for file in sorted(self.hosts_folder.glob("*/host.json")):
            addresses = tuple(json.loads(file.read_text())["addresses"])
            hosts.append(Host(file.parent.name, addresses, file.parent, self.network))
        return hosts

    def remove(self) -> None:
        """Delete all hosts and the switch; the template stays."""
        for host in self.hosts():
            host.remove()
        self.network.remove()
        _delete(self.hosts_folder)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _delete(folder: Path) -> None:
    """Move a folder away and delete it in the background, which takes a minute for the disk of a host."""
    if not folder.exists():
        return
    trash = tempfile.mkdtemp(prefix="trash-", dir=folder.parent)
    folder.rename(Path(trash, folder.name))
    subprocess.run(["sh", "-c", 'rm -rf "$0" >/dev/null 2>&1 &', trash], start_new_session=True, check=True)


def _install_host_key(path: Path, key: Path | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if key is None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    else:
        shutil.copy(key, path)
        shutil.copy(key.with_name(f"{key.name}.pub"), path.with_name(f"{path.name}.pub"))
    path.chmod(0o600)


def _child(number: int | None) -> int | None:
    if number is None:
        return None
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return int(children[0]) if children else None
    return None


def _until(condition: Callable[[], object], message: str, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(message)
        time.sleep(PAUSE)

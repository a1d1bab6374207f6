"""Boot, power off and remove hosts; all that is known of them lies in a folder, so that any process may do it."""

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
"""Where the template and the disks lie: some gigabytes, on a disk that overlays may be made on."""
PAUSE = 0.05  # [s]
GREETING = 'read -r -t 1 -n 4 greeting <"/dev/tcp/$1/22" && printf "%s" "$greeting"'


@dataclass(frozen=True)
class Host:
    """One host, on or off."""

    name: str
    addresses: tuple[str, ...]
    folder: Path
    network: Network

    @property
    def address(self) -> str:
        """Its first address, without the prefix length."""
        return self.addresses[0].partition("/")[0]

    @property
    def host_keys(self) -> list[str]:
        """Its ssh server's public keys, type and key each, as they stand in a list of known hosts."""
        files = sorted((self.folder / "upper" / "etc" / "ssh").glob("ssh_host_*_key.pub"))
        return [" ".join(file.read_text().split()[:2]) for file in files]

    @property
    def log(self) -> str:
        """What was said while it was switched on; its journal says the rest."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def first_process(self) -> int | None:
        """The number that its process 1 has out here, None when it is off."""
        return _child(self._starter())

    def run(self, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program on the host as root, past ssh: for what a test wants to know or to break."""
        number = self.first_process
        if number is None:
            raise OSError(f"{self.name} is off")
        argv = ["nsenter", f"--target={number}", "--all", "--", *words]
        own = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}  # a host has its own engine
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=check, env=own)

    def kill(self) -> None:
        """Cut its power: no process of it runs on, and its disk stays as it is."""
        number = self.first_process
        if number is not None:
            os.kill(number, signal.SIGKILL)
        _until(lambda: self._starter() is None, f"{self.name} does not end")

    def start(self) -> None:
        """Switch it on with the disk and the addresses that it has; do nothing if it is on."""
        if self.first_process is not None:
            return
        self.network.plug(self.name, self.addresses)
        group = self.network.namespace(self.name)
        entries = [str(entry) for entry in groups.make(group)]
        (self.folder / "group").write_text(group)
        words = ["nsenter", f"--net=/run/netns/{group}"]
        words += ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--cgroup"]
        words += [str(HERE / "first.sh"), str(self.folder), self.name, str(self.folder.parent.parent / "template")]
        # No child of this process: a host outlives whoever boots it.
        script = f'for group in {" ".join(entries)}; do echo $$ >"$group" || exit 1; done; exec "$@"'
        outer = f'sh -c "$0" - "$@" </dev/null >>{shlex.quote(str(self.folder / "log"))} 2>&1 & echo $!'
        done = subprocess.run(
            ["sh", "-c", outer, script, *words], start_new_session=True, capture_output=True, text=True, check=True
        )
        (self.folder / "pid").write_text(done.stdout)

    def power_cycle(self) -> None:
        """Cut its power and switch it on again."""
        self.kill()
        self.start()

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until its ssh server answers."""
        _until(self._answers, f"{self.name} does not answer at {self.address}:22\n{self.log[-2000:]}", seconds)

    def add_address(self, address: str) -> None:
        """Give it one more address (with its prefix length) while it runs, as a cloud does with a floating one."""
        self.network.add_address(self.name, address)

    def remove_address(self, address: str) -> None:
        """Take an address away."""
        self.network.remove_address(self.name, address)

    def remove(self) -> None:
        """Switch it off and forget it with its disk; do nothing if that is done."""
        self.kill()
        self.network.unplug(self.name)
        groups.remove(self.network.namespace(self.name))
        _discard(self.folder)

    def _starter(self) -> int | None:
        """Return the process that waits for process 1; its number may be another's by now, so its words are compared."""
        with contextlib.suppress(OSError, ValueError):
            number = int((self.folder / "pid").read_text())
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            if str(self.folder).encode() in words:
                return number
        return None

    def _answers(self) -> bool:
        """Ask from the host itself: not every host has an address that is reached from here."""
        with contextlib.suppress(OSError):
            return self.run("bash", "-c", GREETING, "-", self.address, check=False).stdout == "SSH-"
        return False


class Lab:
    """Hosts of one prefix on one switch. ``mine`` is what this machine is called on it, with its prefix length."""

    def __init__(self, prefix: str = "sgz", mine: Sequence[str] = ("10.78.0.254/24",), folder: Path = FOLDER) -> None:
        self.network = Network(prefix)
        self.mine = tuple(mine)
        self.folder = folder.resolve()
        self.hosts_folder = self.folder / f"hosts-{prefix}"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other checkout has a lab of this prefix, and keep it from one: names and addresses are the machine's."""
        with Path("/run/lock", f"stargaze-{self.network.prefix}").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def prepare(self) -> None:
        """Make the template, if needed, and the switch."""
        subprocess.run(["sh", str(HERE / "template.sh"), str(self.folder)], check=True)
        self.network.make(self.mine)

    def boot(self, name: str, address: str | Sequence[str], authorized_key: str, host_key: Path | None = None) -> Host:
        """Boot a host that the holder of the key reaches as ``debian``; it is on when this returns, ssh a second later.

        ``address`` has its prefix length, and may be several. ``host_key`` is the private key of the ssh server
        (its public half beside it); without it one is made. A host of that name that was there before is removed.
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
        # The engine would hand its containers a public server if there were none.
        _write(disk / "etc" / "resolv.conf", f"nameserver {host.address}\n")
        _give_host_key(disk / "etc" / "ssh" / "ssh_host_ed25519_key", host_key)
        (host.folder / "host.json").write_text(json.dumps({"addresses": addresses}))
        host.start()
        return host

    def hosts(self) -> list[Host]:
        """Return the hosts that there are, also those that another process booted, on or off."""
        found = []
        for file in sorted(self.hosts_folder.glob("*/host.json")):
            addresses = tuple(json.loads(file.read_text())["addresses"])
            found.append(Host(file.parent.name, addresses, file.parent, self.network))
        return found

    def remove(self) -> None:
        """End and remove all hosts and the switch; the template stays."""
        for host in self.hosts():
            host.remove()
        self.network.remove()
        _discard(self.hosts_folder)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _discard(folder: Path) -> None:
    """Remove a folder: out of the way at once, off the disk in the background, which takes a minute for a host's disk."""
    if not folder.exists():
        return
    gone = tempfile.mkdtemp(prefix="gone-", dir=folder.parent)
    folder.rename(Path(gone, folder.name))
    subprocess.run(["sh", "-c", 'rm -rf "$0" >/dev/null 2>&1 &', gone], start_new_session=True, check=True)


def _give_host_key(path: Path, given: Path | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if given is None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    else:
        shutil.copy(given, path)
        shutil.copy(given.with_name(f"{given.name}.pub"), path.with_name(f"{path.name}.pub"))
    path.chmod(0o600)


def _child(number: int | None) -> int | None:
    if number is None:
        return None
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return int(children[0]) if children else None
    return None


def _until(claim: Callable[[], object], otherwise: str, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > limit:
            raise TimeoutError(otherwise)
        time.sleep(PAUSE)

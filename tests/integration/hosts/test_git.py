"""The release repository on a production node accepts releases of an allowed signer, and nothing else."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stargaze.store import Store
from tests.integration.hosts.conftest import Configured
from tests.integration.hosts_lab import MEMBERS, Cluster

pytestmark = pytest.mark.hosts

NODE = "production1"
VERIFY = "/usr/local/lib/stargaze/verify-bundle"


def git(cluster: Cluster, folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    ssh = shlex.join(cluster.ssh(cluster.hosts[NODE])[:-1])
    identity = {f"GIT_{who}_{what}": "a@b.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_SSH_COMMAND": ssh, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(["git", "-C", folder, *argv], env=environment, capture_output=True, text=True, check=False)


def url(cluster: Cluster) -> str:
    return f"ssh://git@{cluster.hosts[NODE].address}/srv/stargaze/releases.git"


@pytest.fixture
def released_store(
    configured_cluster: Configured, bundle_folder: Path, growth_bundle_folder: Path, tmp_path: Path
) -> Store:
    """A store with one release of two bundles, signed by the allowed signer."""
    store = Store(tmp_path / "store")
    store.bundles.mkdir(parents=True)
    for folder in (bundle_folder, growth_bundle_folder):
        (store.bundles / folder.name).symlink_to(folder)
    store.latest_growth.write_text(growth_bundle_folder.name)
    environment = {**os.environ, "STARGAZE_DEPLOY_SIGNING_KEY": str(configured_cluster.cluster.signer)}
    command = [sys.executable, "-m", "stargaze", "deploy", bundle_folder.name]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return store


def test_an_unsigned_push_is_rejected_and_leaves_nothing(configured_cluster: Configured, tmp_path: Path) -> None:
    cluster = configured_cluster.cluster
    git(cluster, tmp_path, "init", "--initial-branch=main")
    git(cluster, tmp_path, "commit", "--allow-empty", "--message=unsigned")

    pushed = git(cluster, tmp_path, "push", url(cluster), "main")

    assert pushed.returncode != 0
    assert "refused: " in pushed.stderr
    assert "sign" in pushed.stderr
    assert git(cluster, tmp_path, "ls-remote", url(cluster)).stdout == ""


def test_a_signed_release_is_installed(configured_cluster: Configured, released_store: Store) -> None:
    cluster = configured_cluster.cluster

    pushed = git(cluster, released_store.releases, "push", url(cluster), "main")

    assert pushed.returncode == 0, pushed.stderr
    current = cluster.hosts[NODE].run("readlink", "--canonicalize", "/srv/stargaze/serving/current").stdout
    assert Path(current.strip()).name == released_store.current.resolve().name


@pytest.mark.parametrize(
    ("options", "argv"),
    [([], []), ([], ["id"]), (["-W", "127.0.0.1:22"], [])],
    ids=["a shell", "a command", "a tunnel"],
)
def test_the_account_for_pushes_can_do_nothing_else(
    configured_cluster: Configured, options: list[str], argv: list[str]
) -> None:
    cluster = configured_cluster.cluster
    *ssh, destination = cluster.ssh(cluster.hosts[NODE], user="git")

    command = [*ssh, *options, destination, *argv]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "uid=" not in done.stdout
    assert "SSH-" not in done.stdout


def test_the_account_for_pushes_cannot_change_the_allowed_signers(configured_cluster: Configured) -> None:
    host = configured_cluster.cluster.hosts[NODE]
    script = "echo x >>/srv/stargaze/keys/allowed_signers || mv /srv/stargaze/keys /srv/stargaze/other"

    assert host.run("runuser", "-u", "git", "--", "sh", "-c", script, check=False).returncode != 0


ATTACK = f"""#!/bin/sh
exec >&2
id -un
for file in /srv/stargaze/releases.git/hooks/pre-receive /srv/stargaze/releases.git/refs/heads/evil \\
    /srv/stargaze/keys/allowed_signers /etc/stargaze/git_authorized_keys /opt/stargaze/bin/evil /etc/evil; do
    if echo evil >>"$file"; then echo "wrote $file"; fi
done
if cat /srv/stargaze/releases.git/config; then echo "read the repository"; fi
if sudo -n /usr/local/lib/stargaze/verify-bundle /; then echo "used sudo"; fi
if python3 -c "import socket; socket.create_connection(('{MEMBERS["production2"]}', 22), 3)"; then echo "connected"; fi
exit 3
"""


def test_the_model_of_a_release_is_loaded_by_an_account_that_can_write_nothing(configured_cluster: Configured) -> None:
    """Whatever a compromised model process tries: its program is replaced here."""
    host = configured_cluster.cluster.hosts[NODE]
    bundle = f"/srv/stargaze/serving/attack/{'a' * 64}"
    host.run("runuser", "-u", "git", "--", "mkdir", "-p", bundle)
    host.run("sh", "-c", "cat >/tmp/attack.sh && chmod 755 /tmp/attack.sh", stdin=ATTACK)
    host.run("mount", "--bind", "/tmp/attack.sh", "/opt/stargaze/bin/python")
    try:
        done = host.run("runuser", "-u", "git", "--", "sudo", "-n", VERIFY, bundle, check=False)
    finally:
        host.run("umount", "/opt/stargaze/bin/python")
        host.run("rm", "-r", "/srv/stargaze/serving/attack")

    assert done.returncode == 3, done.stderr
    assert "stargaze-sandbox" in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith(("wrote", "read", "used", "connected"))] == []


@pytest.mark.parametrize("argument", ["/etc", "/srv/stargaze/serving/../keys", "/srv/stargaze/serving/x;id"])
def test_the_account_for_pushes_verifies_bundles_only(configured_cluster: Configured, argument: str) -> None:
    host = configured_cluster.cluster.hosts[NODE]

    done = host.run("runuser", "-u", "git", "--", "sudo", "-n", VERIFY, argument, check=False)
    other = host.run("runuser", "-u", "git", "--", "sudo", "-n", "/bin/sh", "-c", "id", check=False)

    assert done.returncode != 0
    assert (other.returncode, other.stdout) == (1, "")


def test_a_model_that_does_not_end_is_killed_with_its_children(configured_cluster: Configured) -> None:
    host = configured_cluster.cluster.hosts[NODE]
    bundle = f"/srv/stargaze/serving/loop/{'b' * 64}"
    host.run("runuser", "-u", "git", "--", "mkdir", "-p", bundle)
    script = "#!/bin/sh\nsetsid sleep 271828 &\ntrap '' TERM INT\nwhile :; do sleep 271828; done\n"
    host.run("sh", "-c", "cat >/tmp/loop.sh && chmod 755 /tmp/loop.sh", stdin=script)
    host.run("mount", "--bind", "/tmp/loop.sh", "/opt/stargaze/bin/python")
    try:
        shorter = f"sed s/seconds=60/seconds=2/ {VERIFY} >/tmp/verify && SUDO_USER=git sh /tmp/verify {bundle}"
        done = host.run("sh", "-c", shorter, check=False)
    finally:
        host.run("umount", "/opt/stargaze/bin/python")
        host.run("rm", "-r", "/srv/stargaze/serving/loop")

    assert done.returncode != 0
    assert "271828" not in host.run("ps", "-eo", "args").stdout

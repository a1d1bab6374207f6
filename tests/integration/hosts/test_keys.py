"""Keys are replaced and revoked on every machine; a command that is killed continues."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from stargaze.infra.hosts.state_dir import derive_public_key
from stargaze.store import Store
from stargaze.system.ssh_keys import create_key
from tests.integration.hosts.conftest import Configured
from tests.integration.hosts_lab import MEMBERS, SECTION, Cluster

pytestmark = pytest.mark.hosts
RECEIVERS = [name for name in MEMBERS if name.startswith(("production", "development"))]


class Operator:
    """Calls the command line with the store of the cluster."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        hosts = "\n".join(f'{name} = "{address}"' for name, address in SECTION.hosts.items())
        (folder / "stargaze.toml").write_text(
            f'[store]\npath = "{cluster.store.root}"\n[infra]\nprovider = "static"\nname = "{SECTION.name}"\n'
            f"[infra.hosts]\n{hosts}\n"
        )

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "stargaze", *argv],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *argv: str) -> str:
        with self.start(*argv) as process:
            output, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
        return output

    def kill_at(self, note: str, *argv: str) -> None:
        """Kill a command and its children as soon as it prints this."""
        with self.start(*argv) as process:
            assert process.stderr
            assert any(note in line for line in process.stderr), f"it never printed {note!r}"
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def operator(configured_cluster: Configured, tmp_path: Path) -> Operator:
    return Operator(configured_cluster.cluster, tmp_path)


def login(operator: Operator, name: str, key: Path, user: str) -> str:
    """Log in with one key only and return the reason of a failure."""
    command = operator.cluster.ssh(operator.cluster.hosts[name], user=user)
    command = [str(key) if word == str(operator.cluster.key) else word for word in command]
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def refusals(operator: Operator, key: Path, user: str, names: Sequence[str] = tuple(MEMBERS)) -> list[str]:
    return [name for name in names if "Permission denied (publickey)" in login(operator, name, key, user)]


def test_the_ssh_key_is_replaced_although_the_command_is_killed_twice(operator: Operator, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copy(operator.cluster.key, old)

    operator.kill_at("adding the new key", "keys", "rotate", "ssh")
    operator.kill_at("removing the old key", "keys", "rotate", "ssh")
    operator.run("keys", "rotate", "ssh")

    assert derive_public_key(operator.cluster.key) != derive_public_key(old)
    assert refusals(operator, old, "debian") == list(MEMBERS)
    assert refusals(operator, old, "git", RECEIVERS) == RECEIVERS
    assert refusals(operator, operator.cluster.key, "debian") == []
    assert refusals(operator, operator.cluster.key, "git", RECEIVERS) == []  # it may push, and do nothing else
    # The outsider is no member: its key is replaced by hand, for the tests that follow.
    public = operator.cluster.key.with_suffix(".pub").read_text()
    operator.cluster.hosts["outsider"].run("sh", "-c", "cat >/home/debian/.ssh/authorized_keys", stdin=public)


def test_a_key_of_another_person_is_removed_from_every_account(operator: Operator, tmp_path: Path) -> None:
    key = tmp_path / "colleague"
    create_key(key, "")
    public = key.with_suffix(".pub").read_text()
    for name in MEMBERS:
        for home in ("/home/debian", "/root"):
            script = f"mkdir -p {home}/.ssh && cat >>{home}/.ssh/authorized_keys"
            operator.cluster.hosts[name].run("sh", "-c", script, stdin=public)
    assert refusals(operator, key, "debian") == []

    removed = json.loads(operator.run("keys", "revoke", str(key.with_suffix(".pub")), "--json"))["removed_from"]

    assert len(removed) == 2 * len(MEMBERS)
    assert refusals(operator, key, "debian") == refusals(operator, key, "root") == list(MEMBERS)
    assert refusals(operator, operator.cluster.key, "debian") == []


def push(operator: Operator, store: Store, name: str) -> str:
    ssh = " ".join(f"'{word}'" for word in operator.cluster.ssh(operator.cluster.hosts[name])[:-1])
    url = f"ssh://git@{operator.cluster.hosts[name].address}/srv/stargaze/releases.git"
    command = ["git", "-C", str(store.releases), "push", url, "main"]
    done = subprocess.run(
        command, env={**os.environ, "GIT_SSH_COMMAND": ssh}, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr


def test_a_revoked_signer_is_refused_by_every_machine_and_its_history_stays(
    operator: Operator, bundle_folder: Path, tmp_path: Path
) -> None:
    """Trusted, then revoked by a command that is killed; the machine that had its release accepts the history again."""
    key, store = tmp_path / "colleague", Store(tmp_path / "store")
    create_key(key, "")
    store.bundles.mkdir(parents=True)
    (store.bundles / bundle_folder.name).symlink_to(bundle_folder)
    environment = {**os.environ, "STARGAZE_DEPLOY_SIGNING_KEY": str(key)}
    command = [sys.executable, "-P", "-m", "stargaze", "deploy", bundle_folder.name, "--store", str(store.root)]
    subprocess.run(command, cwd=tmp_path, env={**environment, "STARGAZE_INFRA_PROVIDER": "static"}, check=True)
    first, *others = [operator.cluster.hosts[name] for name in RECEIVERS]
    first.run("sh", "-c", "rm -rf /srv/stargaze/releases.git/refs/heads/main /srv/stargaze/releases.git/packed-refs")
    public = str(key.with_suffix(".pub"))

    assert "is not signed by an allowed signer" in push(operator, store, first.name)
    operator.run("keys", "trust", public)
    assert push(operator, store, first.name) == ""
    operator.kill_at("revoking", "keys", "revoke", public)
    operator.run("keys", "revoke", public)

    rows = [row for row in json.loads(operator.run("keys", "list", "--json")) if row["state"] == "revoked"]
    assert any(set(RECEIVERS) <= set(row["where"].split(", ")) for row in rows)
    amended = ["git", "-C", str(store.releases), "-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"]
    tree = subprocess.run(
        [*amended, "rev-parse", "main^{tree}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    identity = {f"GIT_{who}_{what}": "a@b.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    old = {"GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z"}
    made = subprocess.run(
        [*amended, "commit-tree", "-S", tree, "-m", "later"],
        env={**os.environ, **identity, **old},
        capture_output=True,
        text=True,
        check=True,
    )
    subprocess.run([*amended, "update-ref", "refs/heads/main", made.stdout.strip()], check=True)
    for host in (first, *others):
        host.run("rm", "-f", "/srv/stargaze/releases.git/refs/heads/main", "/srv/stargaze/releases.git/packed-refs")
        assert "is not signed by an allowed signer" in push(operator, store, host.name)

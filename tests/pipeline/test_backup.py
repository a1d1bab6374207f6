"""What cannot be created again is listed, checked by ``doctor``, copied by ``backup``, and works in another store."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.manifest import write_manifest
from stargaze.config import Config
from stargaze.pipeline.backup import check_store, write_backup
from stargaze.store import IRREPLACEABLE, Store
from stargaze.system.locks import BusyError, file_lock
from stargaze.system.ssh_keys import create_key
from tests.conftest import Ended

Run = Callable[..., Ended]
NOW = datetime.now(UTC)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a key and a track record in a transaction."""
    store = Store(tmp_path / "store")
    store.infra.joinpath("stargaze", "runs").mkdir(parents=True)
    store.infra.joinpath("stargaze", "runs", "log").touch()
    (store.infra / "stargaze" / "ray_token").touch(0o600)
    store.keys.mkdir()
    (store.keys / "release").touch(0o600)
    with sqlite3.connect(store.predictions) as db:
        db.execute("CREATE TABLE track_record (name TEXT)")
        db.execute("INSERT INTO track_record VALUES ('a/b')")
    db.close()
    for path in store.root.rglob("*"):
        os.utime(path, (NOW.timestamp() - 60, NOW.timestamp() - 60))
    return store


def states(store: Store, now: datetime = NOW) -> dict[str, str]:
    return {check.name: check.state for check in check_store(store, now)}


def test_the_config_and_the_documentation_name_all_that_cannot_be_created_again(run: Run) -> None:
    text, page = run("init", "--print").out, (ROOT / "docs" / "use.md").read_text(encoding="utf-8")
    backup = page.partition("### Backup")[2].partition("```")[0]

    assert "safe to delete, all of it" not in text
    for name in IRREPLACEABLE:
        assert name in " ".join(text.replace("#", " ").split()), name
        assert f"`{name}" in backup, name


def test_an_archive_is_private_and_contains_a_consistent_track_record_and_no_logs(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar.gz"
    writer = sqlite3.connect(store.predictions, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO track_record VALUES ('in the log file')")

    names = write_backup(store, target, NOW)
    writer.close()

    with tarfile.open(target) as archive:
        members = archive.getnames()
        archive.extractall(tmp_path / "new", filter="data")
    assert names == ["keys", "infra", "predictions.sqlite"]
    assert target.stat().st_mode & 0o777 == 0o600
    assert "infra/stargaze/ray_token" in members
    assert not any("runs" in name for name in members)
    with sqlite3.connect(tmp_path / "new" / "predictions.sqlite") as db:
        assert db.execute("SELECT count(*) FROM track_record").fetchone() == (2,)
    db.close()


def test_the_name_of_a_cluster_may_be_that_of_a_folder_of_logs(store: Store, tmp_path: Path) -> None:
    store.infra.joinpath("stargaze").rename(store.infra / "runs")

    write_backup(store, tmp_path / "backup.tar.gz", NOW)

    with tarfile.open(tmp_path / "backup.tar.gz") as archive:
        assert "infra/runs/ray_token" in archive.getnames()
        assert "infra/runs/runs" not in archive.getnames()


def test_the_doctor_warns_without_a_backup_and_after_a_change(store: Store, tmp_path: Path) -> None:
    assert states(store)["backup"] == "warning"
    write_backup(store, tmp_path / "backup.tar.gz", NOW)
    assert states(store)["backup"] == "ok"

    os.utime(store.keys / "release", (NOW.timestamp() + 60, NOW.timestamp() + 60))

    assert states(store)["backup"] == "warning"


def test_the_doctor_names_secrets_that_others_can_read_and_a_folder_that_is_emptied(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("stargaze.pipeline.backup.CLEANED_FOLDERS", (str(tmp_path),))
    assert "secrets" not in states(store)
    assert states(store)["store"] == "warning"

    (store.infra / "stargaze" / "ray_token").chmod(0o644)
    (store.keys / "allowed_signers").touch(0o644)

    (check,) = (check for check in check_store(store, NOW) if check.name == "secrets")
    assert check.state == "error"
    assert check.result == "other users can read infra/stargaze/ray_token"
    subprocess.run(check.fix, shell=True, check=True)
    assert "secrets" not in states(store)


def test_the_doctor_warns_if_git_would_commit_the_keys(store: Store, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monitor = f"touch {shlex.quote(str(tmp_path / 'executed'))}; false"  # git would run it
    subprocess.run(["git", "-C", tmp_path, "config", "core.fsmonitor", monitor], check=True)

    assert states(store)["git"] == "warning"
    (tmp_path / ".gitignore").write_text("/store/\n")
    assert "git" not in states(store)
    assert not (tmp_path / "executed").exists()


def test_a_new_store_needs_no_backup(run: Run, tmp_path: Path) -> None:
    rows = {row["check"] for row in json.loads(run("doctor", "--json").out)}
    ended = run("backup", tmp_path / "backup.tar.gz")

    assert rows.isdisjoint({"backup", "store", "secrets"})
    assert ended.code == 3
    assert "nothing to back up" in ended.hint


def test_a_backup_inside_the_store_is_refused(run: Run, store: Store) -> None:
    ended = run("backup", "store/backup.tar.gz")

    assert ended.code == 2
    assert "inside the store" in ended.error


def test_make_clean_keeps_the_store_and_says_so(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "store" / "keys").mkdir(parents=True)
    (tmp_path / "build").mkdir()

    ended = subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert (tmp_path / "store" / "keys").is_dir()
    assert not (tmp_path / "build").exists()
    assert "store/ was kept" in ended.stdout


def _other_bundle(bundle: Path, parent: Path) -> str:
    """Copy a bundle with another date, thus another digest."""
    folder = shutil.copytree(bundle, parent / "copy")
    description: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
    description["created_at"] = "2026-11-29T00:00:00+00:00"
    (folder / "bundle.json").write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")
    (folder / "manifest.json").unlink(missing_ok=True)
    return folder.rename(parent / write_manifest(folder)).name


@pytest.mark.thorough
def test_releases_keys_and_machines_work_in_a_store_that_was_restored(
    run: Run, bundle_folder: Path, growth_bundle_folder: Path, tmp_path: Path
) -> None:
    old = Store(Path("store"))
    first = shutil.copytree(bundle_folder, old.bundles / bundle_folder.name).name
    second = _other_bundle(bundle_folder, old.bundles)
    growth = shutil.copytree(growth_bundle_folder, old.bundles / growth_bundle_folder.name).name
    assert run("deploy", first, "--growth", growth).code == 0
    assert run("deploy", second, "--growth", "none", "--force", "a test").code == 0
    create_key(old.infra / Config().infra.name / "id_ed25519", "a test")
    secrets = {path: path.read_bytes() for path in (*old.keys.rglob("*"), *old.infra.rglob("*")) if path.is_file()}
    assert run("backup", "backup.tar.gz").code == 0
    shutil.rmtree(old.root)

    old.root.mkdir()
    subprocess.run(["tar", "-xzpf", "backup.tar.gz", "-C", "store"], check=True)

    assert {path: path.read_bytes() for path in secrets} == secrets
    assert (old.keys / "release").stat().st_mode & 0o777 == 0o600
    assert [release["digest"] for release in json.loads(run("releases", "--json").out)] == [second, first]
    assert run("infra", "status").hint == "stargaze infra up"  # as before: this store has a key and no machines
    ended = run("rollback")
    assert ended.code == 0, ended.err
    assert old.current.resolve().name == f"{first}-{growth}"
    shutil.copytree(bundle_folder, old.bundles / first)
    second = _other_bundle(bundle_folder, old.bundles)
    assert run("deploy", second, "--growth", growth, "--force", "a test").code == 0
    assert old.current.resolve().name == f"{second}-{growth}"
    assert len(json.loads(run("releases", "--json").out)) == 4


def test_the_doctor_names_files_that_others_can_write(store: Store) -> None:
    assert "permissions" not in states(store)

    (store.keys / "allowed_signers").touch()
    (store.keys / "allowed_signers").chmod(0o666)

    (check,) = (check for check in check_store(store, NOW) if check.name == "permissions")
    assert check.state == "error"
    subprocess.run(check.fix, shell=True, check=True)
    assert "permissions" not in states(store)


def test_a_backup_copies_no_release_repository_that_a_deploy_is_changing(store: Store, tmp_path: Path) -> None:
    with (
        file_lock(store.root / "releases.lock"),
        pytest.raises(BusyError, match="a deploy or rollback is running"),
    ):
        write_backup(store, tmp_path / "backup.tar.gz", NOW)

    assert not (tmp_path / "backup.tar.gz").exists()

"""The private folder and the environment of a local Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.system.locks import OWNER_LOCK
from stargaze.tuning.search import ray_folder
from stargaze.tuning.search.ray_folder import (
    MARKER,
    MAX_PATH,
    PREFIX,
    SETTINGS,
    SMALL_OBJECT_STORE,
    TOKEN,
    child_environment,
    entered_folder,
    object_store,
    private_folder,
    ray_environment,
)
from tests.waiting import is_alive


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path, the only one for temporary files."""
    folder = Path(f"/tmp/sg{os.getpid()}")
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    subprocess.run(["rm", "-r", str(folder)], check=True)


def test_the_folder_is_private_has_a_token_and_is_deleted(short: Path) -> None:
    with private_folder() as folder:
        assert folder.parent == short
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / TOKEN).stat().st_mode & 0o777 == 0o600
        assert len((folder / TOKEN).read_text()) == 64

    assert list(short.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * MAX_PATH, "a folder", "földer", "missing", "file"])
def test_another_folder_is_used_where_tmpdir_is_unsuitable(
    short: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "file":
        (short / name).touch()
    elif name != "missing":
        (short / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(short / name))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))

    with private_folder() as folder:
        assert folder.parent == short


def test_without_a_usable_folder_the_error_names_the_reason_of_each(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_folder, "MAX_PATH", 3)

    with (
        pytest.raises(ExternalError, match=f"{short} has a path that is too long.*; /tmp has") as raised,
        private_folder(),
    ):
        pass

    assert "TMPDIR" in raised.value.hint


def test_a_machine_without_loopback_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_folder, "LOOPBACK", "192.0.2.1")  # an address for documentation, which no machine has

    with pytest.raises(ExternalError, match="loopback"), private_folder():
        pass


def test_the_environment_has_no_settings_proxies_and_secrets_of_the_user(tmp_path: Path) -> None:
    user = {
        "RAY_ADDRESS": "1.2.3.4:6379",
        "RAY_AUTH_TOKEN": "x",
        "TUNE_RESULT_DIR": "/",
        "http_proxy": "http://p",
        "HTTPS_PROXY": "http://p",
        "GITHUB_TOKEN": "ghp",
        "STARGAZE_STORE_PATH": "x",
        "PYTHONSTARTUP": "x.py",
        "HOME": "/home/me",
        "PATH": "/bin",
        "TMPDIR": "/elsewhere",
    }

    environment = ray_environment(tmp_path, user)

    assert environment["HOME"] == "/home/me"
    assert ray_environment(tmp_path, {})["HOME"] == str(tmp_path)
    assert environment["TMPDIR"] == environment["RAY_TMPDIR"] == environment[MARKER] == str(tmp_path)
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    allowed = {*SETTINGS, "RAY_TMPDIR", "RAY_AUTH_TOKEN_PATH"}
    assert {name for name in environment if name.startswith(("RAY_", "TUNE_"))} == allowed
    assert not {"http_proxy", "HTTPS_PROXY", "GITHUB_TOKEN", "OS_PASSWORD", "PYTHONSTARTUP"} & set(environment)


@pytest.mark.thorough
def test_a_child_imports_this_package_and_nothing_from_the_working_directory(tmp_path: Path) -> None:
    for name in ("random", "sitecustomize", "lightgbm"):
        (tmp_path / f"{name}.py").write_text("print('executed')")
    environment = child_environment({**os.environ, "PYTHONPATH": f":.:{os.environ.get('PYTHONPATH', '')}"})
    code = "import random, lightgbm, stargaze.tuning.families; print(stargaze.__file__)"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == str(ray_folder.PACKAGE / "__init__.py")


def test_this_process_returns_to_its_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "1.2.3.4:6379")
    before = dict(os.environ), Path.cwd()

    with entered_folder(tmp_path):
        assert Path.cwd() == tmp_path
        assert "RAY_ADDRESS" not in os.environ

    assert (dict(os.environ), Path.cwd()) == before


@pytest.mark.parametrize(
    ("shared", "folder", "expected"),
    [(1e9, 0, ("/dev/shm", 200_000_000)), (1e8, 1e9, ("/dev/shm", SMALL_OBJECT_STORE)), (0, 1e9, (None, 200_000_000))],
)
def test_shared_memory_is_where_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: float, folder: float, expected: tuple[str | None, int]
) -> None:
    monkeypatch.setattr(ray_folder, "_free_space", lambda path: shared if path == Path("/dev/shm") else folder)

    assert object_store(tmp_path) == (expected[0] or str(tmp_path), expected[1])


def test_without_space_for_shared_memory_the_error_names_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_folder, "_free_space", lambda _path: 10_000_000)

    with pytest.raises(ExternalError, match="neither /dev/shm nor"):
        object_store(tmp_path)


@pytest.mark.thorough
def test_what_a_killed_command_left_is_removed_by_the_next(short: Path) -> None:
    """Its folder, and the processes of its Ray; the folder of a living command stays, and so does one that looks alike."""
    code = (
        "import os, subprocess, sys\n"
        "from stargaze.tuning.search.ray_folder import MARKER, private_folder\n"
        "with private_folder() as folder:\n"
        "    child = subprocess.Popen(['sleep', '300'], env={MARKER: str(folder)}, start_new_session=True)\n"
        "    print(child.pid, folder, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    (short / f"{PREFIX}backup12").mkdir()
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdin
    assert owner.stdout
    child, left = owner.stdout.readline().split()
    with owner, private_folder() as living:
        assert (Path(left) / OWNER_LOCK).exists()
        owner.kill()
        owner.wait()
        assert Path(f"/proc/{child}").exists()

        with private_folder() as folder:
            assert {path.name for path in short.iterdir()} == {living.name, folder.name, f"{PREFIX}backup12"}

    assert not is_alive(int(child))


def test_two_commands_may_start_at_the_same_time(short: Path) -> None:
    found = list[Path]()

    def start() -> None:
        with private_folder() as folder:
            barrier.wait(60)
            found.extend([folder] if (folder / TOKEN).exists() else [])

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 4

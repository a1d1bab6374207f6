"""The wheel of the running package: installable, reproducible, named by the digest of its content."""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stargaze.infra.ansible.build_wheel import build_wheel
from stargaze.system.source_package import find_recipe


def test_every_file_is_in_its_record(tmp_path: Path) -> None:
    path = build_wheel(tmp_path)

    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
        sizes = {name: len(archive.read(name)) for name in names}
    assert sorted(row[0] for row in rows) == sorted(names)
    assert {row[0]: int(row[2]) for row in rows if row[2]} == {
        name: size for name, size in sizes.items() if name != record
    }
    assert "stargaze/cli.py" in names


def test_the_wheel_is_reproducible(tmp_path: Path) -> None:
    first, second = build_wheel(tmp_path / "a"), build_wheel(tmp_path / "b")

    assert first.name == second.name
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_the_lock_has_hashes_and_names_no_server() -> None:
    text = find_recipe("requirements.lock").read_text(encoding="utf-8")

    assert "--hash=sha256:" in text
    assert "://" not in text


@pytest.mark.real  # it runs pip
def test_pip_installs_it_and_its_command_runs(tmp_path: Path) -> None:
    path = build_wheel(tmp_path)
    target = tmp_path / "site"

    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, path], check=True
    )

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import stargaze, importlib.metadata as m; print(stargaze.__file__, m.version('stargaze'))",
        ],
        env={"PYTHONPATH": str(target), "PATH": "/usr/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(target / "stargaze" / "__init__.py"), path.name.split("-")[1]]
    assert "+" in path.name

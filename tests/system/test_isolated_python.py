"""The working directory and the store contain only data: nothing in them is executed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import stargaze
from stargaze.system.isolated_python import ignore_working_directory, python_path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (".:/usr/bin", "/usr/bin"),
        (":/usr/bin", "/usr/bin"),
        ("/usr/bin:", "/usr/bin"),
        ("/usr/bin::/bin", "/usr/bin:/bin"),
        ("bin:./x:/bin", "/bin"),
        ("/bin:/usr/bin", "/bin:/usr/bin"),
        ("", ""),
    ],
)
def test_search_paths_do_not_contain_the_working_directory(before: str, after: str) -> None:
    environ = {"PATH": before}

    ignore_working_directory(environ)

    assert environ == {"PATH": after}
    assert python_path({"PYTHONPATH": before}).split(os.pathsep)[1:] == [entry for entry in after.split(":") if entry]


@pytest.mark.real
@pytest.mark.parametrize("options", [["-P"], []], ids=" ".join)
def test_a_module_of_the_working_directory_is_not_imported(tmp_path: Path, options: list[str]) -> None:
    """`python -m` adds it to its path first; modules that Python itself needs before can only be kept out by -P."""
    for name in ("random", "queue", "typer", "lightgbm", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write('{name} ')\n")

    done = subprocess.run(
        [sys.executable, *options, "-m", "stargaze", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip()
    assert not (tmp_path / "executed").exists()


@pytest.mark.real
@pytest.mark.parametrize("entry", ["", "."], ids=["empty", "dot"])
def test_the_command_imports_nothing_from_a_working_directory_in_pythonpath(tmp_path: Path, entry: str) -> None:
    for name in ("typer", "click", "rich"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write('{name} ')\n")
    path = os.pathsep.join([entry, str(Path(stargaze.__file__).parent.parent)])

    command = [sys.executable, "-P", "-m", "stargaze", "--version"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=True)

    assert not (tmp_path / "executed").exists()


@pytest.mark.real
def test_ctrl_c_while_the_command_is_imported_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    path = os.pathsep.join([str(tmp_path), str(Path(stargaze.__file__).parent.parent)])

    ended = subprocess.run(
        [sys.executable, "-P", "-m", "stargaze", "--version"],
        env={**os.environ, "PYTHONPATH": path},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # pytest may run with it ignored
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, b"")


@pytest.mark.real
def test_an_empty_entry_of_pythonpath_is_not_the_working_directory(tmp_path: Path) -> None:
    for name in ("typer", "lightgbm"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write('{name} ')\n")
    path = f"{os.environ.get('PYTHONPATH', '')}:"
    code = "import os; from stargaze.system.isolated_python import *; ignore_working_directory(os.environ); import lightgbm"

    subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=True)

    assert not (tmp_path / "executed").exists()

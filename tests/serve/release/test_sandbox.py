"""The sandbox limits what a model can do to the process that releases it, and ends with that process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stargaze.serve.release.sandbox import SandboxError, run_in_sandbox
from tests.waiting import wait_for

pytestmark = pytest.mark.real
LOOP = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\nwhile True: pass"
CALLER = """
import sys
from pathlib import Path
from stargaze.serve.release import quality_gate
from stargaze.store import Store
from stargaze.system.signals import exit_on_signals
quality_gate.PROGRAM = (sys.executable, "-S", "-c", sys.argv[1], sys.argv[2])
with exit_on_signals():
    quality_gate.check_quality(Path("/challenger"), Path("/champion"), Store(Path("/store")))
"""


def run(program: str, *arguments: str, seconds: float = 30.0, megabytes: int = 500) -> bytes:
    return run_in_sandbox([sys.executable, "-S", "-c", program, *arguments], seconds=seconds, megabytes=megabytes)


def test_the_output_is_returned() -> None:
    assert run("print(1)") == b"1\n"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", "was killed by signal 40"),
        ("import sys; sys.exit('not a model')", "not a model"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("b'x' * 10**9", "MemoryError"),
        ("open(__import__('sys').argv[1], 'wb').write(b'x' * 2_000_000)", "File too large|SIGXFSZ"),
    ],
)
def test_a_failure_is_described_in_one_line(program: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=reason) as caught:
        run(program, str(tmp_path / "file"))

    assert "\n" not in caught.value.message


def test_a_loop_is_ended_by_the_time_limit(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="did not end within 2 s"):
        run(LOOP, str(tmp_path / "pid"), seconds=2.0)

    assert not is_alive(tmp_path / "pid")


def test_no_variable_of_the_caller_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")

    assert b"secret" not in run("import os; print(os.environ)")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_quality_gate_of_a_looping_model(number: signal.Signals, tmp_path: Path) -> None:
    """A model that loops inside a library cannot delay the signal."""
    pid = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, LOOP, str(pid)], stderr=subprocess.DEVNULL, cwd=tmp_path
    ) as caller:
        try:
            wait_for(lambda: pid.is_file() and pid.read_text() != "")
            caller.send_signal(number)
            code = caller.wait(timeout=30)
        finally:
            caller.kill()

    assert code == {signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT, signal.SIGKILL: -signal.SIGKILL}[number]
    wait_for(lambda: not is_alive(pid))


def is_alive(pid: Path) -> bool:
    try:
        os.kill(int(pid.read_text()), 0)
    except ProcessLookupError:
        return False
    return True

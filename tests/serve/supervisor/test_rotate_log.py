"""The log of a process is renamed while it runs; no line is lost or divided, whoever is killed."""

from __future__ import annotations

import collections
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stargaze.serve.supervisor import child_process, rotate_log
from stargaze.serve.supervisor.child_process import start_child
from tests.waiting import wait_for

pytestmark = pytest.mark.real
LIMIT = 20_000


def copy(path: Path, chunks: list[bytes]) -> None:
    """Send chunks to the program."""
    argv = [sys.executable, "-I", "-S", rotate_log.__file__, str(path), str(LIMIT)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        assert process.stdin
        for chunk in chunks:
            process.stdin.write(chunk)
            process.stdin.flush()
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize("size", [1, 7, 1000, 70_000])
def test_lines_are_divided_between_the_files_and_none_is_lost(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.log"
    lines = b"".join(b"line %06d\n" % number for number in range(3000))

    copy(path, [lines[i : i + size] for i in range(0, len(lines), size)][: 3000 if size == 1 else None])

    old = path.with_suffix(".old")
    kept = (old.read_bytes() if old.exists() else b"") + path.read_bytes()
    sent = lines[:3000] if size == 1 else lines
    assert kept == sent[-len(kept) :]
    assert len(kept) >= min(len(sent), LIMIT)
    assert not old.exists() or old.read_bytes().endswith(b"\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_reported_in_the_log_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    failures = [OSError(28, "No space left on device")] * 2
    write = rotate_log._write

    def fail_twice(*arguments: object) -> None:
        if failures:
            raise failures.pop()
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rotate_log, "_write", fail_twice)
    monkeypatch.setattr(rotate_log, "signal", signal_without_effect())
    reader, writer = os.pipe()
    saved = os.dup(0)
    os.dup2(reader, 0)
    try:
        monkeypatch.setattr(rotate_log, "CHUNK", 4)
        os.write(writer, b"aaa\nbbb\nccc\n")
        os.close(writer)
        rotate_log.main([str(path), str(LIMIT)])
    finally:
        os.dup2(saved, 0)
        for descriptor in (saved, reader):
            os.close(descriptor)

    assert path.read_bytes() == b"8 bytes of this log are missing: the disk was full\nccc\n"


def signal_without_effect() -> object:
    class Signals:
        SIGINT = SIGTERM = SIGHUP = SIG_IGN = 0

        @staticmethod
        def signal(*_: object) -> None:
            """Change nothing in the process of the tests."""

    return Signals


PROGRAM = """
import os
children = [os.fork(), os.fork()]
for number in range(4000):
    os.write(1, b"%d line %06d\\n" % (os.getpid(), number))
if not all(children):
    os._exit(0)
for _ in range(2):
    os.wait()
"""


@pytest.mark.parametrize("is_killed", [False, True], ids=["undisturbed", "copier killed"])
def test_processes_that_write_at_the_same_time_lose_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    monkeypatch.setattr(child_process, "MAX_LOG", 10**9 if is_killed else 200_000)
    log = tmp_path / "a.log"

    child = start_child("a", ["timeit", "-n1", "-r1", PROGRAM], {}, log, tmp_path)
    if is_killed:
        wait_for(lambda: log.stat().st_size > 1000)
        os.kill(child.log._copying.pid, signal.SIGKILL)
        child.log._copying.wait()
        child.log.check()
    child.process.wait()
    child.wait_or_kill()

    old = log.with_suffix(".old")
    text = (old.read_text() if old.exists() else "") + log.read_text()
    assert child.process.returncode == 0
    assert old.exists() != is_killed
    if is_killed:  # what the killed one had read is lost, the rest is not
        assert text.count("line 003999\n") >= 3
    else:
        counts = collections.Counter(re.findall(r"^\d+ line (\d{6})$", text, re.MULTILINE))
        assert counts["003999"] == 4
        assert set(counts.values()) == {4} or log.stat().st_size < 200_000  # only the oldest lines are missing

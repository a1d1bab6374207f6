"""The process that Ray starts for a job: runs the command and records its progress, result and exit code as events."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from stargaze.output import EVENTS

MAX_LINE = 2_000
"""Recorded part of a printed line [byte]."""
MAX_OUTPUT = 200_000
"""Recorded beginning of all that the command prints [byte]; of the rest, the last lines are recorded."""
KEPT_LINES = 20
"""Last lines that are recorded."""
THREADS = "OMP_NUM_THREADS"
"""Ray sets it to 1 for the process that starts a job, which reserves no core; sums would differ from a local run."""


def main(folder: Path) -> int:
    """Run the job of this folder; return the exit code of its command."""
    os.umask(0o077)
    os.chdir(folder)
    secrets = json.loads(Path("secrets").read_bytes())  # a pipe that the job server writes
    arguments = json.loads(Path("job.json").read_text(encoding="utf-8"))["argv"]
    stop_signals = list[int]()
    # The command receives SIGTERM too and ends; this process then records its exit code.
    signal.signal(signal.SIGTERM, lambda number, _frame: stop_signals.append(number))
    command = [sys.executable, "-I", "-m", "stargaze", *arguments, "--config", "stargaze.toml", "--json"]
    with Path("events.jsonl").open("ab", buffering=0) as events:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=job_environment(os.environ, secrets),
        ) as process:
            events.writelines(output_event(line) for line in limit_output(process.stdout or io.BytesIO()))
        events.write(json.dumps({"exit_code": process.returncode, "stopped": bool(stop_signals)}).encode() + b"\n")
    return process.returncode


def job_environment(environ: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the command: Ray's, without config keys and the thread limit, with the secrets."""
    inherited = {name: value for name, value in environ.items() if not name.startswith("STARGAZE_") and name != THREADS}
    folder = str(Path.cwd())  # a home that can be written, whatever the one of Ray's account is
    return {**inherited, **secrets, "HOME": folder, "XDG_CONFIG_HOME": folder, EVENTS: f"{folder}/events.jsonl"}


def limit_output(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the beginning of each line of a stream: the first ones at once, later only the last ones, when it has ended."""
    size, is_start, last = 0, True, deque[bytes](maxlen=KEPT_LINES)
    while part := stream.readline(MAX_LINE):
        if is_start and size < MAX_OUTPUT:
            yield part
        elif is_start:
            last.append(part)
        size += len(part)
        is_start = part.endswith(b"\n")
    yield from last


def output_event(line: bytes) -> bytes:
    """Return the event for a line that the command printed; it is shown only if the command crashes."""
    return json.dumps({"output": line[:MAX_LINE].decode("utf-8", "replace").rstrip("\n")}).encode() + b"\n"


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    raise SystemExit(code if code >= 0 else 128 - code)

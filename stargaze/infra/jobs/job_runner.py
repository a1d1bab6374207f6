"""The process that Ray starts for a job: runs the command and records its progress, result and exit code as events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stargaze.output import EVENTS

MAX_LINE = 2_000
"""Recorded part of a printed line [byte]."""
THREADS = "OMP_NUM_THREADS"
"""Ray sets it to 1 for the process that starts a job, which reserves no core; sums would differ from a local run."""


def main(folder: Path) -> int:
    """Run the job of this folder; return the exit code of its command."""
    os.umask(0o077)
    os.chdir(folder)
    secrets = json.loads(Path("secrets").read_bytes())  # a pipe that the job server writes
    arguments = json.loads(Path("job.json").read_text(encoding="utf-8"))["argv"]
    # The command receives SIGTERM too and ends; this process then records its exit code.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    command = [sys.executable, "-I", "-m", "stargaze", *arguments, "--config", "stargaze.toml", "--json"]
    with Path("events.jsonl").open("ab", buffering=0) as events:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=job_environment(os.environ, secrets),
        ) as process:
            events.writelines(output_event(line) for line in process.stdout or ())
        events.write(json.dumps({"exit_code": process.returncode}).encode() + b"\n")
    return process.returncode


def job_environment(environ: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the command: Ray's, without config keys and the thread limit, with the secrets."""
    inherited = {name: value for name, value in environ.items() if not name.startswith("STARGAZE_") and name != THREADS}
    return {**inherited, **secrets, "XDG_CONFIG_HOME": str(Path.cwd()), EVENTS: str(Path("events.jsonl").resolve())}


def output_event(line: bytes) -> bytes:
    """Return the event for a line that the command printed; it is shown only if the command crashes."""
    return json.dumps({"output": line[:MAX_LINE].decode("utf-8", "replace").rstrip("\n")}).encode() + b"\n"


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    raise SystemExit(code if code >= 0 else 128 - code)

"""The process that Ray runs for an errand: runs the command, and writes down what it tells, its answer and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stargaze.output import EVENTS

LONGEST = 2_000
"""Of a line so much is kept [byte]."""
THREADS = "OMP_NUM_THREADS"
"""Ray sets it to 1 for the process that starts a job, which has no core of its own: sums would come out otherwise than here."""


def main(folder: Path) -> int:
    """Carry the errand of this folder out; return how the command ended."""
    os.umask(0o077)
    os.chdir(folder)
    secrets = json.loads(Path("secrets").read_bytes())  # a pipe: the desk waits at its other end
    words = json.loads(Path("job.json").read_text(encoding="utf-8"))["words"]
    # The command hears it too and ends; this one stays until it can say so.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    command = [sys.executable, "-I", "-m", "stargaze", *words, "--config", "stargaze.toml", "--json"]
    with Path("events.jsonl").open("ab", buffering=0) as events:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(os.environ, secrets),
        ) as process:
            events.writelines(said(line) for line in process.stdout or ())
        events.write(json.dumps({"ended": process.returncode}).encode() + b"\n")
    return process.returncode


def environment(ours: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return what the command runs in: no config but the errand's, the secrets, and Ray's own but for its one thread."""
    kept = {name: value for name, value in ours.items() if not name.startswith("STARGAZE_") and name != THREADS}
    return {**kept, **secrets, "XDG_CONFIG_HOME": str(Path.cwd()), EVENTS: str(Path("events.jsonl").resolve())}


def said(line: bytes) -> bytes:
    """Return a line that the command, or Ray inside it, printed, as an event: it tells nothing unless the command dies."""
    return json.dumps({"said": line[:LONGEST].decode("utf-8", "replace").rstrip("\n")}).encode() + b"\n"


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    raise SystemExit(code if code >= 0 else 128 - code)

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


def main(folder: Path) -> int:
    """Carry the errand of this folder out; return how the command ended."""
    os.umask(0o077)
    os.chdir(folder)
    secrets = json.loads(Path("secrets").read_bytes())  # a pipe: the desk waits at its other end
    words = json.loads(Path("job.json").read_text(encoding="utf-8"))["words"]
    # The command hears it too and ends; this one stays until it can say so.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    command = [sys.executable, "-I", "-m", "stargaze", *words, "--config", "stargaze.toml", "--json"]
    with Path("events.jsonl").open("ab", buffering=0) as events, Path("answer.json").open("wb") as answer:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.PIPE,
            env=environment(os.environ, secrets),
        ) as process:
            events.writelines(event(line) for line in process.stderr or ())
        events.write(json.dumps({"ended": process.returncode}).encode() + b"\n")
    return process.returncode


def environment(ours: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return what the command runs in: no config but the errand's, the secrets, and Ray's own."""
    kept = {name: value for name, value in ours.items() if not name.startswith("STARGAZE_")}
    return {**kept, **secrets, "XDG_CONFIG_HOME": str(Path.cwd()), EVENTS: "json"}


def event(line: bytes) -> bytes:
    """Return a line of the command as an event: what is none is something that it said."""
    text = line.decode("utf-8", "replace").rstrip("\n")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return json.dumps(found if isinstance(found, dict) else {"said": text}).encode() + b"\n"


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    raise SystemExit(code if code >= 0 else 128 - code)

"""Run the trials in a process of its own: Ray's signal handlers, logs, settings and crashes stay there.

Parent and child exchange files of arrays and JSON, and one JSON line for each event.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargaze.errors import ExternalError, StargazeError, error_from_code
from stargaze.system.files import convert_disk_errors
from stargaze.system.signals import die_with_parent, signal_name
from stargaze.system.text import last_line
from stargaze.tuning.search.ray_folder import MARKER, child_environment, private_folder, ray_environment
from stargaze.tuning.search.ray_job import is_ray_job

if TYPE_CHECKING:
    from stargaze.tuning.cross_validation import Arrays
    from stargaze.tuning.search.search_spec import SearchSpec

ARRAYS, SEARCH, LOG = "arrays.npz", "search.json", "driver.log"
HINT = "stargaze tune --resume continues; --max-concurrent 1 needs the least memory"
LIMITS = {
    errno.EAGAIN: "raise the limit of processes and threads: ulimit -u",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
    errno.ENOSPC: "free some space, or set TMPDIR to another folder: df -h",
    errno.ENOMEM: "free some memory: free -h",
}
Event = dict[str, Any]


def search_with_ray(arrays: Arrays, search: SearchSpec, handle: Callable[[Event], None]) -> None:
    """Run the trials in a child process and call ``handle`` with each event: ``lookahead``, ``finished`` or ``failed``.

    When this ends, also by a signal or an exception of ``handle``, the child and all processes of its Ray have ended.

    Raise ExternalError if Ray cannot start or was killed, MissingInputError if the ended trials are those of another search.
    """
    with private_folder() as folder:
        with convert_disk_errors(folder):
            arrays.save(folder / ARRAYS)
            (folder / SEARCH).write_text(json.dumps(asdict(search)), encoding="utf-8")
        with _started_driver(folder) as process:
            for line in process.stdout or ():
                if not line.endswith(b"\n"):  # it was killed while it wrote
                    break
                event = json.loads(line)
                if "error" in event:
                    raise error_from_code(event["error"], event["hint"], event["code"])
                handle(event)
            code = process.wait()
        if code:
            reason = last_line((folder / LOG).read_bytes(), "")[:250]
            raise ExternalError(f"Ray failed: {_describe_exit(code)}{reason and f': {reason}'}", hint=HINT)


@contextlib.contextmanager
def _started_driver(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = (
        {**child_environment(os.environ), MARKER: str(folder)} if is_ray_job() else ray_environment(folder, os.environ)
    )
    try:
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=environ,
                start_new_session=True,  # Ctrl-C reaches only the parent
            )
    except OSError as error:
        raise _describe_failure(error) from error
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _describe_failure(error: Exception) -> ExternalError:
    """Return the error in one line, with a hint for each limit of this machine."""
    reason = " ".join(str(error).split())[:250]
    number = error.errno if isinstance(error, OSError) else None
    return ExternalError(f"Ray failed: {type(error).__name__}: {reason}", hint=LIMITS.get(number or 0, HINT))


def _describe_exit(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"killed by signal {-code} ({signal_name(-code)})"


def main(parent: int) -> None:
    """Run the search in the current folder; write events to stdout, and everything else that is printed to stderr."""
    die_with_parent(parent, signal.SIGKILL)
    pipe = os.dup(1)
    os.dup2(2, 1)

    def send(event: Event) -> None:  # with the number of the pipe, because Tune pickles it
        with open(pipe, "w", encoding="utf-8", closefd=False) as stream:
            stream.write(json.dumps(event) + "\n")

    try:
        _run(send)
    except StargazeError as error:
        send({"error": error.message, "hint": error.hint, "code": error.exit_code})
    except Exception as error:  # noqa: BLE001 - Ray raises anything
        failure = _describe_failure(error)
        send({"error": failure.message, "hint": failure.hint, "code": failure.exit_code})


def _run(send: Callable[[Event], None]) -> None:
    from stargaze.tuning.cross_validation import Arrays
    from stargaze.tuning.search.ray_tune import run_trials
    from stargaze.tuning.search.search_spec import SearchSpec

    run_trials(
        Arrays.load(Path(ARRAYS)),
        SearchSpec(**json.loads(Path(SEARCH).read_text(encoding="utf-8"))),
        lambda trial: send({"finished": trial}),
        lambda trial: send({"failed": trial}),
        started=lambda lookahead: send({"lookahead": lookahead}),
        folder=Path.cwd(),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))

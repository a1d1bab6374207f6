"""Change each type of bundle file thousands of times, use what is accepted in watched processes, and print a table.

Each case depends on the seed, the type and its number alone. Exit code 1 if a process crashed or hung, an exception other than a
refusal occurred, or an accepted bundle failed later.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from stargaze.bundle.manifest import MANIFEST, write_manifest
from stargaze.store import Store
from tests.fuzz.cases import FileType, create_file_types
from tests.fuzz.use import REFUSED, USED, LaterFailureError, use_bundle

MAX_SECONDS = 10
"""Time limit of a case [s of CPU]."""
MAX_WAIT = 120
"""Time limit of a case on a busy machine [s]."""
MAX_MEMORY = 6_000_000_000
"""Address space of a process [B]."""
BATCH = 100
"""Cases per process: enough to make its start cheap, few enough that no state accumulates."""
CRASH, HANG, TRACEBACK, LATER = "crash", "hang", "traceback", "later failure"
COLUMNS = (REFUSED, USED, CRASH, HANG, TRACEBACK, LATER)


def main() -> int:
    """Run all cases and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=5_000, help="per type of file")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a type of file; may be repeated")
    parser.add_argument("--case", type=int, help="only the case of this number")
    parser.add_argument("--keep", type=Path, help="folder for the bundles that failed")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        folder = Path(name)
        types = [item for item in create_file_types(folder) if not options.only or item.name in options.only]
        numbers = (
            [options.case] if options.case is not None else list(range(options.first, options.first + options.cases))
        )
        failures = 0
        print(f"{'type of file':22}" + "".join(f"{column:>15}" for column in COLUMNS) + f"{'seconds':>10}", flush=True)
        for file_type in types:
            begin, counts = time.monotonic(), Counter[str]()
            for number, result, detail in run_cases(file_type, numbers, options.seed, folder):
                counts[result] += 1
                if result not in {REFUSED, USED}:
                    print(f"  {file_type.name}, case {number}: {result}: {detail}", flush=True)
                    if options.keep:
                        write_case(
                            file_type,
                            number,
                            options.seed,
                            options.keep / f"{file_type.name}-{number}".replace(" ", "-"),
                        )
            failures += counts.total() - counts[REFUSED] - counts[USED]
            row = "".join(f"{counts[column]:>15,}" for column in COLUMNS)
            print(f"{file_type.name:22}{row}{time.monotonic() - begin:>10.1f}", flush=True)
    print(f"{failures} failures in {len(types) * len(numbers):,} cases, seed {options.seed}")
    return 1 if failures else 0


def run_cases(file_type: FileType, numbers: list[int], seed: int, folder: Path) -> Iterator[tuple[int, str, str]]:
    """Run the cases in processes, and return number, result and detail of each; a process that ends early is replaced."""
    waiting = list(numbers)
    while waiting:
        batch = waiting[:BATCH]
        done = 0
        for result, detail in _run_process(lambda number: _run_case(file_type, number, seed, folder), batch):
            yield batch[done], result, detail
            done += 1
        waiting = waiting[done:]


def _run_process(run: Callable[[int], tuple[str, str]], batch: list[int]) -> Iterator[tuple[str, str]]:
    """Run a batch in a process; if it dies or hangs, that is the last result."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run_batch(run, batch, writer)
    os.close(writer)
    done, rest = 0, b""
    try:
        while done < len(batch):
            ready = select.select([reader], [], [], MAX_WAIT)[0]
            data = os.read(reader, 65536) if ready else b""
            if not data:
                os.kill(pid, signal.SIGKILL)
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                done += 1
                result, _, detail = line.decode().partition("\t")
                yield result, detail
    finally:
        os.close(reader)
        _, status = os.waitpid(pid, 0)
    if done < len(batch):
        number = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
        hung = number in {signal.SIGPROF, signal.SIGKILL}
        yield HANG if hung else CRASH, number.name if number else f"exit code {os.waitstatus_to_exitcode(status)}"


def _run_batch(run: Callable[[int], tuple[str, str]], batch: list[int], writer: int) -> None:
    """Run in the process of a batch: write one line per case."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if not os.environ.get("STARGAZE_FUZZ_DEBUG"):
        os.dup2(1, 2)
    for number in batch:
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)  # its signal ends a process also inside a library
        result, detail = run(number)
        os.write(writer, f"{result}\t{detail}\n".encode("ascii", "backslashreplace"))
    os._exit(0)


def _run_case(file_type: FileType, number: int, seed: int, folder: Path) -> tuple[str, str]:
    """Run one case and return the result and its reason."""
    case = write_case(file_type, number, seed, folder / "case")
    try:
        return use_bundle(file_type, case, Store(folder / "page")), ""
    except LaterFailureError as error:
        return LATER, " ".join(str(error).split())[:400]
    except BaseException as error:  # whatever it is, it would be a traceback
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return TRACEBACK, " ".join(f"{error!r} at {Path(frame.filename).name}:{frame.lineno}".split())[:400]


def write_case(file_type: FileType, number: int, seed: int, folder: Path) -> Path:
    """Write the bundle of a case; all but the manifest's own cases have a manifest that matches."""
    random = Random(f"{seed}/{file_type.name}/{number}")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    variant = file_type.variants[number % len(file_type.variants)]
    changed = {variant.file: variant.mutate(variant.files[variant.file], random)}
    for name, content in {**variant.files, **changed}.items():
        (folder / name).write_bytes(content)
    if variant.file != MANIFEST:
        write_manifest(folder)
    return folder


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # threads of a library do not survive a fork
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        os.execv(sys.executable, [sys.executable, "-m", "tests.fuzz", *sys.argv[1:]])
    sys.exit(main())

"""Change every type of bundle file and every input thousands of times, use what is accepted in watched processes, print a table.

Each case depends on the seed, the type and its number alone. Exit code 1 if a process crashed, hung or used too much memory, an
exception other than a refusal occurred, or what was accepted failed later or had a wrong result.
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
from dataclasses import dataclass
from pathlib import Path
from random import Random

from stargaze.bundle.manifest import MANIFEST, write_manifest
from stargaze.store import Store
from tests.fuzz.cases import BUNDLE_FILES, FileType, create_file_types, write_page_bundle
from tests.fuzz.read import read_input
from tests.fuzz.readers import Reader, create_readers
from tests.fuzz.use import REFUSED, USED, LaterFailureError, use_bundle

MAX_SECONDS = 10
"""Time limit of a case [s of CPU]."""
MAX_WAIT = 120
"""Time limit of a case on a busy machine [s]."""
MAX_MEMORY = 6_000_000_000
"""Address space of a process [B]."""
MAX_GROWTH = 600_000_000
"""Memory that the cases of a process may need beyond that of its start [B]."""
BATCH = 100
"""Cases per process: enough to make its start cheap, few enough that no state accumulates."""
CRASH, HANG, MEMORY, TRACEBACK, LATER = "crash", "hang", "memory", "traceback", "later failure"
COLUMNS = (REFUSED, USED, CRASH, HANG, MEMORY, TRACEBACK, LATER)


@dataclass(frozen=True)
class Subject:
    """What is tested: how a case (number, seed, folder) is written, and how a case is used in a folder."""

    name: str
    write: Callable[[int, int, Path], Path]
    use: Callable[[Path, Path], str]


def main() -> int:
    """Run all cases and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=5_000, help="per type of bundle file")
    parser.add_argument("--reader-cases", type=int, default=10_000, help="per reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a type of file or a reader; may be repeated")
    parser.add_argument("--case", type=int, help="only the case of this number")
    parser.add_argument("--keep", type=Path, help="folder for the cases that failed")
    options = parser.parse_args()
    names = {reader.name for reader in create_readers()} | set(BUNDLE_FILES)
    if unknown := set(options.only or ()) - names:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the subjects are {', '.join(sorted(names))}")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        folder = Path(name)
        total = failures = 0
        print(f"{'subject':22}" + "".join(f"{column:>15}" for column in COLUMNS) + f"{'seconds':>10}", flush=True)
        for subject, count in _create_subjects(folder, options):
            numbers = [options.case] if options.case is not None else range(options.first, options.first + count)
            counts = _run_subject(subject, list(numbers), options, folder)
            total += counts.total()
            failures += counts.total() - counts[REFUSED] - counts[USED]
    print(f"{failures} failures in {total:,} cases, seed {options.seed}")
    return 1 if failures else 0


def _create_subjects(folder: Path, options: argparse.Namespace) -> Iterator[tuple[Subject, int]]:
    """Yield what is tested with the number of its cases, the readers first; bundles are fitted only if they are needed."""
    readers = create_readers()
    wanted = [reader for reader in readers if not options.only or reader.name in options.only]
    if any(reader.uses_page for reader in wanted):
        write_page_bundle(folder)
    for reader in wanted:
        yield _reader_subject(reader), options.reader_cases
    if not options.cases or (options.only and not set(options.only) & set(BUNDLE_FILES)):
        return
    for item in create_file_types(folder):
        if not options.only or item.name in options.only:
            yield _bundle_subject(item), options.cases


def _reader_subject(reader: Reader) -> Subject:
    return Subject(reader.name, reader.write, lambda case, folder: read_input(reader.kind, case, folder))


def _bundle_subject(file_type: FileType) -> Subject:
    def write(number: int, seed: int, folder: Path) -> Path:
        return write_case(file_type, number, seed, folder)

    return Subject(file_type.name, write, lambda case, folder: use_bundle(file_type, case, Store(folder / "page")))


def _run_subject(subject: Subject, numbers: list[int], options: argparse.Namespace, folder: Path) -> Counter[str]:
    """Run the cases of one subject, print the failures and a row of the table, and return the number of each result."""
    begin, counts = time.monotonic(), Counter[str]()
    for number, result, detail in run_cases(subject, numbers, options.seed, folder):
        counts[result] += 1
        if result not in {REFUSED, USED}:
            print(f"  {subject.name}, case {number}: {result}: {detail}", flush=True)
            if options.keep:
                kept = options.keep / f"{subject.name}-{number}".replace(" ", "-")
                subject.write(number, options.seed, kept)
    row = "".join(f"{counts[column]:>15,}" for column in COLUMNS)
    print(f"{subject.name:22}{row}{time.monotonic() - begin:>10.1f}", flush=True)
    return counts


def run_cases(subject: Subject, numbers: list[int], seed: int, folder: Path) -> Iterator[tuple[int, str, str]]:
    """Run the cases in processes, and return number, result and detail of each; a process that ends early is replaced."""
    waiting = list(numbers)
    while waiting:
        batch = waiting[:BATCH]
        done = 0
        for result, detail in _run_process(lambda number: _run_case(subject, number, seed, folder), batch):
            yield batch[done], result, detail
            done += 1
        waiting = waiting[done:]


def _run_process(run: Callable[[int], tuple[str, str]], batch: list[int]) -> Iterator[tuple[str, str]]:
    """Run a batch in a process; if it dies or hangs, that is the last result."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            _run_batch(run, batch, writer)
        finally:
            os._exit(1)
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
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in batch:
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)  # its signal ends a process also inside a library
        result, detail = run(number)
        growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin) * 1024
        if growth > MAX_GROWTH and result in {REFUSED, USED}:
            result, detail = MEMORY, f"{growth:,} B more than at the start"
            begin += growth // 1024
        os.write(writer, f"{result}\t{detail}\n".encode("ascii", "backslashreplace"))
    os._exit(0)


def _run_case(subject: Subject, number: int, seed: int, folder: Path) -> tuple[str, str]:
    """Run one case and return the result and its reason."""
    try:
        return subject.use(subject.write(number, seed, folder / "case"), folder), ""
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

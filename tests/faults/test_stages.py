"""SIGKILL at random moments of every stage, deploy and rollback: the repeated command leads to the state of an undisturbed one.

``make faults`` kills 200 times. The store has minimal data, so most of the time of a command is between changes of files.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.manifest import write_manifest
from stargaze.serve.release.publish import list_releases
from stargaze.store import Store
from stargaze.system.files import sha256
from tests.faults.outcomes import record
from tests.job.project import Project

pytestmark = pytest.mark.faults
KILLS = int(os.environ.get("STARGAZE_STAGE_KILLS", "8"))
"""How often all commands together are killed."""
SEED = int(os.environ.get("STARGAZE_FAULT_SEED", "0"))
CONFIG = """
[fetch]
files = ["{records}"]
[features]
folds = 2
importance_repeats = 1
[screening]
families = ["dummy", "ridge"]
[tuning]
trials = 2
finalists = 1
max_concurrent = 1
"""
SHARES = {
    "fetch": 5,
    "select-features": 4,
    "screen": 4,
    "tune": 2,
    "report": 1,
    "run --once": 1,
    "deploy": 4,
    "rollback": 4,
}
"""Share of the kills of each command."""
ANNOUNCED = "serves again"
"""The answer of ``rollback``: whoever has seen it does not repeat the command."""
WITHOUT_QUEUE = shutil.ignore_patterns("queue")
"""It contains a named pipe, which cannot be copied."""
END = 90.0
"""Time in which all processes of a killed command must have ended; agents of Ray notice its end after up to a minute [s]."""


@dataclass(frozen=True)
class Case:
    """A command, the folder before it, the state after it, and how long it takes [s]."""

    command: str
    before: Path
    expected: dict[str, Any]
    seconds: float


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, make_repositories: Callable[..., pd.DataFrame]) -> list[Case]:
    """Run the pipeline once, command by command, with a copy of the folder before each."""
    base = tmp_path_factory.mktemp("stages")
    make_repositories(300).drop(columns="topics").to_csv(base / "records.csv", index=False)
    project, found = Project(base / "project"), []
    project.folder.mkdir()
    (project.folder / "stargaze.toml").write_text(CONFIG.replace("{records}", str(base / "records.csv")))
    for command in SHARES:
        if command in ("deploy", "rollback"):
            add_bundle(Store(project.store), f"before {command}")
            project.run("deploy", "--force", "a first release")
            add_bundle(Store(project.store), f"for {command}")
        if command == "rollback":
            project.run("deploy", "--force", "a second release")
        before = shutil.copytree(project.folder, base / f"before {command}", symlinks=True, ignore=WITHOUT_QUEUE)
        started = time.monotonic()
        project.run(*argv(command))
        found.append(Case(command, before, state(project), time.monotonic() - started))
    return found


def argv(command: str) -> list[str]:
    """Return the arguments of a command."""
    options = {"run --once": ["--port", "0"], "deploy": ["--force", "why"]}
    return [*command.split(), *options.get(command, [])]


def add_bundle(store: Store, version: str) -> None:
    """Copy the newest bundle; another version of stargaze created the copy, so that it has another digest."""
    source = store.bundles / store.latest.read_text().strip()
    folder = shutil.copytree(source, store.bundles / "making")
    meta = json.loads((folder / "bundle.json").read_text())
    (folder / "manifest.json").unlink()
    (folder / "bundle.json").write_text(json.dumps({**meta, "version": version}, indent=1, sort_keys=True) + "\n")
    digest = write_manifest(folder)
    assert digest != source.name
    folder.rename(store.bundles / digest)
    store.latest.write_text(digest + "\n")


def state(project: Project) -> dict[str, Any]:
    """Return everything that the commands produce, without recorded times."""
    store = Store(project.store)
    files = [store.repositories, store.features, store.selection, store.selection_plot]
    found: dict[str, Any] = {path.name: sha256(path) for path in files if path.exists()}
    for path, columns in ((store.leaderboard, ["fit_time"]), (store.trials, ["seconds", "at"])):
        if path.exists():
            table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
            found[path.name] = table.drop(columns=columns).to_csv(index=False)
    if store.latest.exists():
        found["bundle"] = bundle_files(store.bundles / store.latest.read_text().strip())
    releases = list_releases(store)
    found["releases"] = [(release.kind, release.force_reason) for release in releases]
    if store.current.exists():
        found["installed"] = bundle_files(store.current.resolve())
        found["installed"]["is newest"] = store.current.resolve().name == releases[0].name
    found["journals"] = [path.name for path in (store.journal, store.rollback) if path.exists()]
    found["records"] = sorted(path.name for path in store.settings.glob("*.json")) if store.settings.exists() else []
    return found


def bundle_files(folder: Path) -> dict[str, Any]:
    """Return the digests of the files of a bundle."""
    return {path.name: sha256(path) for path in folder.iterdir() if path.name != "manifest.json"}


def end_of(project: Project) -> dict[int, str]:
    """Wait until all processes of the project have ended; return those that did not, with their command lines."""
    deadline = time.monotonic() + END
    while (numbers := project.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    alive = {number: command_line(number) for number in numbers}
    for number in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return alive


def command_line(number: int) -> str:
    """Return the command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def try_kill(case: Case, folder: Path, moment: float) -> tuple[str, float]:
    """Kill the command after ``moment`` [s] and repeat it; return what differs then, and how long the repetition took [s]."""
    project = Project(shutil.copytree(case.before, folder, symlinks=True))
    with project.started(*argv(case.command)) as process:
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        orphans = [command for number, command in end_of(project).items() if number != process.pid]
        was_announced = ANNOUNCED in (process.stdout.read() if process.stdout else "")
    if process.returncode == 0:  # it was faster than the undisturbed one: that was no kill
        shutil.rmtree(folder)
        return try_kill(case, folder, moment / 2)
    if orphans:
        return f"these processes live on: {orphans}", END
    started = time.monotonic()
    try:
        if not was_announced:  # a second rollback would be another one
            project.run(*argv(case.command))
    except AssertionError as error:
        return f"the repeated command failed: {error}", time.monotonic() - started
    seconds, after = time.monotonic() - started, state(project)
    differing = [name for name in case.expected.keys() | after.keys() if case.expected.get(name) != after.get(name)]
    return ", ".join(f"{name}: {after.get(name)} != {case.expected.get(name)}" for name in differing), seconds


def test_a_killed_command_is_completed_when_it_is_repeated(cases: list[Case], tmp_path: Path) -> None:
    generator, differences = random.Random(SEED), []
    for case in cases:
        for number in range(max(1, round(KILLS * SHARES[case.command] / sum(SHARES.values())))):
            moment = generator.uniform(0.0, case.seconds)
            folder = tmp_path / f"{case.command} {number}"
            difference, seconds = try_kill(case, folder / "project", moment)
            record(f"SIGKILL, {case.command}", recovered=not difference, lost=bool(difference), seconds=seconds)
            if difference:
                differences.append(f"{case.command} after {moment:.2f} of {case.seconds:.2f} s: {difference}")
            shutil.rmtree(folder)
    assert differences == []

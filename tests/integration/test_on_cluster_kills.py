"""Commands, connections, the head and the worker are killed at random moments: each job ends well, or says what to type."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest

from stargaze.bundle.manifest import verify_files
from tests.integration.cluster_workspace import TIMEOUT, Workspace, create_workspace
from tests.integration.commands import KILL_ROUNDS
from tests.labs.cluster import HEAD, WORKER, Cluster
from tests.waiting import wait_for

pytestmark = pytest.mark.cluster
SEED = int(os.environ.get("STARGAZE_KILL_SEED", "33"))
TARGETS = ("command", "ssh", "head", "worker")
PHASES = ("begin", "run", "result")
RECORD = {"stargazers_count": 3, "created_at": "2015-01-01T00:00:00Z"}
MAX_COMMANDS = 6
"""Commands that the hints name until a stage has succeeded."""


@dataclass
class Round:
    """One kill, and what happened after it."""

    number: int
    target: str
    phase: str
    delay: float
    """Time from the beginning of the phase until the kill [s]."""
    size: int
    """Trials of the tuning, or records that are fetched: it identifies the job."""
    commands: list[str]
    seconds: float = 0.0
    kept: int = 0
    """Trials that were finished before the kill and are in the final table."""

    @property
    def stage(self) -> str:
        """A tuning has trials to lose; to fetch a few records takes less time."""
        return "tune" if self.phase == "run" else "fetch"

    def __str__(self) -> str:
        """Return a row of the table."""
        killed = f"{self.target:8} {self.phase:7} {self.delay:5.2f} s"
        return f"{self.number:3}  {killed}  {self.kept:3} kept  {self.seconds:6.1f} s  {' ; '.join(self.commands)}"


def draw_rounds() -> list[Round]:
    """Return the rounds: every target and phase in turn, at random moments; the number of trials identifies the job."""
    chance = random.Random(SEED)
    pairs = [(target, phase) for phase in PHASES for target in TARGETS if target != "worker" or phase == "run"]
    chance.shuffle(pairs)
    return [
        Round(number, *pairs[number % len(pairs)], chance.uniform(0.0, 4.0), 9 + number, [])
        for number in range(KILL_ROUNDS)
    ]


def test_a_job_survives_kills_or_says_what_to_type(
    ray_cluster: Cluster, sample: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kill in draw_rounds():
        if kill.number == 0 or kill.stage == "tune":  # fetched repositories replace those of a tuning
            workspace = create_workspace(ray_cluster, sample, tmp_path / str(kill.number))
        started = time.monotonic()
        try:
            run_round(workspace, kill)
        finally:
            restart_nodes(ray_cluster)
            kill.seconds = time.monotonic() - started
            with capsys.disabled():
                sys.stdout.write(f"\n{kill}")
                sys.stdout.flush()


def run_round(workspace: Workspace, kill: Round) -> None:
    """Start, kill, and follow the hints until the stage has succeeded: with its own result, and without losing a trial."""
    records = [{**RECORD, "id": number + 1, "full_name": f"a/b{number}"} for number in range(kill.size)]
    (workspace.folder / "records.json").write_text(json.dumps(records))
    options = f"--trials {kill.size}" if kill.stage == "tune" else "records.json"
    command = f"{kill.stage} {options} --on cluster"
    before: set[str] = set()
    with workspace.started(*command.split(), "--json") as process:
        with contextlib.suppress(psutil.NoSuchProcess):
            wait_for_phase(workspace, kill, process.pid)
            before = finished_trials(workspace) if kill.phase == "run" else set()
            end(workspace.cluster, kill.target, process.pid)
        restart_nodes(workspace.cluster)  # also a worker returns in the middle
        out, err = process.communicate(timeout=TIMEOUT)
    code, wants_trials = process.returncode, bool(before)
    kill.commands.append(f"{command} -> {code}")
    while code:
        assert len(kill.commands) < MAX_COMMANDS, (kill, err)
        command = f"{kill.stage} --attach" if code == -signal.SIGKILL else command_of_hint(err, kill, workspace)
        if "--attach" not in command:
            wants_trials = wants_trials and "--resume" in command
            command += f" {options}"
        ended = workspace.run(*shlex.split(command), "--json")
        code, out, err = ended.code, ended.out, ended.err
        kill.commands.append(f"{command} -> {code}")
    result = json.loads(out)
    assert result["trials" if kill.stage == "tune" else "repositories"] == kill.size, "the result of another job"
    assert not (workspace.store.root / "job.json").exists()
    if kill.stage == "fetch":
        assert len(pd.read_parquet(workspace.store.repositories)) == kill.size
        return
    digest = Path(result["bundle"]).name
    assert verify_files(workspace.store.bundles / digest) == digest == workspace.store.latest.read_text().strip()
    after = {f"{row.parameters} {row.seconds}" for row in pd.read_parquet(workspace.store.trials).itertuples()}
    assert before <= after or not wants_trials, f"lost trials: {before - after}"
    kill.kept = len(before & after)


def wait_for_phase(workspace: Workspace, kill: Round, pid: int) -> None:
    """Wait for the moment of the kill; less if the command has ended."""
    process = psutil.Process(pid)

    def has_begun() -> bool:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE or kill.phase == "begin":
            return True
        job = workspace.store.root / "job.json"
        if not job.exists():
            return False
        if kill.phase == "run":
            return bool(workspace.remote_journal())
        events = workspace.cluster.root / "ray" / "jobs" / workspace.job() / "events.jsonl"
        return events.exists() and b'"exit_code"' in events.read_bytes()[-200:]

    with contextlib.suppress(FileNotFoundError):
        wait_for(has_begun, TIMEOUT)
    time.sleep(kill.delay / 8 if kill.phase == "result" else kill.delay)


def end(nodes: Cluster, target: str, pid: int) -> None:
    """Kill at once, as a power cut does; a dead head has no connections and no job servers."""
    command = psutil.Process(pid)
    connections = [child for child in command.children(recursive=True) if child.name() == "ssh"]
    if target in ("head", "worker"):
        nodes.nodes[HEAD if target == "head" else WORKER].kill()
    if target == "head":
        connections += [
            server
            for server in psutil.process_iter(["cmdline"])
            if str(nodes.root) in " ".join(server.info["cmdline"] or [])
            and "stargaze.infra.jobs.server" in " ".join(server.info["cmdline"] or [])
        ]
    for process in {"command": [command], "ssh": connections, "head": connections, "worker": []}[target]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def restart_nodes(nodes: Cluster) -> None:
    """Start the nodes that were killed; the worker of a dead head joins the new one."""
    if nodes.nodes[HEAD].process.poll() is not None:
        nodes.nodes[WORKER].kill()
        nodes.start_head()
    if nodes.nodes[WORKER].process.poll() is not None:
        wait_for(lambda: nodes.alive() == [HEAD], TIMEOUT)
        nodes.start_worker()


def finished_trials(workspace: Workspace) -> set[str]:
    """Return parameters and time of each trial in the journal of the head; no other run of a trial takes the same time."""
    trials = [json.loads(line) for line in workspace.remote_journal()]
    return {f"{json.dumps(trial['parameters'], sort_keys=True)} {trial['seconds']}" for trial in trials}


def command_of_hint(err: str, kill: Round, workspace: Workspace) -> str:
    """Return the command that the hint names, which is never a traceback; the first one again if no job was begun."""
    assert "Traceback" not in err, err
    hint = err.splitlines()[-1]
    assert hint.startswith("hint:"), err
    found = re.search(rf"stargaze ({kill.stage} [^;,]*)", hint)
    if found is None:
        assert not (workspace.store.root / "job.json").exists(), err
        return f"{kill.stage} --on cluster"
    words = found[1].split()
    return " ".join(words[: 1 + max(n for n, word in enumerate(words) if word.startswith("--") or word == "cluster")])

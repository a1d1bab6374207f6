"""Run a pipeline stage as a job on the cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from stargaze.config import Config
from stargaze.errors import ExternalError
from stargaze.infra.jobs.client import check_inputs, follow_job, read_job, require_job, submit_job
from stargaze.infra.jobs.spec import build_spec
from stargaze.infra.jobs.ssh_client import HeadLayout, JobService, SshJobService, store_id
from stargaze.output import CommandResult
from stargaze.store import Store
from stargaze.system.progress import Report

SECRETS = {"fetch": ("GITHUB_TOKEN",)}
"""Environment variables of this machine that a stage receives."""


def connect_cluster(config: Config, store: Store) -> JobService:
    """Return the job server of the cluster that the config names; MissingInputError if there is no cluster."""
    from stargaze.infra.hosts.host_list import find_ssh_hosts
    from stargaze.infra.hosts.state_dir import open_state_dir

    machine = find_ssh_hosts(config.infra, open_state_dir(config.infra, store), "development")[0]
    return SshJobService(machine, HeadLayout.from_variables(config.infra.ansible_variables), store_id(store.root))


def start_stage(
    stage: str,
    config: Config,
    store: Store,
    now: datetime,
    report: Report,
    *,
    options: Sequence[str] = (),
    files: Sequence[Path] = (),
    resume: bool = False,
) -> dict[str, str]:
    """Start a stage on the cluster; return its id, stage, machine and time."""
    secrets = {name: os.environ[name] for name in SECRETS.get(stage, ()) if os.environ.get(name)}
    options = [*options, *(["--resume"] if resume else [])]
    spec = build_spec(stage, config, store, options=options, files=files, resume=resume)
    check_inputs(spec, store)  # before the cluster is contacted
    return submit_job(spec, connect_cluster(config, store), store, now, secrets, report)


def is_started(stage: str, store: Store) -> bool:
    """Return whether the stage was started on the cluster and its results are not downloaded."""
    job = read_job(store)
    return job is not None and job["stage"] == stage


def attach_stage(stage: str, config: Config, store: Store, report: Report) -> CommandResult:
    """Follow a stage that was started on the cluster and download its results; return its result as if it ran here."""
    require_job(stage, store)  # before the cluster is contacted
    outcome = follow_job(stage, connect_cluster(config, store), store, report)
    if outcome.value is None:
        raise ExternalError(f"{stage} returned no result", hint=f"stargaze {stage} --on cluster")
    if isinstance(outcome.value, dict) and "bundle" in outcome.value:
        outcome.value["bundle"] = str(store.bundles / Path(outcome.value["bundle"]).name)
    return outcome

"""A stage on the cluster instead of here: which machine, what it takes along, and its answer in the words of a stage here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from stargaze.config import Config
from stargaze.errors import ExternalError
from stargaze.infra.jobs.client import JobRecord, Outcome, check_inputs, follow, send
from stargaze.infra.jobs.spec import errand
from stargaze.infra.jobs.ssh_client import JobService, head_of, place_of
from stargaze.store import Store
from stargaze.system.progress import Report

SECRETS = {"fetch": ("GITHUB_TOKEN",)}
"""What a stage there is told of our environment."""


def head(config: Config, store: Store) -> JobService:
    """Return the head of the cluster that the config names.

    Raises
    ------
    MissingInputError
        If there is no cluster.
    """
    from stargaze.infra.hosts.host_list import find_ssh_hosts
    from stargaze.infra.hosts.state_dir import open_state_dir

    machine = find_ssh_hosts(config.infra, open_state_dir(config.infra, store), "development")[0]
    return head_of(machine, place_of(config.infra.ansible_variables), store.root)


def start_stage(
    stage: str,
    config: Config,
    store: Store,
    now: datetime,
    report: Report,
    *,
    words: Sequence[str] = (),
    files: Sequence[Path] = (),
    resume: bool = False,
) -> dict[str, str]:
    """Begin a stage on the cluster; ``words`` are options that are no keys of the config. Return its id, machine and time."""
    secrets = {name: os.environ[name] for name in SECRETS.get(stage, ()) if os.environ.get(name)}
    words = [*words, *(["--resume"] if resume else [])]
    one = errand(stage, config, store, words=words, files=files, resume=resume)
    check_inputs(one, store)  # before a machine is asked
    return send(one, head(config, store), store, now, secrets, report)


def is_started(stage: str, store: Store) -> bool:
    """Tell whether a stage was begun on the cluster and not brought back."""
    known = JobRecord(store).known()
    return known is not None and known["stage"] == stage


def attach_stage(stage: str, config: Config, store: Store, report: Report) -> Outcome:
    """Follow a stage that was begun on the cluster, put what it made in place, and return its answer as if it were made here."""
    JobRecord(store).of(stage)  # before a machine is asked
    found = follow(stage, head(config, store), store, report)
    if found.value is None:
        raise ExternalError(f"{stage} gave no answer", hint=f"stargaze {stage} --on cluster")
    if isinstance(found.value, dict) and "bundle" in found.value:
        found.value["bundle"] = str(store.bundles / Path(found.value["bundle"]).name)
    return found

"""The note of a store about its job on the cluster: written before the job is sent, deleted when its results are here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.infra.jobs.spec import JOB_ID, LATEST_BUNDLE, STAGES
from stargaze.store import Store
from stargaze.system.files import read_json, write_json

FORMAT = 2


@dataclass(frozen=True)
class JobNote:
    """A job on the cluster."""

    id: str
    """Created here before anything is sent; each call to the cluster carries it and each answer repeats it."""
    stage: str
    machine: str
    started_at: str
    target: str
    """What is tuned: stars or growth."""
    inputs: Mapping[str, str]
    """SHA-256 of the inputs by name."""

    def write(self, store: Store) -> None:
        """Write the note of a store."""
        write_json(store.job, {"format": FORMAT, **dataclasses.asdict(self)})

    def delete(self, store: Store) -> None:
        """Delete the note of a store if it is about this job."""
        if store.job.exists() and read_note(store) == self:
            store.job.unlink()

    def answer(self) -> dict[str, str]:
        """Return what a command prints about the job that it started."""
        return {"id": self.id, "stage": self.stage, "machine": self.machine, "started_at": self.started_at}


def read_note(store: Store) -> JobNote | None:
    """Return the note of a store, None if there is none."""
    if not store.job.exists():
        return None
    hint = f"stargaze jobs lists the jobs of the cluster; remove {store.job} to start another one"
    try:
        value = read_json(store.job, "jobs")
    except ExternalError as error:
        raise ExternalError(error.message, hint=hint) from error
    if not isinstance(value, dict) or value.pop("format", 1) != FORMAT:
        raise ExternalError(
            f"{store.job}: an earlier version of stargaze started this job; it cannot be attached", hint=hint
        )
    try:
        return note_from_dict(value)
    except (TypeError, ValueError) as error:
        raise ExternalError(f"{store.job}: cannot be read: {error}", hint=hint) from error


def note_from_dict(value: Mapping[str, Any]) -> JobNote:
    """Return the note of a job; ValueError or TypeError if it is not one."""
    note = JobNote(
        **{
            field.name: value.get(field.name, {} if field.name == "inputs" else "")
            for field in dataclasses.fields(JobNote)
        }
    )
    if not isinstance(note.inputs, dict) or not JOB_ID.fullmatch(note.id) or note.stage not in STAGES:
        raise ValueError("it does not name a job")
    if note.stage == "tune" and note.target not in LATEST_BUNDLE:
        raise ValueError("it does not name a target")
    return note


def require_note(stage: str, store: Store) -> JobNote:
    """Return the note about the job of a stage; MissingInputError if there is no job, UsageError if it is of another stage."""
    note = read_note(store)
    if note is None:
        hint = f"stargaze {stage} --on cluster; or stargaze jobs, and stargaze {stage} --attach ID"
        raise MissingInputError(f"this store has no {stage} job on the cluster", hint=hint)
    check_stage(stage, note)
    return note


def check_stage(stage: str, note: JobNote) -> None:
    """Raise UsageError if a job is of another stage."""
    if note.stage != stage:
        raise UsageError(
            f"job {note.id} is {note.stage}, not {stage}", hint=f"stargaze {note.stage} --attach {note.id}"
        )


def keep_old_note(store: Store) -> Path:
    """Rename the note of a job that the cluster does not know."""
    path = store.job.with_suffix(".before.json")
    store.job.replace(path)
    return path

"""Carry an errand out: send it, show how far it is, stop it on Ctrl-C, and put what it made in place."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from stargaze.bundle.manifest import verify_files
from stargaze.errors import ExternalError, MissingInputError, StargazeError, UsageError
from stargaze.infra.jobs.archive import pack, sums, unpack
from stargaze.infra.jobs.spec import JobSpec
from stargaze.infra.jobs.ssh_client import JobService, raised
from stargaze.store import Store
from stargaze.system.files import convert_disk_errors, read_json, scratch_folder, write_json
from stargaze.system.progress import Report

AGAIN = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses before a connection that broke is tried again [s]."""
SAID = 20
"""Of what a command says beside its events the last lines are kept, for the case that it dies without a word."""
STOPPED = (130, 143, -2, -15)


@dataclass(frozen=True)
class Outcome:
    """The answer of a command, as JSON and as a person reads it."""

    value: Any
    text: str = ""


@dataclass(frozen=True)
class JobRecord:
    """What a store knows of its errand: ``errand.json``, from before it is sent until its outcome is in place."""

    store: Store

    @property
    def path(self) -> Path:
        """Where that is written."""
        return self.store.root / "errand.json"

    def known(self) -> dict[str, Any] | None:
        """Return the errand that was sent and not brought back."""
        if not self.path.exists():
            return None
        found: dict[str, Any] = read_json(self.path, "status")
        return found

    def of(self, stage: str) -> dict[str, Any]:
        """Return the errand of a stage.

        Raises
        ------
        MissingInputError
            If none was sent.
        UsageError
            If it is another stage's.
        """
        found = self.known()
        if found is None:
            raise MissingInputError(
                f"no {stage} of this store is on the cluster", hint=f"stargaze {stage} --on cluster"
            )
        if found["stage"] != stage:
            raise UsageError(
                f"it is {found['stage']} that is on the cluster", hint=f"stargaze {found['stage']} --attach"
            )
        return found


def check_inputs(one: JobSpec, store: Store) -> None:
    """See that everything is there that an errand takes along.

    Raises
    ------
    MissingInputError
        If not; it says which command makes it.
    """
    for path in one.sends.values():
        if path == store.journal and not path.exists():
            raise MissingInputError(
                "there is no stopped tuning to go on with", hint=f"stargaze {one.stage} --on cluster"
            )
        if path.is_relative_to(store.root):
            store.require(path)
        elif not path.exists():
            raise MissingInputError(f"{path}: no such file", hint="is the name right?")


def send(
    one: JobSpec, head: JobService, store: Store, now: datetime, environment: Mapping[str, str], report: Report
) -> dict[str, str]:
    """Send the errand, whose inputs were seen to be there, and have it begun; return its id, stage, machine and time.

    Raises
    ------
    ExternalError
        If an errand of this store is on the cluster already, the head has other code, or cannot be reached.
    """
    under = JobRecord(store)
    report(f"looking at {head.name}", 0.0)
    wanted = sums(one.sends)
    found = head.look(wanted)
    _check_free(under, head, found["job"])
    lacks = {name: one.sends[name] for name in found["lacks"]}
    report(f"sending {sum(path.stat().st_size for path in lacks.values()) / 1e6:.1f} MB to {head.name}", 0.0)
    job = {
        "id": f"stargaze-{uuid.uuid4().hex[:12]}",
        "stage": one.stage,
        "began": now.isoformat(timespec="seconds"),
    }
    begun = {**job, "machine": head.name}
    mine = {**begun, "sent": list(wanted), "brings": list(one.brings), "keeps": list(one.keeps)}
    write_json(under.path, mine)
    asked = {
        **job,
        "words": list(one.words),
        "settings": one.settings,
        "sums": wanted,
        "environment": dict(environment),
    }
    try:
        head.begin(asked, pack(lacks))
    except KeyboardInterrupt:
        head.stop()  # waits for a beginning that is still on its way
        under.path.unlink(missing_ok=True)
        raise
    except StargazeError:
        if not _has_begun(head, job["id"]):
            under.path.unlink(missing_ok=True)
        raise
    return begun


def follow(stage: str, head: JobService, store: Store, report: Report) -> Outcome:
    """Show how far the errand is until it has ended, and put what it made in place; return its answer.

    On Ctrl-C it is stopped, and what it had found is brought back; when this process is ended in another way, or the connection
    breaks, it goes on there.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C.
    StargazeError
        As the command there ended.
    """
    known = JobRecord(store).of(stage)
    heard = Heard()
    try:
        ended = _follow(head, report, stage, heard)
    except KeyboardInterrupt:
        report(f"stopping {stage} on {head.name}", 0.0)
        head.stop()
        download_results(head, store, known["keeps"])
        raise
    if ended == 0:
        download_results(head, store, known["brings"])
        if store.journal.name in known["keeps"]:
            _settle_journal(store, resumed=store.journal.name in known["sent"])
        return Outcome(heard.answer, heard.text)
    download_results(head, store, known["keeps"])
    if heard.error is not None and ended not in STOPPED:
        raise raised(heard.error["error"], heard.error["hint"], heard.error["code"])
    hint = f"stargaze {stage} --on cluster{' --resume' if known['keeps'] else ''}"
    raise ExternalError(f"{stage} was ended on {head.name}{heard.why(ended)}", hint=hint)


def download_results(head: JobService, store: Store, names: Sequence[str]) -> None:
    """Fetch files, check them, put them in place by renames, and forget the errand."""
    if names:
        with scratch_folder(store.root) as scratch:
            got = unpack(io.BytesIO(head.give(names)), scratch)
            for name in [one for one in got if one.startswith("bundles/latest")]:
                _check_bundle(scratch, name)
            _put(scratch, store, got)
    JobRecord(store).path.unlink(missing_ok=True)


@dataclass
class Heard:
    """What a command has told beside how far it is: its error, its answer for a person, and its last lines."""

    error: dict[str, Any] | None = None
    answer: Any = None
    text: str = ""
    said: list[str] = field(default_factory=list)

    def take(self, told: Mapping[str, Any]) -> None:
        """Keep what is worth keeping."""
        if "error" in told:
            self.error = dict(told)
        if "answer" in told:
            self.answer, self.text = told["answer"], told["text"]
        if str(told.get("said", "")).strip():
            self.said = [*self.said, told["said"]][-SAID:]

    def why(self, ended: int | None) -> str:
        """Report why a command ended that was to go on."""
        words = (self.error or {}).get("error") or next(reversed(self.said), "")
        return f": {words}" if words else "" if ended is None else f" with exit code {ended}"


def _follow(head: JobService, report: Report, stage: str, heard: Heard) -> int | None:
    """Follow the job over connections that break; return how it ended, None where nobody can say."""
    offset, failures = 0, 0
    while True:
        try:
            for line in head.follow(offset):
                told, failures = json.loads(line), 0
                if "ended" in told:
                    heard.take({"said": told.get("why") or ""})
                    return int(told["ended"]) if told["ended"] is not None else None
                offset += len(line.encode()) + 1
                heard.take(told)
                if "what" in told:
                    report(told["what"], told["done"])
        except ExternalError as lost:
            if failures == len(AGAIN):
                hint = f"it goes on there; stargaze {stage} --attach follows it again"
                raise ExternalError(lost.message, hint=hint) from lost
            time.sleep(AGAIN[failures])
            failures += 1


def _check_free(under: JobRecord, head: JobService, there: Mapping[str, Any] | None) -> None:
    mine = under.known()
    if mine is not None and there is not None and there["id"] == mine["id"]:
        state = "runs" if there["runs"] else "has ended"
        raise ExternalError(
            f"{mine['stage']} of this store {state} on {head.name}, begun at {mine['began']}, and is not brought back",
            hint=f"stargaze {mine['stage']} --attach",
        )
    if there is not None and there["runs"]:
        raise ExternalError(
            f"{there['stage']} of this store runs on {head.name}, begun at {there['began']}, and was not begun from here",
            hint="wait for it",
        )


def _has_begun(head: JobService, job: str) -> bool:
    """Tell whether a job runs whose beginning was not heard of; if nobody can say, it may."""
    try:
        found = head.look({})["job"]
    except ExternalError:
        return True
    return found is not None and found["id"] == job and found["runs"]


def _check_bundle(scratch: Path, latest: str) -> None:
    """See that a bundle is whole, and the one that was meant: nothing is loaded from it."""
    name = (scratch / latest).read_text(encoding="utf-8").strip()
    digest = verify_files(scratch / "bundles" / Path(name).name)
    if digest != name:
        raise ExternalError("the bundle that came back is not the one that was made", hint="stargaze tune --attach")


def _put(scratch: Path, store: Store, names: Sequence[str]) -> None:
    """Rename everything into place: bundles first, and what names them last."""
    for folder in sorted({Path(name).parent for name in names if name.count("/") == 2}):
        target = store.root / folder
        with convert_disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # of the same digest
                shutil.rmtree(target)
            (scratch / folder).rename(target)
            target.chmod(0o755)
    for name in (one for one in names if one.count("/") < 2):
        with convert_disk_errors(store.root / name):
            (store.root / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).chmod(0o644)
            (scratch / name).replace(store.root / name)


def _settle_journal(store: Store, *, resumed: bool) -> None:
    """Leave the journal as a tuning here would: gone after it, or beside it where another was begun anew."""
    with contextlib.suppress(FileNotFoundError):
        if resumed:
            store.journal.unlink()
        else:
            store.journal.replace(store.journal.with_suffix(".before.jsonl"))

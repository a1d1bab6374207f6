"""A head node that returns other files, other bundles and other answers than it was asked for: nothing of it is stored."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.manifest import BadBundleError, verify_files, write_manifest
from stargaze.errors import ExternalError, StargazeError
from stargaze.infra.jobs import client as job_client
from stargaze.infra.jobs.archive import unpack_files
from stargaze.infra.jobs.client import follow_job
from stargaze.infra.jobs.job_note import JobNote, read_note
from stargaze.output import CommandResult
from stargaze.store import Store
from tests.infra.jobs.conftest import JOB, FakeJobService, RemoteSide

Files = dict[str, bytes]
OWN = {
    "report.html": b"the report",
    "predictions.sqlite": b"the track record",
    "trials.jsonl": b'{"seed": 0}\n{"number": 0}\n',
    "job.json": b"",
    "keys/signing_key": b"a key",
}
"""Files of the store that no job may write."""


class HostileService(FakeJobService):
    """Its answers about results and files are any."""

    files: Files
    answers: list[dict[str, Any]]

    def follow(self, job: str, offset: int) -> Any:
        return iter(self.answers)

    def download(self, job: str, names: Sequence[str], folder: Path, accepts: Callable[[str], bool]) -> list[str]:
        header = [[name, len(content), hashlib.sha256(content).hexdigest()] for name, content in self.files.items()]
        stream = json.dumps(header).encode() + b"\n" + b"".join(self.files.values())
        return unpack_files(io.BytesIO(stream), folder, accepts)


@pytest.fixture
def note(store: Store, monkeypatch: pytest.MonkeyPatch) -> JobNote:
    """A store with a job, and with files that must not change."""
    monkeypatch.setattr(job_client, "RETRY_PAUSES", (0.0,))
    for name, content in OWN.items():
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).write_bytes(content)
    note = JobNote(JOB, "tune", "development", "2026-03-01T12:00:00+00:00", "stars", {})
    note.write(store)
    return note


@pytest.fixture
def head(remote: RemoteSide) -> HostileService:
    service = HostileService(remote.server)
    service.answers = [{"event": {"result": {"bundle": "b"}, "text": ""}, "next": 1}, {"exit_code": 0, "state": "done"}]
    service.files = {}
    return service


def follow(head: HostileService, store: Store) -> CommandResult:
    note = read_note(store)
    assert note is not None
    return follow_job(note, head, store, lambda *_: None)


def content_of(store: Store) -> Files:
    paths = [path for path in store.root.rglob("*") if path.is_file() and path.name != "job.json"]
    return {path.relative_to(store.root).as_posix(): path.read_bytes() for path in sorted(paths)}


def pack(folder: Path, latest: str = "") -> Files:
    """Return a bundle as the files of an archive."""
    files = {f"bundles/{folder.name}/{path.name}": path.read_bytes() for path in folder.iterdir()}
    return {"trials.parquet": b"trials", **files, "bundles/latest": (latest or folder.name).encode()}


def changed_bundle(folder: Path, tmp_path: Path, *, is_signed: bool) -> Path:
    """Return a copy of a bundle with another description; with ``is_signed`` its manifest and name fit."""
    copy = tmp_path / "changed"
    shutil.copytree(folder, copy)
    description = json.loads((copy / "bundle.json").read_text())
    description["features"] = 7
    (copy / "bundle.json").write_text(json.dumps(description))
    return copy.rename(tmp_path / (write_manifest(copy) if is_signed else folder.name))


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in OWN if name != "trials.jsonl"),
        "trials.jsonl",  # a finished tuning has none
        "leaderboard.csv",
        "features.json",
        "bundles/latest-growth",
        "../outside",
        "bundles/../report.html",
        f"bundles/{'0' * 64}/../../report.html",
        f"bundles/{'0' * 64}/a/b",
        f"bundles/{'0' * 63}/a",
        f"bundles/{'0' * 64}/.hidden",
        "bundles",
        "/tmp/outside",
        "serving/current",
        "trials.parquet\0",
    ],
)
def test_a_file_that_was_not_requested_is_refused(
    head: HostileService, store: Store, note: JobNote, bundle_folder: Path, name: str
) -> None:
    head.files = {**pack(bundle_folder), name: b"evil"}

    with pytest.raises(ExternalError, match="was not requested"):
        follow(head, store)

    assert content_of(store) == {name: content for name, content in sorted(OWN.items()) if name != "job.json"}
    assert read_note(store) == note


@pytest.mark.parametrize("kind", ["absent", "other", "changed", "malformed", "unnamed", "name", "traversal"])
def test_a_bundle_that_cannot_be_verified_is_refused(
    head: HostileService, store: Store, note: JobNote, bundle_folder: Path, tmp_path: Path, kind: str
) -> None:
    changed = changed_bundle(bundle_folder, tmp_path, is_signed=kind in ("malformed", "unnamed"))
    head.files = {
        "absent": {"bundles/latest": bundle_folder.name.encode()},
        "other": pack(bundle_folder, "0" * 64),
        "changed": pack(changed),
        "malformed": pack(changed),
        "unnamed": {**pack(changed), **pack(bundle_folder)},
        "name": pack(bundle_folder, "\xff\n" * 3),
        "traversal": pack(bundle_folder, f"../bundles/{bundle_folder.name}"),
    }[kind]

    with pytest.raises(StargazeError):
        follow(head, store)

    assert not store.bundles.exists()
    assert not store.trials.exists()
    assert read_note(store) == note


def test_a_bundle_that_cannot_be_used_is_not_stored(
    head: HostileService, store: Store, note: JobNote, bundle_folder: Path
) -> None:
    head.files = pack(bundle_folder)

    def fail(folder: Path) -> None:
        assert verify_files(folder) == bundle_folder.name
        raise BadBundleError("a worker would end")

    with pytest.raises(BadBundleError, match="a worker would end"):
        follow_job(note, head, store, lambda *_: None, fail)

    assert not store.bundles.exists()
    assert not store.latest.exists()


def test_an_existing_bundle_is_kept(head: HostileService, store: Store, note: JobNote, bundle_folder: Path) -> None:
    head.files = pack(bundle_folder)
    target = store.bundles / bundle_folder.name
    shutil.copytree(bundle_folder, target)
    inode = (target / "bundle.json").stat().st_ino

    follow(head, store)

    assert (target / "bundle.json").stat().st_ino == inode
    assert store.latest.read_text() == bundle_folder.name

    note.write(store)
    (target / "bundle.json").write_text("{}")
    with pytest.raises(StargazeError, match="differs from the manifest"):
        follow(head, store)
    assert (target / "bundle.json").read_text() == "{}"


def test_the_result_must_be_there(head: HostileService, store: Store, note: JobNote) -> None:
    head.files = {"trials.parquet": b"trials"}

    with pytest.raises(ExternalError, match="has not returned bundles/latest"):
        follow(head, store)


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [{}],
        [{"exit_code": "0", "state": "done"}],
        [{"exit_code": [0]}],
        [{"event": {"activity": "a"}, "next": "x"}],
        [{"event": {}, "next": None}],
        [{"exit_code": 1, "state": {}}],
        [{"event": {"error": ["x"], "hint": 1, "code": "y"}, "next": 1}, {"exit_code": 5, "state": "failed"}],
        [
            {"event": {"error": "\x1b[2Jx" * 9, "hint": "\x1b", "code": 99}, "next": 1},
            {"exit_code": 5, "state": "failed"},
        ],
        [{"event": {"output": {"a": 1}}, "next": 1}, {"exit_code": 5, "state": "failed", "reason": ["\x1b"]}],
    ],
)
def test_an_answer_of_any_form_is_one_clear_error(
    head: HostileService, store: Store, note: JobNote, answers: list[dict[str, Any]]
) -> None:
    head.answers = answers

    with pytest.raises(StargazeError) as raised:
        follow(head, store)

    assert "\x1b" not in raised.value.message + raised.value.hint


def test_progress_and_result_cannot_control_the_terminal(
    head: HostileService, store: Store, note: JobNote, bundle_folder: Path
) -> None:
    head.files = pack(bundle_folder)
    evil = "\x1b]0;title\x07"
    head.answers = [
        {"event": {"activity": evil, "fraction": 7}, "next": 1},
        {"event": {"activity": evil, "fraction": "x"}, "next": 2},
        {"event": {"activity": evil, "fraction": 10**400}, "next": 2},
        {"event": {"activity": evil, "fraction": float("nan")}, "next": 2},
        {"event": {"result": {evil: [evil, 1.0]}, "text": evil}, "next": 3},
        {"exit_code": 0, "state": "done"},
    ]
    reports = list[tuple[str, float]]()

    result = follow_job(note, head, store, lambda *report: reports.append(report))

    assert "\x1b" not in repr((reports, result)).replace(r"\x1b", "\x1b")
    assert all(0 <= fraction <= 1 for _, fraction in reports)


def test_an_offset_without_end_is_an_invalid_answer(head: HostileService, store: Store, note: JobNote) -> None:
    head.answers = [{"event": {}, "next": float("inf")}]

    with pytest.raises(ExternalError, match="development gave an invalid answer"):
        follow(head, store)


def test_a_download_with_a_link_or_a_device_is_no_archive(head: HostileService, store: Store, note: JobNote) -> None:
    """There is no entry but plain files: a name that would replace a link of the store is refused before."""
    store.latest.parent.mkdir()
    (store.root / "trials.parquet").symlink_to("/etc/passwd")
    head.files = {"trials.parquet": b"evil"}

    with pytest.raises(ExternalError):
        follow(head, store)

    assert Path("/etc/passwd").read_bytes() != b"evil"

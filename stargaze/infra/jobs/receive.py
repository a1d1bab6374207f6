"""The start of a job on the head node: uploaded files, the folder of the job, its secrets, and what is deleted before."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stargaze.errors import ExternalError
from stargaze.infra.jobs.archive import ByteStream, checksums, unpack_files
from stargaze.infra.jobs.job_folder import JobFolder
from stargaze.infra.jobs.spec import FILE_NAME, JOB_ID
from stargaze.system.files import scratch_folder, write_json
from stargaze.system.locks import TEMPORARY_NAME, remove_stale

CACHE_FILES = ("github.sqlite", "github.sqlite-wal", "github.sqlite-shm")
"""Files that the next job of a store takes over, so that responses of GitHub are not requested again."""
RETENTION = 14 * 86_400.0
"""How long the folder of a job and an uploaded file stay after their last change or use [s]."""
START_TIMEOUT = 120.0
"""Timeout for a job to start [s]; a busy machine needs a minute."""
POLL_INTERVAL = 0.2
"""Time between two attempts to send the secrets [s]."""


def uploaded_file(folder: Path, digest: str) -> Path:
    """Return the path of an uploaded file; another job that needs the same one uses it too."""
    return folder / "files" / digest


def receive_files(folder: Path, expected: Mapping[str, str], archive: ByteStream) -> None:
    """Store the uploaded files by their checksums."""
    with scratch_folder(folder) as scratch:
        received = unpack_files(
            archive, scratch, lambda name: name in expected and FILE_NAME.fullmatch(name) is not None
        )
        for name, digest in checksums({name: scratch / name for name in received}).items():
            uploaded_file(folder, digest).parent.mkdir(exist_ok=True)
            (scratch / name).replace(uploaded_file(folder, digest))


def create_job_folder(
    folder: Path, place: JobFolder, record: Mapping[str, Any], request: Mapping[str, Any], cache: Path | None
) -> None:
    """Create the folder of a job with its inputs and its record in one step; a ``cache`` is the store of an earlier job."""
    with scratch_folder(folder) as scratch:
        new = JobFolder(scratch)
        new.store.mkdir()
        files = {name: new.store / name for name in request["checksums"]}
        for name, path in files.items():
            source = uploaded_file(folder, request["checksums"][name])
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, path)
                os.utime(source)
        if any(not path.is_file() for path in files.values()) or checksums(files) != request["checksums"]:
            for digest in request["checksums"].values():
                uploaded_file(folder, digest).unlink(missing_ok=True)
            message = "checksum mismatch: the files on the cluster differ from those that were uploaded"
            raise ExternalError(message, hint="try again")
        for name in CACHE_FILES if cache else ():
            with contextlib.suppress(FileNotFoundError):
                (cache or scratch).joinpath(name).replace(new.store / name)
        (new.root / "stargaze.toml").write_text(request["config"], encoding="utf-8")
        write_json(new.record, dict(record))
        scratch.chmod(0o700)
        scratch.rename(place.root)


def send_secrets(pipe: Path, content: bytes, end_reason: Callable[[], str]) -> None:
    """Write the secrets to the pipe as soon as the job reads it; ExternalError if it has ended before."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            handle = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno not in (errno.ENXIO, errno.ENOENT):  # ENXIO: the job does not read yet
                raise
            is_deleted = error.errno == errno.ENOENT
        reason = end_reason() or ("its start was interrupted" if is_deleted else "")
        if reason or time.monotonic() > deadline:
            raise ExternalError(f"Ray did not start the job: {reason or 'timeout'}")
        time.sleep(POLL_INTERVAL)
    with os.fdopen(handle, "wb") as stream:
        os.set_blocking(handle, True)
        stream.write(content)


def prune_jobs(folder: Path, has_ended: Callable[[str], bool]) -> None:
    """Delete jobs and uploaded files that have not been used for a long time."""
    remove_stale(folder, TEMPORARY_NAME, now=time.time())
    oldest = time.time() - RETENTION
    for path in (*folder.glob("files/*"), *folder.glob("locks/*")):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
    for path in filter(lambda path: JOB_ID.fullmatch(path.name), folder.iterdir()):
        changed = max(item.stat().st_mtime for item in (path, path / "events.jsonl") if item.exists())
        if changed < oldest and has_ended(path.name):
            shutil.rmtree(path, ignore_errors=True)

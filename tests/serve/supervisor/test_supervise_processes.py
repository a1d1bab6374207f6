"""What the processes of ``stargaze serve`` inherit and create: no token but for lookups, no file for other users."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.web.api.client import request_predictions
from stargaze.store import Store
from tests.isolation import FIXTURE_PROCESSES
from tests.waiting import wait_for

pytestmark = pytest.mark.real
TOKEN = "ghp_0123456789"


@pytest.mark.parametrize("looks_up", [True, False])
def test_no_file_is_open_to_others_and_only_workers_that_look_up_have_the_token(
    tmp_path: Path, bundle_folder: Path, looks_up: bool
) -> None:
    store = Store(tmp_path / "store")
    store.serving.mkdir(parents=True)
    store.current.symlink_to(bundle_folder)
    variables = {"GITHUB_TOKEN": TOKEN, "OS_PASSWORD": TOKEN, "STARGAZE_GITHUB_API_URL": "http://127.0.0.1:1"}
    variables |= {"STARGAZE_SERVE_PORT": "0", "STARGAZE_SERVE_GITHUB_LOOKUP": str(looks_up).lower()}
    output = tmp_path / "output"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "stargaze", "serve"],
            cwd=tmp_path,
            env={**os.environ, **variables},
            stdout=stream,
            stderr=subprocess.STDOUT,
            umask=0,
        )
    FIXTURE_PROCESSES.add(process.pid)
    try:
        wait_for(lambda: b"serving at " in output.read_bytes() or process.poll() is not None, 120)
        url = output.read_text().partition("serving at ")[2].split()[0]
        children = psutil.Process(process.pid).children(recursive=True)
        with_token = {child.pid for child in children if TOKEN in Path(f"/proc/{child.pid}/environ").read_text()}
        workers = {child.pid for child in children if "stargaze.serve.queue.worker" in " ".join(child.cmdline())}
        request_predictions(url, [str(Bundle.load(bundle_folder).known["full_name"].iloc[0])])
    finally:
        process.terminate()
        process.wait()

    assert len(children) >= 6
    assert workers
    assert with_token == (workers if looks_up else set())
    modes = {
        path.relative_to(store.root): path.lstat().st_mode for path in store.root.rglob("*") if not path.is_symlink()
    }
    assert Path("results.sqlite") in modes
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o022} == {}
    private = ("keys", "queue", "logs", "results.sqlite", "keys/session.key", "logs/web.log", "logs/worker.log")
    assert {name: oct(modes[Path(name)]) for name in private if modes[Path(name)] & 0o077} == {}

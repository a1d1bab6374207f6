"""The real server: gunicorn, Celery and a real bundle, started and stopped as by ``stargaze serve``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import requests

from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.config import ServeSection
from stargaze.errors import BadDataError, ExternalError, MissingInputError, UsageError
from stargaze.serve.supervisor.supervise import log_folder, serve, serving
from stargaze.serve.web.client import request_predictions
from stargaze.store import Store
from tests.waiting import wait_for

pytestmark = pytest.mark.real

SECTION = ServeSection(port=0, web_processes=1)
TIMEOUT = 60.0
SUPERVISOR = """
import sys
from pathlib import Path
from stargaze.store import Store
from stargaze.config import ServeSection
from stargaze.serve.supervisor.supervise import serve
section, store = ServeSection(port=0, web_processes=1), Store(Path(sys.argv[1]))
sys.exit(serve(section, store, announce=lambda url: print(url, flush=True)))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path) -> Iterator[tuple[str, Store]]:
    """The URL of a running server, and its store."""
    store = Store(tmp_path_factory.mktemp("site"))
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    with serving(SECTION, store) as url:
        yield url, store


def children(pid: int) -> list[int]:
    """Return all descendants of a process."""
    direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*direct, *(grandchild for child in direct for grandchild in children(child))]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_client_gets_ranked_predictions(site: tuple[str, Store], sample: pd.DataFrame) -> None:
    names = list(sample["full_name"].iloc[[900, 0, 300]])

    predictions = request_predictions(site[0], names)

    assert [row["rank"] for row in predictions] == [1, 2, 3]
    assert {row["full_name"] for row in predictions} == set(names)


def test_an_unknown_repository_is_an_error(site: tuple[str, Store]) -> None:
    with pytest.raises(BadDataError, match="no/such-one"):
        request_predictions(site[0], ["no/such-one"])


def test_an_invalid_name_is_an_error(site: tuple[str, Store]) -> None:
    with pytest.raises(BadDataError, match="not the name of a repository"):
        request_predictions(site[0], ["../etc"])


def test_the_server_is_ready(site: tuple[str, Store]) -> None:
    assert requests.get(f"{site[0]}/readyz", timeout=10).json()["status"] == "ready"


def test_an_untrusted_host_header_is_refused(site: tuple[str, Store]) -> None:
    assert requests.get(site[0], headers={"Host": "evil.example"}, timeout=10).status_code == 400


def test_a_new_release_is_used_without_a_restart(site: tuple[str, Store], sample: pd.DataFrame) -> None:
    url, store = site
    before = store.current.resolve()
    other = store.serving / "other"
    shutil.copytree(before, other)
    described = json.loads((other / "bundle.json").read_text())
    (other / "bundle.json").write_text(json.dumps(described | {"created_at": "2026-04-01T12:00:00+00:00"}))
    (other / "manifest.json").unlink()
    digest = write_manifest(other)
    link = store.serving / "new-link"
    link.symlink_to(other)
    link.replace(store.current)

    request_predictions(url, [sample["full_name"].iloc[0]])

    assert requests.get(f"{url}/readyz", timeout=10).json()["bundle"] == digest
    assert digest[:12] in requests.get(url, timeout=10).text


def test_without_a_release_the_error_names_deploy(store: Store) -> None:
    with pytest.raises(MissingInputError) as excinfo, serving(SECTION, store):
        pass

    assert excinfo.value.hint == "stargaze deploy"


def test_an_invalid_bundle_is_not_served(released_store: Store, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(released_store.current.resolve(), changed)
    (changed / "known.parquet").write_bytes(b"else")
    released_store.current.unlink()
    released_store.current.symlink_to(changed)

    with pytest.raises(BadBundleError), serving(SECTION, released_store):
        pass


def test_a_port_in_use_is_reported_before_anything_starts(released_store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        section = ServeSection(port=other.getsockname()[1])
        with pytest.raises(UsageError, match="is in use"), serving(section, released_store):
            pass

    assert not log_folder(released_store).exists()


def test_a_crashed_process_stops_the_other_and_shows_its_last_lines(released_store: Store) -> None:
    started: list[int] = []

    def kill_the_worker(_url: str) -> None:
        # Other tests may run servers at the same time; this one runs in this store.
        pids = [pid for pid in children(os.getpid()) if Path(f"/proc/{pid}/cwd").resolve() == released_store.root]
        started.extend(pids)
        os.kill(
            next(pid for pid in pids if "serve.queue.worker" in Path(f"/proc/{pid}/cmdline").read_text()),
            signal.SIGKILL,
        )

    with pytest.raises(ExternalError, match="the worker process was killed by SIGKILL") as excinfo:
        serve(SECTION, released_store, announce=kill_the_worker)

    assert "worker: " in excinfo.value.message
    assert str(log_folder(released_store)) in excinfo.value.hint
    wait_for(lambda: not any(is_alive(pid) for pid in started))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_process_outlives_the_supervisor(released_store: Store, sent: signal.Signals, code: int) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(released_store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        url = supervisor.stdout.readline().strip()
        started = children(supervisor.pid)
        assert requests.get(f"{url}/healthz", timeout=10).ok

        supervisor.send_signal(sent)

        assert supervisor.wait(TIMEOUT) == code
    assert len(started) >= 4
    wait_for(lambda: not any(is_alive(pid) for pid in started))

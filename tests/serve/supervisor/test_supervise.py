"""The real server: gunicorn, Celery and a real bundle, started and stopped as by ``stargaze serve``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import requests

from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.config import ServeSection
from stargaze.errors import BadDataError, ExternalError, MissingInputError, StargazeError, UsageError
from stargaze.serve.runtime.settings import ready_file
from stargaze.serve.runtime.status_files import HEARTBEAT_FILE
from stargaze.serve.supervisor import supervise, watch
from stargaze.serve.supervisor.child_process import start_child
from stargaze.serve.supervisor.supervise import serve, serving
from stargaze.serve.web.api.client import request_predictions
from stargaze.store import Store
from stargaze.system.files import private_folder
from tests.isolation import Disposition
from tests.waiting import is_alive, wait_for

pytestmark = pytest.mark.real

SECTION = ServeSection(port=0, web_processes=1)
TIMEOUT = 60.0
SUPERVISOR = """
import sys
from pathlib import Path
from stargaze.store import Store
from stargaze.system.files import private_folder
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


def test_a_client_gets_ranked_predictions(site: tuple[str, Store], sample: pd.DataFrame) -> None:
    names = list(sample["full_name"].iloc[[900, 0, 300]])

    predictions = request_predictions(site[0], names)

    assert [row["rank"] for row in predictions] == [1, 2, 3]
    assert {row["full_name"] for row in predictions} == set(names)


def test_an_unknown_repository_is_an_error(site: tuple[str, Store]) -> None:
    with pytest.raises(StargazeError, match="no/such-one"):  # unknown, or GitHub cannot be reached
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

    assert not released_store.logs.exists()


def test_the_port_is_awaited_after_a_supervisor_was_killed(released_store: Store) -> None:
    """Its web server may still send responses. Other servers of the store leave no patience."""
    other = socket.create_server(("127.0.0.1", 0))
    section = ServeSection(port=other.getsockname()[1])
    private_folder(released_store.queue)
    killed = ready_file(released_store, 2**22)  # above the largest pid
    killed.touch()
    threading.Timer(0.5, other.close).start()

    with serving(section, released_store) as url:
        assert url.endswith(f":{section.port}")
        assert not killed.exists()


def find_process(store: Store, module: str) -> int:
    """Return the process of a running server; other tests may run servers at the same time, this one runs in its store."""
    pids = [pid for pid in children(os.getpid()) if Path(f"/proc/{pid}/cwd").resolve() == store.root]
    return next(pid for pid in pids if module in Path(f"/proc/{pid}/cmdline").read_text())


def end_after(action: Callable[[str], None]) -> Callable[[str], None]:
    """Return an ``announce`` that runs the action in a thread and then ends ``serve`` as Ctrl-C does."""

    def run(url: str) -> None:
        try:
            action(url)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    return lambda url: threading.Thread(target=run, args=(url,), daemon=True).start()


@pytest.mark.parametrize(
    ("module", "sent"),
    [("gunicorn", signal.SIGKILL), ("serve.queue.worker", signal.SIGKILL), ("serve.queue.worker", signal.SIGSTOP)],
    ids=["killed web", "killed worker", "stopped worker"],
)
def test_a_process_that_was_killed_or_stopped_is_started_again(
    released_store: Store, sample: pd.DataFrame, module: str, sent: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    names = list(sample["full_name"].iloc[:1])
    answers: list[int] = []

    def stop_one(url: str) -> None:
        pid = find_process(released_store, module)
        os.kill(pid, sent)
        wait_for(lambda: not is_alive(pid))
        wait_for(lambda: is_ok(f"{url}/readyz"))
        answers.append(len(request_predictions(url, names)))

    assert serve(SECTION, released_store, announce=end_after(stop_one)) == 130
    assert answers == [1]
    assert "is started again" in caplog.text


def test_a_killed_idle_prediction_process_is_replaced(site: tuple[str, Store], sample: pd.DataFrame) -> None:
    """Without a broker, the processes shared a pipe whose lock the killed one kept."""
    url, store = site
    (pid,) = children(find_process(store, "serve.queue.worker"))

    os.kill(pid, signal.SIGKILL)

    assert len(request_predictions(url, list(sample["full_name"].iloc[1:2]))) == 1


def is_ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.RequestException:
        return False


def test_a_worker_that_takes_no_messages_is_replaced(
    released_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its processes live, but messages do not reach them: here, since the folder that it reads is another one."""
    seen: list[bool] = []

    def hide_messages(url: str) -> None:
        pid = find_process(released_store, "serve.queue.worker")
        heartbeat = released_store.queue / HEARTBEAT_FILE
        monkeypatch.setattr(watch, "is_heartbeat_recent", lambda *_: is_alive(pid) is False)
        wait_for(lambda: not is_alive(pid))
        wait_for(lambda: is_ok(f"{url}/readyz"))
        seen.append(heartbeat.exists())

    assert serve(SECTION, released_store, announce=end_after(hide_messages)) == 130
    assert seen == [True]
    assert "takes no messages" in caplog.text


def test_a_process_that_does_not_start_any_more_stops_the_other_and_shows_its_last_lines(
    released_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def kill_the_worker(_url: str) -> None:
        started.extend(
            pid for pid in children(os.getpid()) if Path(f"/proc/{pid}/cwd").resolve() == released_store.root
        )
        monkeypatch.setattr(
            supervise, "_start_worker", lambda store, _: start_child("worker", ["platform"], {}, log(store), store.root)
        )
        os.kill(find_process(released_store, "serve.queue.worker"), signal.SIGKILL)

    with pytest.raises(ExternalError, match="the worker process ended with exit code 0") as excinfo:
        serve(SECTION, released_store, announce=kill_the_worker)

    assert "worker: Linux" in excinfo.value.message
    assert str(released_store.logs) in excinfo.value.hint
    wait_for(lambda: not any(is_alive(pid) for pid in started))


def log(store: Store) -> Path:
    return store.logs / "worker.log"


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_no_process_outlives_the_supervisor(
    released_store: Store, tmp_path: Path, disposition: Disposition, sent: signal.Signals, code: int
) -> None:
    disposition(signal.SIGHUP, signal.SIG_DFL)  # the process inherits it, even if nohup started the tests
    command = [sys.executable, "-c", SUPERVISOR, str(released_store.root)]
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as supervisor:
        assert supervisor.stdout is not None
        try:
            url = supervisor.stdout.readline().strip()
            started = children(supervisor.pid)
            assert requests.get(f"{url}/healthz", timeout=10).ok

            supervisor.send_signal(sent)

            assert supervisor.wait(TIMEOUT) == code
        finally:
            supervisor.kill()
    assert list((tmp_path / "temporary").iterdir()) == []
    assert len(list(released_store.queue.glob("temporary-*"))) == (sent == signal.SIGKILL)  # the next start deletes it
    assert len(started) >= 4
    wait_for(lambda: not any(is_alive(pid) for pid in started))

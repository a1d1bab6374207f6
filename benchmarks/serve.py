"""Throughput and latency of the page with its queue: gunicorn, RabbitMQ, Celery and Redis on this machine.

    pip install -e '.[bench]' && make demo DEMO_ARGS=--once && sh tools/prepare.sh servers
    python benchmarks/serve.py

1,500 prediction requests, each for another known repository, from clients in a separate process: with 1, 2, 4, 8 and 12 workers;
then throughput and latency from the request to the answer at 10 and 100 clients, also with files instead of RabbitMQ and Redis
(`--only files`); what-ifs, one after the other (`--only what-ifs`). For comparison, the same bundle behind FastAPI with joblib,
and behind BentoML, without a queue. `--only servers` compares gunicorn with granian; `--only scaling` prints strong
scaling (1,500 requests for 1 to 8 workers) and weak scaling (375 requests per worker). Every answer is computed: no request is
repeated, and results of earlier runs are deleted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from stargaze.bundle.star_bundle import KNOWN
from stargaze.config import ServeSection
from stargaze.serve.supervisor.supervise import serving
from stargaze.store import Store

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent))
from benchmarks.web_servers import compare_servers  # noqa: E402
from tests.servers import Servers, servers  # noqa: E402

N_REQUESTS = 1_500
WORKERS = (1, 2, 4, 8, 12)
ORIGINAL = {1: 176, 2: 122, 4: 105, 8: 97, 12: 95}
"""Times of the course project that this project is based on, by workers, for the same number of requests [s]."""
SCALING_WORKERS = (1, 2, 4, 8)
REQUESTS_PER_WORKER = 375
"""Requests per worker for weak scaling."""
CLIENTS = (10, 100)
PARTS = ("all", "workers", "clients", "files", "what-ifs", "servers", "rivals", "scaling", "soak")
START_TIMEOUT = 60.0
"""Time until another server must respond [s]."""
RIVALS = {
    "FastAPI + joblib": [
        *(
            "uvicorn",
            "fastapi_baseline:app",
            "--workers",
            "2",
            "--port",
            "{port}",
            "--log-level",
            "error",
            "--no-access-log",
        )
    ],
    "BentoML": ["bentoml", "serve", "bento:Stars", "--port", "{port}"],
}


def main() -> None:
    """Run all measurements; print each result at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("store"), help="a store with a release")
    parser.add_argument("--explain", action="store_true", help="request factors and similar repositories too")
    parser.add_argument("--only", choices=PARTS, default="all")
    parser.add_argument("--minutes", type=float, default=60.0, help="duration of --only soak, ten requests per second")
    arguments = parser.parse_args()
    release = Store(arguments.store).current.resolve(strict=True)
    names = pd.read_parquet(release / KNOWN, columns=["full_name"])["full_name"].sample(frac=1.0, random_state=0)
    all_bodies = [
        {"repositories": [name], "explain": arguments.explain}
        for name in names.head(REQUESTS_PER_WORKER * max(SCALING_WORKERS))
    ]
    bodies = all_bodies[:N_REQUESTS]
    print(f"{len(bodies)} requests, bundle {release.name[:12]}, explain: {arguments.explain}")
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder)) as running:
        os.environ.update(running.environment)
        for number in WORKERS if arguments.only in ("all", "workers") else ():
            with page(release, running, workers=number) as url:
                done = load(url, "page", bodies, clients=50)
            print(
                f"{number:3} workers: {done['seconds']:6.2f} s, lost {done['lost']} (the original project: {ORIGINAL[number]} s)"
            )
        page_results = {}
        for clients in CLIENTS if arguments.only in ("all", "clients", "rivals") else ():
            with page(release, running, workers=1) as url:
                page_results[clients] = load(url, "page", bodies, clients=clients)
            print(f"page, 1 worker, {clients} clients: {format_result(page_results[clients])}")
        for clients in CLIENTS if arguments.only in ("all", "files") else ():
            with page(release, running, workers=1) as url:
                with_broker = load(url, "page", bodies, clients=clients)
            with page(release, None, workers=1) as url:
                with_files = load(url, "page", bodies, clients=clients)
            ratio = with_broker["seconds"] / with_files["seconds"]
            print(f"RabbitMQ and Redis, 1 worker, {clients} clients: {format_result(with_broker)}")
            print(
                f"files, 1 worker, {clients} clients: {format_result(with_files)}; {ratio:.2f} × the throughput",
                flush=True,
            )
        if arguments.only in ("all", "what-ifs"):
            measure_what_ifs(release, running, bodies[:300])
        if arguments.only == "servers":
            with served_store(release, None, workers=1) as (_, section, store):
                compare_servers(section, store, all_bodies, load, format_result)
        for rival, command in RIVALS.items() if arguments.only in ("all", "rivals") else ():
            for clients in CLIENTS:
                with endpoint(command, release) as url:
                    result = load(url, "direct", bodies, clients=clients)
                ratio = result["seconds"] / page_results[clients]["seconds"]
                print(f"{rival}, {clients} clients: {format_result(result)}; the page has {ratio:.2f} × its throughput")
        if arguments.only == "scaling":
            scaling(release, running, all_bodies)
        if arguments.only == "soak":
            with page(release, running, workers=1) as url:
                soak(url, bodies, arguments.minutes)


def scaling(release: Path, running: Servers, bodies: Sequence[dict[str, Any]]) -> None:
    """Print strong and weak scaling: speed-up, and efficiency per core in use."""
    cores = len(os.sched_getaffinity(0))
    for name, number_of_requests in (
        ("strong", lambda _: N_REQUESTS),
        ("weak", lambda workers: REQUESTS_PER_WORKER * workers),
    ):
        print(
            f"{name}: workers, requests, time [s], lost, requests per second relative to one worker, the same per core in use"
        )
        rate_of_one_worker = 0.0
        for workers in SCALING_WORKERS:
            arguments = bodies[: number_of_requests(workers)]
            with page(release, running, workers=workers) as url:
                done = load(url, "page", arguments, clients=50)
            rate = len(arguments) / done["seconds"]
            rate_of_one_worker = rate_of_one_worker or rate
            speed_up = rate / rate_of_one_worker
            efficiency = speed_up / min(workers, cores)
            row = f"{workers:3} {len(arguments):6} {done['seconds']:7.2f} {done['lost']:3} {speed_up:6.2f} × {efficiency:6.0%}"
            print(row, flush=True)


def measure_what_ifs(release: Path, running: Servers, bodies: Sequence[dict[str, Any]]) -> None:
    """Send a what-if of each repository, as the controls of the page do: one after the other."""
    what_ifs = [{**body, "what_if": {"readme_length": 1_000 + number}} for number, body in enumerate(bodies)]
    for name, backends in (("RabbitMQ and Redis", running), ("files", None)):
        with page(release, backends, workers=1) as url:
            print(f"what-ifs, {name}: {format_result(load(url, 'page', what_ifs, clients=1))}", flush=True)


@contextlib.contextmanager
def page(release: Path, running: Servers | None, *, workers: int) -> Iterator[str]:
    """Serve the release with an empty result store, without servers on files; yield the URL."""
    with served_store(release, running, workers=workers) as (url, _, _):
        yield url


@contextlib.contextmanager
def served_store(release: Path, running: Servers | None, *, workers: int) -> Iterator[tuple[str, ServeSection, Store]]:
    """Serve the release; yield the URL, the section and the store."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        store.serving.mkdir(parents=True)
        store.current.symlink_to(release)
        section = ServeSection(
            port=0,
            worker_processes=workers,
            github_lookup=False,
            rate_limit=0,
            broker_url=running.broker_url if running else "",
            results_url=running.results_url if running else "",
        )
        with serving(section, store) as url:
            time.sleep(1.0)  # until every worker's process has loaded the bundle
            yield url, section, store


@contextlib.contextmanager
def endpoint(command: Sequence[str], release: Path) -> Iterator[str]:
    """Start another server on a free port with the bundle that BUNDLE names; yield its URL."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    argv = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    environment = {
        **os.environ,
        "BUNDLE": str(release),
        "PYTHONPATH": f"{FOLDER}:{FOLDER.parent}",
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        argv, cwd=FOLDER, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            limit = time.monotonic() + START_TIMEOUT
            while load(f"http://127.0.0.1:{port}", "direct", [{"repositories": []}], clients=1)["lost"]:
                if process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(f"{argv} did not start")
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            children = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.terminate()


def load(url: str, kind: str, bodies: Sequence[dict[str, Any]], *, clients: int) -> dict[str, Any]:
    """Send all requests from another process; return the wall time, latencies [s] and the number of lost requests."""
    path = {"page": "/api/v1/predictions", "direct": "/predict", "read": "/healthz"}[kind]
    arguments = {"url": url, "kind": kind, "path": path, "bodies": list(bodies), "clients": clients}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "load.py")],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def format_result(done: dict[str, Any]) -> str:
    """Return throughput and latencies as text."""
    middle, high = np.percentile(done["latencies"], [50, 99])
    rate = len(done["latencies"]) / done["seconds"]
    return f"{rate:.0f} per second, p50 {1000 * middle:.0f} ms, p99 {1000 * high:.0f} ms, lost {done['lost']}"


def soak(url: str, bodies: Sequence[dict[str, Any]], minutes: float) -> None:
    """Send ten requests per second for an hour; print the memory of each prediction process every minute."""
    worker = next(
        process
        for process in psutil.Process().children(recursive=True)
        if "stargaze.serve.queue.worker" in process.cmdline()
    )
    start = time.monotonic()
    position = 0
    while time.monotonic() - start < 60 * minutes:
        minute = time.monotonic()
        chunk = [bodies[(position + number) % len(bodies)] for number in range(600)]
        position += len(chunk)
        # a different request each time, or the stored job would be returned
        bodies_with_figures = [
            {**body, "figures": [{"full_name": "soak/soak", "forks": str(position + i)}]}
            for i, body in enumerate(chunk)
        ]
        done = load(url, "page", bodies_with_figures, clients=4)
        memory = [process.memory_info().rss / 1e6 for process in [worker, *worker.children(recursive=True)]]
        minutes_passed = (time.monotonic() - start) / 60
        print(
            f"{minutes_passed:5.1f} min: "
            + ", ".join(f"{megabytes:.0f} MB" for megabytes in memory)
            + f"; lost {done['lost']}",
            flush=True,
        )
        time.sleep(max(0.0, 60 - (time.monotonic() - minute)))


if __name__ == "__main__":
    main()

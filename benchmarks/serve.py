"""Throughput and latency of the page with its queue: gunicorn, RabbitMQ, Celery and Redis on this machine.

    pip install -e '.[bench]' && make demo DEMO_ARGS=--once && sh tools/prepare.sh servers
    python benchmarks/serve.py

1,500 prediction requests, each for another known repository, from clients in a separate process: with 1, 2, 4, 8 and 12 workers;
then throughput and latency from the request to the answer at 10 and 100 clients. For comparison, the same bundle behind FastAPI
with joblib and behind BentoML, without a queue. `--only scaling` prints strong scaling (1,500 requests for 1 to 8 workers) and
weak scaling (375 requests per worker). Every answer is computed: no request is repeated, and results of earlier runs are deleted.
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

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from tests.servers import Servers, servers  # noqa: E402

N_QUESTIONS = 1_500
WORKERS = (1, 2, 4, 8, 12)
ORIGINAL = {1: 176, 2: 122, 4: 105, 8: 97, 12: 95}
"""Time of the course project that this project is based on, for as many requests [s]."""
SCALED = (1, 2, 4, 8)
EACH = 375
"""Requests per worker for weak scaling."""
CLIENTS = (10, 100)
START = 60.0
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
    parser.add_argument("--reasons", action="store_true", help="request factors and similar repositories too")
    parser.add_argument("--only", choices=("all", "workers", "clients", "rivals", "scaling", "soak"), default="all")
    parser.add_argument("--minutes", type=float, default=60.0, help="duration of --only soak, ten requests per second")
    arguments = parser.parse_args()
    release = Store(arguments.store).current.resolve(strict=True)
    names = pd.read_parquet(release / KNOWN, columns=["full_name"])["full_name"].sample(frac=1.0, random_state=0)
    every = [{"repositories": [name], "explain": arguments.reasons} for name in names.head(EACH * max(SCALED))]
    bodies = every[:N_QUESTIONS]
    print(f"{len(bodies)} requests, bundle {release.name[:12]}, reasons: {arguments.reasons}")
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder)) as running:
        os.environ.update(running.environment)
        for number in WORKERS if arguments.only in ("all", "workers") else ():
            with page(release, running, workers=number) as url:
                done = load(url, "page", bodies, clients=50)
            print(
                f"{number:3} workers: {done['seconds']:6.2f} s, lost {done['lost']} (the original: {ORIGINAL[number]} s)"
            )
        ours = {}
        for clients in CLIENTS if arguments.only in ("all", "clients", "rivals") else ():
            with page(release, running, workers=1) as url:
                ours[clients] = load(url, "page", bodies, clients=clients)
            print(f"page, 1 worker, {clients} clients: {encodings(ours[clients])}")
        for rival, command in RIVALS.items() if arguments.only in ("all", "rivals") else ():
            for clients in CLIENTS:
                with endpoint(command, release) as url:
                    found = load(url, "direct", bodies, clients=clients)
                ratio = found["seconds"] / ours[clients]["seconds"]
                print(f"{rival}, {clients} clients: {encodings(found)}; the page has {ratio:.2f} × its throughput")
        if arguments.only == "scaling":
            scaling(release, running, every)
        if arguments.only == "soak":
            with page(release, running, workers=1) as url:
                soak(url, bodies, arguments.minutes)


def scaling(release: Path, running: Servers, bodies: Sequence[dict[str, Any]]) -> None:
    """Print strong and weak scaling: speed-up, and efficiency per core in use."""
    cores = len(os.sched_getaffinity(0))
    for name, number_of in (("strong", lambda _: N_QUESTIONS), ("weak", lambda workers: EACH * workers)):
        print(
            f"{name}: workers, requests, time [s], lost, requests per second relative to one worker, the same per core in use"
        )
        alone = 0.0
        for workers in SCALED:
            arguments = bodies[: number_of(workers)]
            with page(release, running, workers=workers) as url:
                done = load(url, "page", arguments, clients=50)
            rate = len(arguments) / done["seconds"]
            alone = alone or rate
            kept = rate / alone / min(workers, cores)
            row = f"{workers:3} {len(arguments):6} {done['seconds']:7.2f} {done['lost']:3} {rate / alone:6.2f} × {kept:6.0%}"
            print(row, flush=True)


@contextlib.contextmanager
def page(release: Path, running: Servers, *, workers: int) -> Iterator[str]:
    """Serve the release with an empty result store; yield the URL."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        store.serving.mkdir(parents=True)
        store.current.symlink_to(release)
        section = ServeSection(
            port=0,
            worker_processes=workers,
            github_lookup=False,
            rate_limit=0,
            broker_url=running.broker_url,
            results_url=running.results_url,
        )
        with serving(section, store) as url:
            time.sleep(1.0)  # until every worker's process has loaded the bundle
            yield url


@contextlib.contextmanager
def endpoint(command: Sequence[str], release: Path) -> Iterator[str]:
    """Start another server on a free port with the bundle that BUNDLE names; yield its URL."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    argv = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    environment = {**os.environ, "BUNDLE": str(release), "PYTHONPATH": f"{HERE}:{HERE.parent}", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        argv, cwd=HERE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            limit = time.monotonic() + START
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
    path = "/api/v1/predictions" if kind == "page" else "/predict"
    arguments = {"url": url, "kind": kind, "path": path, "bodies": list(bodies), "clients": clients}
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py")], input=json.dumps(arguments), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def encodings(done: dict[str, Any]) -> str:
    """Return throughput and latencies as text."""
    middle, high = np.percentile(done["latencies"], [50, 99])
    rate = len(done["latencies"]) / done["seconds"]
    return f"{rate:.0f} per second, p50 {1000 * middle:.0f} ms, p99 {1000 * high:.0f} ms, lost {done['lost']}"


def soak(url: str, bodies: Sequence[dict[str, Any]], minutes: float) -> None:
    """Send ten requests per second for an hour; print the memory of each prediction process every minute."""
    worker = next(
        one for one in psutil.Process().children(recursive=True) if "stargaze.serve.queue.worker" in one.cmdline()
    )
    start = time.monotonic()
    place = 0
    while time.monotonic() - start < 60 * minutes:
        minute = time.monotonic()
        chunk = [bodies[(place + number) % len(bodies)] for number in range(600)]
        place += len(chunk)
        # a different request each time, or the stored job would be returned
        entered = [
            {**body, "figures": [{"full_name": "soak/soak", "forks": str(place + i)}]} for i, body in enumerate(chunk)
        ]
        done = load(url, "page", entered, clients=4)
        held = [process.memory_info().rss / 1e6 for process in [worker, *worker.children(recursive=True)]]
        at = (time.monotonic() - start) / 60
        print(f"{at:5.1f} min: " + ", ".join(f"{one:.0f} MB" for one in held) + f"; lost {done['lost']}", flush=True)
        time.sleep(max(0.0, 60 - (time.monotonic() - minute)))


if __name__ == "__main__":
    main()

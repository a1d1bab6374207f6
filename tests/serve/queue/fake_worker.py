"""A worker process with fake answers: the requested name selects the behavior."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from stargaze.features.ingest.user_input import UnknownRepositoryError
from stargaze.serve.prediction_request import Answer, ErrorDetails, PredictionRequest, error_details
from stargaze.serve.queue.celery_app import create_celery_app, register_task
from stargaze.serve.queue.worker import run_worker
from stargaze.serve.runtime.settings import read_environment


def answer_one(request: PredictionRequest, marker: Path) -> Answer:
    """Behave as the name of the repository says."""
    name = request.repositories[0]
    if name == "kill/once" and not marker.exists():
        marker.touch()
        name = "kill/always"
    if name == "kill/always":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "end/worker":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if name == "be/slow":
        time.sleep(60)
    if name == "be/stuck":  # in code of a library that the soft time limit does not interrupt
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        time.sleep(60)
    if name == "be/slower":
        time.sleep(1.5)
    if name == "be/broken":
        raise ZeroDivisionError
    if name == "be/unknown":
        raise UnknownRepositoryError("be/unknown: not known", hint="Did you mean be/known?")
    return {"digest": "0" * 64, "predictions": [{"full_name": name}]}


def answer_all(requests: Sequence[PredictionRequest], marker: Path) -> list[Answer | ErrorDetails]:
    """Record the size of the batch, and answer each request."""
    results: list[Answer | ErrorDetails] = []
    with (marker.parent / "batches").open("a") as stream:
        stream.write(f"{len(requests)}\n")
    for request in requests:
        try:
            results.append(answer_one(request, marker))
        except UnknownRepositoryError as error:
            results.append(error_details(error))
    return results


def main() -> None:
    """Run until a signal."""
    section, store = read_environment(os.environ)
    app = create_celery_app(section, store)
    register_task(app, lambda requests: answer_all(requests, store.root / "marker"), section, store)
    run_worker(app, section, store, prepare=lambda: None)


if __name__ == "__main__":
    main()

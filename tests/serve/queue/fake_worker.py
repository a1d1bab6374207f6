"""A worker process whose answers are made up: what it is asked for is what it does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from stargaze.errors import MissingInputError
from stargaze.serve.prediction_request import Answer, ErrorDetails, PredictionRequest
from stargaze.serve.queue.celery_app import make_app, register
from stargaze.serve.queue.worker import run
from stargaze.serve.runtime.settings import read_environment


def respond(question: PredictionRequest, marker: Path) -> Answer:
    """Do what the name says."""
    name = question.repositories[0]
    if name == "kill/always" or (name == "kill/once" and not marker.exists()):
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "end/worker":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if name == "be/slow":
        time.sleep(60)
    if name == "be/slower":
        time.sleep(1.5)
    if name == "be/broken":
        raise ZeroDivisionError
    if name == "be/unknown":
        raise MissingInputError("be/unknown: not known", hint="Did you mean be/known?")
    return {"digest": "0" * 64, "predictions": [{"full_name": name}]}


def respond_all(questions: Sequence[PredictionRequest], marker: Path) -> list[Answer | ErrorDetails]:
    """Note how many come at once, and answer each."""
    found: list[Answer | ErrorDetails] = []
    with (marker.parent / "batches").open("a") as stream:
        stream.write(f"{len(questions)}\n")
    for question in questions:
        try:
            found.append(respond(question, marker))
        except MissingInputError as error:
            found.append({"message": error.message, "hint": error.hint})
    return found


def main() -> None:
    """Run until told to end."""
    section, store = read_environment(os.environ)
    app = make_app(section, store)
    register(app, lambda questions: respond_all(questions, store.root / "marker"), section)
    run(app, section, store, prepare=lambda: None)


if __name__ == "__main__":
    main()

"""Faults of disk, database, broker and bundle under the real queue: visitors read a fixed text, the log has the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from stargaze.config import ServeSection
from stargaze.errors import BadDataError, ExternalError, StargazeError
from stargaze.serve.prediction_request import DONE, PredictionRequest, error_details, job_from_result
from stargaze.serve.queue.celery_app import _answer_jobs, create_celery_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue
from stargaze.serve.supervisor.supervise import prepare_store
from stargaze.serve.web.app import make_web
from stargaze.store import Store

AWAY = {"broker_url": "amqp://stargaze@127.0.0.1:9", "results_url": "redis://127.0.0.1:9"}
ADDRESSES = ("/", "/repositories/a/b", "/api/v1/repositories/a/b", "/readyz", "/badge/a/b.svg")
INTERNALS = re.compile(
    r"sqlite|SELECT|INSERT|PRAGMA|df -h|stargaze (doctor|deploy|tune|serve)|127\.0\.0\.1:9|refused|Errno|directory"
)


def open_page(store: Store, section: ServeSection) -> FlaskClient:
    queue = CeleryPredictionQueue(create_celery_app(section, store), section, store)
    web = make_web(section, store, queue)
    web.config["PROPAGATE_EXCEPTIONS"] = False  # as in production
    return web.test_client()


def block(path: Path) -> None:
    """Put a folder where a file is expected, or a file where a folder is, which root cannot write either."""
    for item in sorted(path.parent.glob(f"{path.name}*")) if path.suffix else ():
        item.unlink()
    if path.suffix:
        (path / "in the way").mkdir(parents=True)
    else:
        path.rename(path.with_name("moved"))
        path.write_text("in the way")


FAULTS: dict[str, Callable[[Store], None]] = {
    "results": lambda store: block(store.results),
    "queue": lambda store: block(store.queue),
    "release": lambda store: store.current.unlink(),
    "broker": lambda _: None,
}


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_fixed_text_with_the_id_under_which_it_is_logged(
    released_store: Store, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_store(released_store)
    section = ServeSection(rate_limit=0, **(AWAY if fault == "broker" else {}))
    page = open_page(released_store, section)
    FAULTS[fault](released_store)

    answers = [page.get(address) for address in ADDRESSES]
    answers.append(page.post("/api/v1/predictions", json={"repositories": ["a/b"]}))

    failed = [answer for answer in answers if answer.status_code >= 500]
    assert failed
    for answer in answers:
        assert INTERNALS.search(answer.text) is None, answer.text
        assert str(released_store.root) not in answer.text
    for answer in failed:
        assert answer.status_code == 503
        request_id = answer.headers["X-Request-ID"]
        assert request_id in answer.text or "svg" in answer.mimetype
        logged = [record for record in caplog.records if vars(record).get("request_id") == request_id]
        assert [record for record in logged if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "error",
    [
        ExternalError("/srv/store/results.sqlite: the disk is full", hint="df -h /srv/store"),
        BadDataError("/srv/store/serving/current/bundle.json: damaged", hint="stargaze tune"),
    ],
)
def test_a_worker_stores_the_fixed_text_and_logs_the_reason(
    error: StargazeError, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    stored = {
        "request": PredictionRequest(("a/b",)).to_json(),
        "accepted_at": now.isoformat(),
        "deadline": None,
        "attempt": 1,
        "request_id": "an-id-12345678",
        "answer": None,
        "error": None,
    }
    job = job_from_result("00000000-0000-4000-8000-000000000000", DONE, stored, now=now, time_limit=30)

    (failed,) = _answer_jobs([job], lambda _: [error_details(error)], 30.0)

    assert failed.error is not None
    assert failed.error["code"] == "internal_error"
    assert "an-id-12345678" in failed.error["message"]
    assert re.search(r"/srv|df -h|stargaze tune", json.dumps(failed.to_json())) is None
    (record,) = (record for record in caplog.records if error.message in record.getMessage())
    assert error.hint in record.getMessage()
    assert vars(record)["request_id"] == "an-id-12345678"

"""Read a changed input as its command or its page does, and check what must be true of every result."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
from flask.testing import FlaskClient

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.config import load as load_config
from stargaze.errors import StargazeError
from stargaze.features import schema
from stargaze.features.fetch import fetch_files
from stargaze.features.history.clean import clean_history
from stargaze.features.history.read import read_history
from stargaze.features.ingest.parsing.repository_names import FULL_NAME, parse_name
from stargaze.features.ingest.write_repositories import FetchSummary
from stargaze.serve.web.app import make_web
from stargaze.store import Store
from tests.fuzz.count_records import check_record_count
from tests.fuzz.readers import CONFIG
from tests.fuzz.use import REFUSED, USED, LaterFailureError
from tests.serve.fake_queue import FakePredictionQueue

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PREVIOUS = b"the table of the previous fetch"
PATH = "/api/v1/predictions"
MAX_MESSAGE = 700
"""Length of a message [characters]."""


def read_input(kind: str, case: Path, workspace: Path) -> str:
    """Return whether the input was refused or used; LaterFailureError if a result is wrong, any other exception is a fault."""
    logging.disable()
    read = {
        "repositories": _read_repositories,
        "history": _read_history,
        "config": _read_config,
        "environment": _read_environment,
        "api": _post_body,
        "form": _post_form,
        "target": _get_target,
        "name": _parse_name,
    }[kind]
    return read(case, workspace)


def _input_of(case: Path) -> Path:
    """Return the file of a case that is not its config."""
    (path,) = (path for path in case.iterdir() if path.name != CONFIG)
    return path


def _check_message(error: StargazeError) -> None:
    """Raise LaterFailureError unless an error is one line with a hint that any terminal can print."""
    text = f"{error.message} {error.hint}"
    if "\n" in text or not error.message or not error.hint or len(error.message) > MAX_MESSAGE:
        raise LaterFailureError(f"not one line with a hint: {text[:1000]!r}")
    text.encode()


def _read_repositories(case: Path, workspace: Path) -> str:
    store, path = Store(workspace / "store"), _input_of(case)
    store.root.mkdir(parents=True, exist_ok=True)
    store.repositories.write_bytes(PREVIOUS)
    try:
        summary = fetch_files(load_config(case / CONFIG, environ={}).fetch, store, [path], NOW)
    except StargazeError as error:
        _check_message(error)
        if store.repositories.read_bytes() != PREVIOUS or len(list(store.root.iterdir())) != 1:
            raise LaterFailureError("a refused file changed the store") from error
        return REFUSED
    _check_summary(summary, path)
    _check_table(schema.conform(pd.read_parquet(store.repositories)), summary)
    return USED


def _check_summary(summary: FetchSummary, path: Path) -> None:
    """Check that every record is read or refused, and that more than half were read."""
    (source,) = summary.sources
    read = summary.repositories + summary.duplicates + summary.too_old
    if not (source.records == summary.records == read + summary.invalid_count and source.valid == read):
        raise LaterFailureError(f"rows are lost: {summary}")
    if 2 * summary.invalid_count > summary.records:
        raise LaterFailureError(f"most records were refused: {summary}")
    check_record_count(path, summary.records)
    f"{summary.as_text()}{summary.as_line()}".encode()
    json.dumps(summary.as_dict(), allow_nan=False).encode()


def _check_table(table: pd.DataFrame, summary: FetchSummary) -> None:
    names, stars = table["full_name"], table["stars"].to_numpy()
    if len(table) != summary.repositories or names.str.lower().duplicated().any():
        raise LaterFailureError("the table has another number of repositories")
    if not all(FULL_NAME.fullmatch(name) for name in names) or not (np.isfinite(stars) & (stars >= 0)).all():
        raise LaterFailureError("the table contains an invalid name or number of stars")
    for field in schema.FIELDS:
        if field.kind not in ("flag", "count"):
            continue
        values = table[field.name].to_numpy()
        known = values[~np.isnan(values)]
        limit = 1.0 if field.kind == "flag" else field.maximum
        if not ((known >= 0) & (known <= limit) & (known == np.floor(known))).all():
            raise LaterFailureError(f"{field.name} is not a {field.kind}: {known[:5]}")


def _read_history(case: Path, _workspace: Path) -> str:
    try:
        read = read_history(_input_of(case), now=NOW)
    except StargazeError as error:
        _check_message(error)
        return REFUSED
    history, stars = read.frame, read.frame["stars"].to_numpy()
    if len(history) + read.n_refused > read.rows or 2 * read.n_refused > read.rows:
        raise LaterFailureError(f"{read.rows} rows: {len(history)} read, {read.n_refused} refused")
    if not (np.isfinite(stars).all() and (history["date"] <= pd.Timestamp(NOW)).all() and len(history)):
        raise LaterFailureError("a history contains an impossible count or date")
    try:
        clean_history(history)
    except StargazeError as error:
        _check_message(error)
        return REFUSED
    return USED


def _read_config(case: Path, _workspace: Path) -> str:
    return _load_config(case / CONFIG, {})


def _read_environment(case: Path, _workspace: Path) -> str:
    pairs = parse_qsl(
        _input_of(case).read_bytes().decode("utf-8", "replace"), keep_blank_values=True, errors="surrogateescape"
    )
    variables = {name if name.startswith("STARGAZE") else f"STARGAZE_{name}": value for name, value in pairs}
    return _load_config(None, variables)


def _load_config(path: Path | None, variables: dict[str, str]) -> str:
    try:
        config = load_config(path, environ=variables)
    except StargazeError as error:
        _check_message(error)
        return REFUSED
    json.dumps(dataclasses.asdict(config), allow_nan=False).encode()
    return USED


def _post_body(case: Path, workspace: Path) -> str:
    client, queue = _page(workspace)
    body = _input_of(case).read_bytes()
    return _follow(client, queue, client.post(PATH, data=body, content_type="application/json"))


def _post_form(case: Path, workspace: Path) -> str:
    client, queue = _page(workspace)
    path = _input_of(case)
    url = "/" if path.name == "form-names" else "/figures"
    token = re.search(r'name="token" value="([^"]*)"', client.get(url).get_data(as_text=True))
    assert token, "the form has no token"
    body = b"token=" + token[1].encode() + b"&" + path.read_bytes()
    return _follow(client, queue, client.post(url, data=body, content_type="application/x-www-form-urlencoded"))


def _get_target(case: Path, workspace: Path) -> str:
    client, queue = _page(workspace)
    target, _, query = _input_of(case).read_bytes().partition(b"?")
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), target)
    environ = {"PATH_INFO": raw.decode("latin-1"), "QUERY_STRING": query.decode("latin-1")}
    return _follow(client, queue, client.get("/", environ_overrides=environ))


def _follow(client: FlaskClient, queue: FakePredictionQueue, response: Any) -> str:
    """Let the worker answer what was accepted, and open the results."""
    try:
        _check_response(response)
        queue.work()
        for job in queue.jobs.values():
            assert job.error is None or job.error.get("code") != "internal_error", job.error
            for url in (
                f"{PATH}/{job.id}",
                f"/predictions/{job.id}",
                f"/predictions/{job.id}.csv",
                f"/predictions/{job.id}.json",
            ):
                _check_response(client.get(url))
        return USED if response.status_code < 400 else REFUSED
    finally:
        queue.jobs.clear()
        queue.keys.clear()


def _check_response(response: Any) -> None:
    if response.status_code >= 500:
        raise LaterFailureError(
            f"{response.request.path[:200]!r}: status {response.status_code}: {response.get_data()[:200]!r}"
        )
    if response.is_json:
        json.loads(response.get_data(), parse_constant=_reject_constant)


def _reject_constant(text: str) -> None:
    raise LaterFailureError(f"a response contains {text}")


@functools.cache
def _page(workspace: Path) -> tuple[FlaskClient, FakePredictionQueue]:
    """Return the page of this process, and its queue, which answers each job at once."""
    store = Store(workspace / "page")
    queue = FakePredictionQueue(Bundle.load(store.current.resolve()))
    queue.is_instant = True
    return make_web(ServeSection(rate_limit=0), store, queue, lambda: NOW).test_client(), queue


def _parse_name(case: Path, _workspace: Path) -> str:
    text = _input_of(case).read_bytes().decode("utf-8", "surrogatepass")
    try:
        name = parse_name(text)
    except StargazeError as error:
        _check_message(error)
        return REFUSED
    if FULL_NAME.fullmatch(name) is None or parse_name(name) != name:
        raise LaterFailureError(f"{name!r} is not a name")
    return USED

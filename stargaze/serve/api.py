"""The API for programs: ask with POST, read with GET, both in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request, url_for

from stargaze.config import ServeSection
from stargaze.errors import BadDataError
from stargaze.serve.forms import ask_by
from stargaze.serve.tickets import Desk, Ticket, is_id

EXAMPLE = '{"repositories": ["owner/name"]} or {"figures": [{"full_name": "owner/name", "forks": 12}]}'


def make(section: ServeSection, desk: Desk, clock: Callable[[], datetime]) -> Blueprint:
    """Return the routes below ``/api/v1``."""
    blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

    @blueprint.post("/predictions")
    def ask() -> tuple[Response, int, dict[str, str]]:
        if not request.is_json:
            abort(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        names, figures = _read(_parsed(request.get_data()))
        ticket = desk.ask(ask_by(names, figures, most=section.repositories, now=clock()))
        body = as_json(ticket)
        return jsonify(body), HTTPStatus.ACCEPTED, {"Location": body["url"]}

    @blueprint.get("/predictions/<ticket_id>")
    def look(ticket_id: str) -> Response:
        ticket = desk.look(ticket_id) if is_id(ticket_id) else None
        if ticket is None:
            abort(HTTPStatus.NOT_FOUND)
        return jsonify(as_json(ticket))

    return blueprint


def as_json(ticket: Ticket) -> dict[str, Any]:
    """Return what a program sees of a ticket."""
    answer = ticket.answer or {}
    return {
        "id": ticket.id,
        "state": ticket.state,
        "url": url_for("api.look", ticket_id=ticket.id),
        "page": url_for("pages.prediction", ticket_id=ticket.id),
        "digest": answer.get("digest"),
        "predictions": answer.get("predictions"),
        "error": ticket.error,
    }


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadDataError("the body is not JSON", hint=f"send {EXAMPLE}") from error


def _read(body: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """Check the shape of the body; what the names and figures say is checked where the page checks it too."""
    if not isinstance(body, dict) or not set(body) <= {"repositories", "figures"}:
        raise BadDataError("the body is not a question", hint=f"send {EXAMPLE}")
    names, figures = body.get("repositories", []), body.get("figures", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadDataError("repositories is not a list of names", hint=f"send {EXAMPLE}")
    if not isinstance(figures, list) or not all(isinstance(row, dict) for row in figures):
        raise BadDataError("figures is not a list of objects", hint=f"send {EXAMPLE}")
    return names, figures

"""The OpenAPI 3.1 document of the API, against which schemathesis tests the server.

It is written by hand: spectree 3.0 cannot describe response headers and links, and APIFlask 3.1 adds 13 packages to the image.
"""

from __future__ import annotations

from typing import Any

from stargaze import __version__
from stargaze.config import ServeSection
from stargaze.serve.web.openapi_schemas import ID, TEXT, reference, schemas

PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "wait=N delays the response by up to N seconds, at most ten, until the job is finished (RFC 7240).",
    "schema": {"type": "string", "examples": ["wait=5"]},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request always returns the same job.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
}
ERRORS = {
    "400": "The request is invalid; the message says why.",
    "404": "The job does not exist or has expired.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "The Idempotency-Key was already used for a different request.",
    "429": "The rate limit was reached.",
    "503": "The request cannot be accepted at present.",
}
RETRY_AFTER = {"Retry-After": {"description": "When to retry [s].", "required": True, "schema": {"type": "integer"}}}


def openapi_document(section: ServeSection) -> dict[str, Any]:
    """Return the document for the API as it is configured."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "stargaze",
            "version": __version__,
            "description": "Predicts how many stargazers a GitHub repository has earned, with an interval and an explanation. "
            "A request is accepted with 202 and returned as a job; the result is read from the job's URL.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/v1/predictions": {"post": _submit(section)},
            "/api/v1/predictions/{id}": {"get": _get()},
        },
        "components": {"schemas": schemas(section.max_repositories)},
    }


def _submit(section: ServeSection) -> dict[str, Any]:
    content = {"schema": reference("PredictionRequest"), "example": {"repositories": ["pallets/flask"]}}
    location = {"description": "URL of the job.", "required": True, "schema": TEXT}
    rate_limit = ("429",) if section.rate_limit else ()
    return {
        "operationId": "submit",
        "summary": "Submit a prediction request",
        "parameters": [IDEMPOTENCY_KEY, PREFER],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": {"description": "Finished already, if the client waits.", "content": _json("PredictionJob")},
            "202": {
                "description": "Accepted. A recent identical request returns the same job.",
                "headers": {"Location": location},
                "content": _json("PredictionJob"),
                "links": {"job": {"operationId": "get", "parameters": {"id": "$response.body#/id"}}},
            },
            **_errors("400", "413", "415", "422", *rate_limit, "503"),
        },
    }


def _get() -> dict[str, Any]:
    return {
        "operationId": "get",
        "summary": "Read a job",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": ID}, PREFER],
        "responses": {
            "200": {
                "description": "The job in its present state.",
                "headers": {"ETag": {"description": "Only of a finished job.", "schema": TEXT}},
                "content": _json("PredictionJob"),
            },
            "304": {"description": "Not changed since If-None-Match."},
            **_errors("400", "404", "503"),
        },
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": reference(name)}}


def _errors(*statuses: str) -> dict[str, Any]:
    return {
        status: {
            "description": ERRORS[status],
            "content": _json("Error"),
            **({"headers": RETRY_AFTER} if status in ("429", "503") else {}),
        }
        for status in statuses
    }

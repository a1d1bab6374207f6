"""The OpenAPI 3.1 document of the API, against which schemathesis tests the server.

It is written by hand: spectree 3.0 cannot describe response headers and links, and APIFlask 3.1 adds 13 packages to the image.
"""

from __future__ import annotations

from typing import Any

from stargaze import __version__
from stargaze.config import ServeSection
from stargaze.serve.web.api.openapi_schemas import ID, OWNER_NAME, TEXT, Schema, reference, schemas, what_if_fields
from stargaze.serve.web.problems import PROBLEM_TYPE, PROBLEMS

EXAMPLE_NAME = "pallets/flask"
OWNER = {**TEXT, "pattern": f"^{OWNER_NAME}$"}
NAME = {"type": "string", "pattern": "^[A-Za-z0-9._-]{0,90}[A-Za-z0-9_-]$"}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request always returns the same job.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of a previous response: 304 if the result is still the same.",
    "schema": TEXT,
}
ERRORS = {
    "400": "The request is invalid; `detail` says why.",
    "404": "The job does not exist or has expired.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "The Idempotency-Key was already used for a different request.",
    "429": "The rate limit was reached.",
    "500": "The server failed; its log has the reason with the request's id.",
    "502": "GitHub returned values that cannot be used.",
    "503": "The request cannot be accepted or answered at present.",
}
EXAMPLE_CODES = {
    "400": "invalid_request",
    "404": "not_found",
    "413": "body_too_large",
    "415": "unsupported_media_type",
    "422": "idempotency_key_reused",
    "429": "rate_limited",
    "500": "internal_error",
    "502": "invalid_github_data",
    "503": "queue_unavailable",
}
HEADERS: Schema = {
    "ETag": {"description": "Version of the result; only of a finished job.", "schema": TEXT},
    "Location": {"description": "Path of the job.", "required": True, "schema": TEXT},
    "RateLimit": {"description": "What is left of the rate limit: r requests for t seconds.", "schema": TEXT},
    "RateLimit-Policy": {"description": "The rate limit: q requests in w seconds.", "schema": TEXT},
    "Retry-After": {"description": "When to retry [s].", "required": True, "schema": {"type": "integer"}},
    "X-Request-Id": {"description": "Id of this request in the server's log.", "required": True, "schema": TEXT},
    "Preference-Applied": {"description": "The wait that was applied (RFC 7240).", "schema": TEXT},
}


def openapi_document(section: ServeSection) -> dict[str, Any]:
    """Return the document for the API as it is configured."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "stargaze",
            "version": __version__,
            "summary": "How many stars a GitHub repository should have.",
            "description": "Estimates how many stars a GitHub repository has earned, with a prediction interval, an explanation, "
            "its star history and a forecast. A request is accepted with 202 and returned as a job; the result is read from the "
            "job's URL. Errors are problem details (RFC 9457). Scripts of other sites may read (GET), not submit (POST).",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/v1/repositories/{owner}/{name}": {"get": _repository(section)},
            "/api/v1/predictions": {"post": _submit(section)},
            "/api/v1/predictions/{id}": {"get": _get(section)},
        },
        "components": {"schemas": schemas(section.max_repositories), "headers": HEADERS},
    }


def _repository(section: ServeSection) -> Schema:
    path = [
        {"name": "owner", "in": "path", "required": True, "schema": OWNER, "example": EXAMPLE_NAME.partition("/")[0]},
        {"name": "name", "in": "path", "required": True, "schema": NAME, "example": EXAMPLE_NAME.partition("/")[2]},
    ]
    fields = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"What if: {schema['description']}",
            "schema": schema,
        }
        for name, schema in what_if_fields(in_query=True).items()
    ]
    errors = _errors(section, "400", "404", "429", "500", "502", "503")
    errors["404"]["description"] = "GitHub and the bundle have no such repository (code `unknown_repository`)."
    return {
        "operationId": "repository",
        "summary": "Estimate one repository",
        "description": "A recent result of the same repository and the same what-if is returned again.",
        "parameters": [*path, *fields, _prefer("five"), IF_NONE_MATCH],
        "responses": {
            "200": _response("The finished job.", section, "ETag", "Preference-Applied"),
            "202": _response(
                "Not finished within the wait; the job's URL is in Location.",
                section,
                *("Location", "Retry-After", "Preference-Applied"),
                links=True,
            ),
            "304": _not_modified(section),
            **errors,
        },
    }


def _submit(section: ServeSection) -> Schema:
    content = {"schema": reference("PredictionRequest"), "example": {"repositories": [EXAMPLE_NAME]}}
    return {
        "operationId": "submit",
        "summary": "Submit a prediction request",
        "parameters": [IDEMPOTENCY_KEY, _prefer("zero")],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": _response("Finished already, if the client waits.", section, "Location", "Preference-Applied"),
            "202": _response(
                "Accepted. A recent identical request returns the same job.",
                section,
                *("Location", "Preference-Applied"),
                links=True,
            ),
            **_errors(section, "400", "413", "415", "422", "429", "500", "503"),
        },
    }


def _get(section: ServeSection) -> Schema:
    return {
        "operationId": "get",
        "summary": "Read a job",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": ID}, _prefer("zero"), IF_NONE_MATCH],
        "responses": {
            "200": _response("The job in its present state.", section, "ETag", "Preference-Applied"),
            "304": _not_modified(section),
            **_errors(section, "404", "500", "503"),
        },
    }


def _prefer(default: str) -> Schema:
    return {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": f"wait=N delays the response by up to N seconds, at most ten, until the job is finished (RFC 7240); "
        f"{default} without it.",
        "schema": {"type": "string", "examples": ["wait=5"]},
    }


def _response(description: str, section: ServeSection, *headers: str, links: bool = False) -> Schema:
    link = {"job": {"operationId": "get", "parameters": {"id": "$response.body#/id"}}}
    return {
        "description": description,
        "headers": _headers(section, *headers),
        "content": {"application/json": {"schema": reference("PredictionJob")}},
        **({"links": link} if links else {}),
    }


def _not_modified(section: ServeSection) -> Schema:
    return {"description": "Not changed since If-None-Match.", "headers": _headers(section, "ETag")}


def _headers(section: ServeSection, *names: str) -> Schema:
    limit = ("RateLimit", "RateLimit-Policy") if section.rate_limit else ()
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *limit, *names)}


def _errors(section: ServeSection, *statuses: str) -> dict[str, Schema]:
    return {
        status: {
            "description": ERRORS[status],
            "headers": _headers(section, *(("Retry-After",) if status in ("429", "503") else ())),
            "content": {PROBLEM_TYPE: {"schema": reference("Problem"), "example": _problem_example(status)}},
        }
        for status in statuses
        if section.rate_limit or status != "429"
    }


def _problem_example(status: str) -> Schema:
    code = EXAMPLE_CODES[status]
    return {
        "type": f"/try#{code}",
        "title": PROBLEMS[code][1],
        "status": int(status),
        "detail": ERRORS[status],
        "code": code,
        "hint": "",
        "request_id": "3f0c6f1de1f44c0b9a1d2f1c5a7be0d4",
    }

"""The OpenAPI 3.1 document of the API, against which schemathesis tests the server.

It is written by hand: spectree 3.0 cannot describe response headers and links, and APIFlask 3.1 adds 13 packages to the image.
"""

from __future__ import annotations

from typing import Any

from stargaze import __version__
from stargaze.config import ServeSection
from stargaze.features.ingest.user_input import FORM_FIELDS
from stargaze.features.ingest.validate import MAX_CATEGORY_LENGTH
from stargaze.features.schema import FIELD_BY_NAME, Field
from stargaze.serve.prediction.what_if import CONTROL_KINDS, EDITABLE_FIELDS

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
Schema = dict[str, Any]
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
OPTIONAL_NUMBER = {"type": ["number", "null"]}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
BOOLEAN = {"type": "boolean"}
ERROR_DETAILS = {"code": {**TEXT, "pattern": "^[a-z][a-z_]*$"}, "message": TEXT, "hint": TEXT}
ID = {"type": "string", "format": "uuid"}
DAY = {"type": ["string", "null"], "format": "date"}
FULL_NAME = r"[A-Za-z0-9_-]{1,48}/[A-Za-z0-9._-]{0,99}[A-Za-z0-9_-]"
NAME_OR_URL = rf"^({FULL_NAME}|(https?://)?(www\.)?github\.com/{FULL_NAME}([/?#][!-~]*)?)$"


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
        "paths": {"/api/v1/predictions": {"post": _submit(section)}, "/api/v1/predictions/{id}": {"get": _get()}},
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


def schemas(max_repositories: int) -> dict[str, Schema]:
    """Return all schemas by name."""
    return {
        "PredictionRequest": _request(max_repositories),
        "PredictionJob": _job(),
        "Prediction": _prediction(),
        "Error": _object({"error": _object(ERROR_DETAILS)}),
    }


def reference(name: str) -> dict[str, str]:
    """Return a reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def _request(most: int) -> Schema:
    limits = [_limit("figures", most, "repositories", 0)]
    limits += [_limit("repositories", count, "figures", most - count) for count in range(1, most + 1)]
    return {
        "type": "object",
        "additionalProperties": False,
        "description": f"Names, figures, or both; at most {most} repositories in total.",
        "anyOf": limits,
        "properties": {
            "repositories": {
                "type": "array",
                "maxItems": most,
                "description": "owner/name, or a URL on github.com.",
                "items": {"type": "string", "maxLength": 500, "pattern": NAME_OR_URL},
            },
            "figures": {
                "type": "array",
                "maxItems": most,
                "description": "Repositories by their figures; missing fields are unknown.",
                "items": {
                    "type": "object",
                    "required": ["full_name"],
                    "additionalProperties": False,
                    "properties": {field.name: _field(field) for field in FORM_FIELDS},
                },
            },
            "what_if": {
                "type": "object",
                "additionalProperties": False,
                "description": "Also predict with these values changed. An association, not advice.",
                "properties": {name: _field(FIELD_BY_NAME[name], "today", "none", "no") for name in EDITABLE_FIELDS},
            },
            "explain": {
                "type": "boolean",
                "default": True,
                "description": "false omits factors, similar repositories and history, and is faster.",
            },
        },
    }


def _limit(name: str, most: int, other: str, most_of_other: int) -> Schema:
    """Return one way to stay within the limit, which names and figures share."""
    lists = {name: {"minItems": 1, "maxItems": most}, other: {"maxItems": most_of_other}}
    return {"required": [name], "properties": lists}


def _field(field: Field, *words: str) -> Schema:
    """Return the schema of one value; null and the empty text mean "unknown"."""
    unit = f" [{field.unit}]" if field.unit else ""
    description = {"description": field.meaning + unit}
    if field.name == "full_name":
        return {"type": "string", "pattern": f"^{FULL_NAME}$", **description}
    if field.kind == "count":
        return {
            "type": ["integer", "string", "null"],
            "minimum": 0,
            "maximum": field.maximum,
            "pattern": rf"^[0-9]{{0,{len(str(int(field.maximum))) - 1}}}$",
            **description,
        }
    if field.kind == "flag":
        return {"enum": [True, False, 1, 0, "true", "false", "yes", "no", "1", "0", "", None], **description}
    if field.kind == "date":
        return {"anyOf": [{"type": "string", "format": "date"}, {"enum": ["", *words, None]}], **description}
    return {"type": ["string", "null"], "maxLength": MAX_CATEGORY_LENGTH, **description}


def _job() -> Schema:
    return _object(
        {
            "id": ID,
            "state": {"enum": ["queued", "running", "done", "failed"]},
            "url": {**TEXT, "description": "Path of this job."},
            "page": {**TEXT, "description": "Path of the result as a web page."},
            "digest": {"type": ["string", "null"], "description": "SHA-256 of the bundle that predicted."},
            "growth_digest": {"type": ["string", "null"], "description": "SHA-256 of the bundle that forecast."},
            "answered_at": {"type": ["string", "null"], "format": "date-time"},
            "predictions": {
                "type": ["array", "null"],
                "description": "Most expected stars first.",
                "items": reference("Prediction"),
            },
            "errors": {
                **_list_of(_object({"name": TEXT, **ERROR_DETAILS})),
                "description": "The names that could not be answered.",
            },
            "error": _optional(ERROR_DETAILS),
        }
    )


def _prediction() -> Schema:
    factor = _object({"feature": TEXT, "label": TEXT, "value": TEXT, "factor": NUMBER})
    change = _object({"field": TEXT, "label": TEXT, "before": TEXT, "after": TEXT})
    interval = {"expected_stars": NUMBER, "interval_low": NUMBER, "interval_high": NUMBER}
    explanation = {
        "method": {"enum": ["exact", "sampled"]},
        "baseline_stars": {**NUMBER, "description": "(expected_stars + 1) = (baseline_stars + 1) times all factors."},
        "factors": _list_of(factor),
        "other_factors": NUMBER,
    }
    control = {
        "field": TEXT,
        "label": TEXT,
        "kind": {"enum": sorted(set(CONTROL_KINDS.values()))},
        "unit": TEXT,
        "value": {"type": ["string", "number", "boolean", "null"]},
        "options": {"type": ["array", "null"], "items": TEXT},
    }
    forecast = {"days": {"type": "integer"}, "date": DAY, "stars": NUMBER, "low": NUMBER, "high": NUMBER}
    return _object(
        {
            "rank": {"type": "integer", "minimum": 1},
            "full_name": TEXT,
            "source": {"enum": ["github", "bundle", "entered"]},
            "expected_stars": {**NUMBER, "minimum": 0, "description": "The estimate."},
            "interval_low": NUMBER,
            "interval_high": NUMBER,
            "coverage": {**SHARE, "description": "How often actual counts are in such intervals."},
            "decade_coverage": {
                **_optional({"decade": TEXT, "n": {"type": "integer"}, "coverage": SHARE}),
                "description": "The same, measured on repositories with an estimate of this magnitude.",
            },
            "enough_data": {**BOOLEAN, "description": "Whether the ends of the interval differ by at most 100 times."},
            "percentile": {**NUMBER, "minimum": 0, "maximum": 100},
            "actual_stars": {**OPTIONAL_NUMBER, "description": "The actual count, if it is known."},
            "ratio": {**OPTIONAL_NUMBER, "description": "(actual_stars + 1) / (expected_stars + 1)."},
            "inside_interval": {
                "type": ["boolean", "null"],
                "description": "Whether the actual count is in the interval.",
            },
            "fetched_at": {**DAY, "description": "The day of the figures."},
            "in_training_data": {**BOOLEAN, "description": "Whether the model was trained on this repository."},
            "policy": {**TEXT, "description": "The feature policy of the estimate."},
            "missing_fields": _list_of(_object({"field": TEXT, "label": TEXT})),
            "notes": _list_of(TEXT),
            "explanation": _optional(explanation),
            "without_popularity": {
                **_optional({"policy": TEXT, **interval, "explanation": _object(explanation)}),
                "description": "The estimate without forks, subscribers and similar counts.",
            },
            "similar": _list_of(_object({"full_name": TEXT, "actual_stars": OPTIONAL_NUMBER, "similarity": SHARE})),
            "out_of_range": {
                **_list_of(_object({"label": TEXT, "value": TEXT, "low": TEXT, "high": TEXT})),
                "description": "Values outside the range of the training data.",
            },
            "controls": {**_list_of(_object(control)), "description": "The fields that `what_if` may change."},
            "what_if": _optional({**interval, "factor": NUMBER, "changes": _list_of(change)}),
            "history": _optional({"source": TEXT, "as_of": DAY, "dates": _list_of(DAY), "stars": _list_of(NUMBER)}),
            "history_note": {**TEXT, "description": "Why there is no history, or how old it is."},
            "forecast": {"type": ["array", "null"], "items": _object(forecast)},
            "milestone": _optional({"stars": NUMBER, "date": DAY, "earliest": DAY, "latest": DAY, "coverage": SHARE}),
        }
    )


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _optional(properties: Schema) -> Schema:
    return {**_object(properties), "type": ["object", "null"]}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}

"""What the API promises, in OpenAPI 3.1: a program can be written against it, and a referee tests the app against it."""

from __future__ import annotations

from typing import Any

from stargaze import __version__
from stargaze.config import ServeSection
from stargaze.features.ingest.user_input import FORM_FIELDS
from stargaze.features.ingest.validate import MAX_CATEGORY_LENGTH
from stargaze.features.schema import FIELD_BY_NAME, Field
from stargaze.serve.prediction.what_if import EDITABLE_FIELDS

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
TRUTH = {"type": "boolean"}
ID = {"type": "string", "format": "uuid"}
DAY = {"type": ["string", "null"], "format": "date"}
NAME = r"[A-Za-z0-9_-]{1,48}/[A-Za-z0-9._-]{0,99}[A-Za-z0-9_-]"
ADDRESS = rf"^({NAME}|(https?://)?(www\.)?github\.com/{NAME}([/?#][!-~]*)?)$"
PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "wait=N holds the request for up to N seconds, at most ten, until the answer is there (RFC 7240).",
    "schema": {"type": "string", "examples": ["wait=5"]},
}


def description(section: ServeSection) -> dict[str, Any]:
    """Return the description of the API as it is configured."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "stargaze",
            "version": __version__,
            "description": "Predicts how many stargazers a GitHub repository has earned, with an interval and reasons. A "
            "question is accepted with 202 and a job; the answer is read where the job says.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/v1/predictions": {"post": _asking(section)},
            "/api/v1/predictions/{id}": {"get": _looking()},
        },
        "components": {
            "schemas": {
                "Question": _question(section),
                "Job": _job(),
                "Prediction": _prediction(),
                "Problem": _object({"error": _object({"message": TEXT, "hint": TEXT})}),
            }
        },
    }


def _asking(section: ServeSection) -> dict[str, Any]:
    return {
        "operationId": "ask",
        "summary": "Ask for predictions",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Sent again with the same question it gives the same job, whatever happened in between.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
            },
            PREFER,
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _reference("Question"),
                    "example": {"repositories": ["pallets/flask"]},
                }
            },
        },
        "responses": {
            "200": {"description": "Answered already, for who likes to wait.", "content": _json("Job")},
            "202": {
                "description": "Accepted; the same question, asked a moment ago, has the same job.",
                "headers": {"Location": {"description": "Where the answer will be.", "required": True, "schema": TEXT}},
                "content": _json("Job"),
                "links": {"answer": {"operationId": "look", "parameters": {"id": "$response.body#/id"}}},
            },
            **_refusals("400", "413", "415", "422", *(("429",) if section.rate_limit else ()), "503"),
        },
    }


def _looking() -> dict[str, Any]:
    return {
        "operationId": "look",
        "summary": "Read an answer",
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": ID},
            PREFER,
        ],
        "responses": {
            "200": {
                "description": "The job as it stands.",
                "headers": {"ETag": {"description": "Of a job that has ended.", "schema": TEXT}},
                "content": _json("Job"),
            },
            "304": {"description": "As If-None-Match says."},
            **_refusals("400", "404", "503"),
        },
    }


def _question(section: ServeSection) -> dict[str, Any]:
    most = section.max_repositories
    return {
        "type": "object",
        "additionalProperties": False,
        "description": f"Names, figures, or both; {most} repositories in all.",
        "anyOf": [_at_least_one("figures", most, "repositories", 0)]
        + [_at_least_one("repositories", number, "figures", most - number) for number in range(1, most + 1)],
        "properties": {
            "repositories": {
                "type": "array",
                "maxItems": most,
                "description": "owner/name, or an address on github.com.",
                "items": {"type": "string", "maxLength": 500, "pattern": ADDRESS},
            },
            "figures": {
                "type": "array",
                "maxItems": most,
                "description": "Repositories by their figures; what is left out is not known.",
                "items": {
                    "type": "object",
                    "required": ["full_name"],
                    "additionalProperties": False,
                    "properties": {field.name: _figure(field) for field in FORM_FIELDS},
                },
            },
            "what_if": {
                "type": "object",
                "additionalProperties": False,
                "description": "What if: the estimate as it would be with these values instead. An association, not advice.",
                "properties": {name: _figure(FIELD_BY_NAME[name], "today", "none", "no") for name in EDITABLE_FIELDS},
            },
            "explain": {
                "type": "boolean",
                "default": True,
                "description": "false leaves out factors, similar repositories and history, and is faster.",
            },
        },
    }


def _at_least_one(name: str, most: int, other: str, most_of_other: int) -> dict[str, Any]:
    """Describe one way to stay within the limit, which is one of names and figures together."""
    lists = {name: {"minItems": 1, "maxItems": most}, other: {"maxItems": most_of_other}}
    return {"required": [name], "properties": lists}


def _figure(field: Field, *words: str) -> dict[str, Any]:
    """Describe one value; nothing, as null or as an empty text, is "not known"."""
    unit = f" [{field.unit}]" if field.unit else ""
    described = {"description": field.meaning + unit}
    if field.name == "full_name":
        return {"type": "string", "pattern": f"^{NAME}$", **described}
    if field.kind == "count":
        digits = rf"^[0-9]{{0,{len(str(int(field.maximum))) - 1}}}$"
        return {
            "type": ["integer", "string", "null"],
            "minimum": 0,
            "maximum": field.maximum,
            "pattern": digits,
            **described,
        }
    if field.kind == "flag":
        return {"enum": [True, False, 1, 0, "true", "false", "yes", "no", "1", "0", "", None], **described}
    if field.kind == "date":
        return {"anyOf": [{"type": "string", "format": "date"}, {"enum": ["", *words, None]}], **described}
    return {"type": ["string", "null"], "maxLength": MAX_CATEGORY_LENGTH, **described}


def _job() -> dict[str, Any]:
    return _object(
        {
            "id": ID,
            "state": {"enum": ["queued", "running", "done", "failed"]},
            "url": {**TEXT, "description": "Of this job."},
            "page": {**TEXT, "description": "Of the same answer, for people."},
            "digest": {"type": ["string", "null"], "description": "SHA-256 of the bundle that answered."},
            "answered_at": {"type": ["string", "null"], "format": "date-time"},
            "predictions": {
                "type": ["array", "null"],
                "description": "Most predicted stars first.",
                "items": _reference("Prediction"),
            },
            "error": {**_object({"message": TEXT, "hint": TEXT}), "type": ["object", "null"]},
        }
    )


def _prediction() -> dict[str, Any]:
    factor = _object({"feature": TEXT, "label": TEXT, "value": TEXT, "factor": NUMBER})
    change = _object({"field": TEXT, "label": TEXT, "before": TEXT, "after": TEXT})
    ahead = _object({"days": {"type": "integer"}, "date": DAY, "stars": NUMBER, "low": NUMBER, "high": NUMBER})
    account = {"type": ["number", "null"]}
    return _object(
        {
            "rank": {"type": "integer", "minimum": 1},
            "full_name": TEXT,
            "known": {**TRUTH, "description": "false for typed figures."},
            "source": {"enum": ["github", "known", "typed"]},
            "stars": {**NUMBER, "minimum": 0, "description": "The estimate."},
            "low": NUMBER,
            "high": NUMBER,
            "coverage": {**SHARE, "description": "How often the true count lies from low to high."},
            "percentile": {**NUMBER, "minimum": 0, "maximum": 100},
            "actual": {"type": ["number", "null"], "description": "The true count, where it is known."},
            "fetched_at": {**DAY, "description": "The day of the figures."},
            "in_training_data": {**TRUTH, "description": "The model learnt from this very repository."},
            "policy": {**TEXT, "description": "Which features the estimate rests on."},
            "missing": {"type": "array", "items": TEXT},
            "notes": {"type": "array", "items": TEXT},
            "expected": {**account, "description": "(expected + 1) = (base + 1) × all factors × rest."},
            "base": account,
            "factors": {"type": "array", "items": factor},
            "other_factors": account,
            "similar": {"type": "array", "items": _object({"full_name": TEXT, "stars": NUMBER, "similarity": SHARE})},
            "out_of_range": {
                "type": "array",
                "description": "What lies outside of what the model learnt from.",
                "items": _object({"label": TEXT, "value": TEXT, "low": TEXT, "high": TEXT}),
            },
            "editable_fields": {
                "type": "object",
                "description": "Present values of what `changes` may name.",
                "required": list(EDITABLE_FIELDS),
            },
            "what_if": _or_null(
                {
                    "stars": NUMBER,
                    "low": NUMBER,
                    "high": NUMBER,
                    "factor": NUMBER,
                    "changes": {"type": "array", "items": change},
                }
            ),
            "history": _or_null(
                {"dates": {"type": "array", "items": DAY}, "stars": {"type": "array", "items": NUMBER}}
            ),
            "forecast": {"type": ["array", "null"], "items": ahead},
        }
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _or_null(properties: dict[str, Any]) -> dict[str, Any]:
    return {**_object(properties), "type": ["object", "null"]}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(name)}}


REFUSALS = {
    "400": "The question cannot be asked; the message says why.",
    "404": "No such job, or its answer has expired.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "The Idempotency-Key came before, with another question.",
    "429": "Too many questions of one visitor in a minute.",
    "503": "Nothing can be accepted now; Retry-After says when to come again.",
}


LATER = {"Retry-After": {"description": "When to come again [s].", "required": True, "schema": {"type": "integer"}}}
REFUSAL_HEADERS = {"429": LATER, "503": LATER}


def _refusals(*statuses: str) -> dict[str, Any]:
    return {
        status: {
            "description": REFUSALS[status],
            "content": _json("Problem"),
            **({"headers": REFUSAL_HEADERS[status]} if status in REFUSAL_HEADERS else {}),
        }
        for status in statuses
    }

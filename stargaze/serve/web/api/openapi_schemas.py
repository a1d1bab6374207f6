"""The JSON schemas of requests, answers and errors in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from stargaze.features.ingest.user_input import FORM_FIELDS
from stargaze.features.ingest.validate import MAX_CATEGORY_LENGTH
from stargaze.features.schema import FIELD_BY_NAME, Field
from stargaze.serve.prediction.controls import KINDS
from stargaze.serve.prediction.what_if import WHAT_IF_FIELDS, what_if_words
from stargaze.serve.web.problems import PROBLEMS

Schema = dict[str, Any]
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
OPTIONAL_NUMBER = {"type": ["number", "null"]}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
BOOLEAN = {"type": "boolean"}
ERROR_DETAILS = {"code": {**TEXT, "pattern": "^[a-z][a-z_]*$"}, "message": TEXT, "hint": TEXT}
ID = {"type": "string", "format": "uuid"}
DAY = {"type": ["string", "null"], "format": "date"}
OWNER_NAME = r"[A-Za-z0-9-]{1,39}(_[A-Za-z0-9]{1,8})?"
FULL_NAME = OWNER_NAME + r"/[A-Za-z0-9._-]{0,99}[A-Za-z0-9_-]"
NAME_OR_URL = (
    rf"^({FULL_NAME}/?|(https?://)?(www\.)?github\.com/{FULL_NAME}([/?#][!-~]*)?|git@github\.com:{FULL_NAME})$"
)


def schemas(max_repositories: int) -> dict[str, Schema]:
    """Return all schemas by name."""
    return {
        "PredictionRequest": _request(max_repositories),
        "PredictionJob": _job(),
        "Prediction": _prediction(),
        "Problem": _problem(),
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
                "description": "owner/name, a URL on github.com, or one for git clone.",
                "items": {"type": "string", "maxLength": 500, "pattern": NAME_OR_URL},
            },
            "figures": {
                "type": "array",
                "maxItems": most,
                "description": "Repositories by their figures, each with one value at least; missing fields are unknown.",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {field.name: _field(field) for field in FORM_FIELDS},
                    "not": {"properties": {"fetched_at": {}}, "additionalProperties": {"enum": ["", None]}},
                },
            },
            "what_if": {
                "type": "object",
                "additionalProperties": False,
                "description": "Also predict with these values changed. An association, not advice.",
                "properties": what_if_fields(),
            },
            "explain": {
                "type": "boolean",
                "default": True,
                "description": "false omits factors, similar repositories and history, and is faster.",
            },
        },
    }


def what_if_fields(*, in_query: bool = False) -> dict[str, Schema]:
    """Return the schemas of the fields that a what-if may change, in a body or as texts in a query."""
    fields = {name: _field(FIELD_BY_NAME[name], *sorted(what_if_words(name))) for name in WHAT_IF_FIELDS}
    return {name: _as_text(schema) for name, schema in fields.items()} if in_query else fields


def _as_text(schema: Schema) -> Schema:
    """Return the schema of the same value in a query, where there are only texts."""
    if "anyOf" in schema:
        words = {"enum": [word for word in schema["anyOf"][1]["enum"] if word is not None]}
        return {**schema, "anyOf": [schema["anyOf"][0], words]}
    if "enum" in schema:
        return {**schema, "enum": [value for value in schema["enum"] if isinstance(value, str)]}
    return {name: value for name, value in schema.items() if name not in ("minimum", "maximum", "items")} | {
        "type": "string"
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
        return {"type": ["string", "null"], "pattern": f"^({FULL_NAME})?$", **description}
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
    if field.kind == "list":
        return {"type": ["string", "array", "null"], "items": TEXT, **description}
    limit = {"maxLength": MAX_CATEGORY_LENGTH} if field.kind == "category" else {}
    return {"type": ["string", "null"], **limit, **description}


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
    feature = {**TEXT, "description": "A feature, an own column of the training data, or a group of features."}
    factor = _object({"feature": feature, "label": TEXT, "value": TEXT, "factor": NUMBER})
    change = _object({"field": TEXT, "label": TEXT, "before": TEXT, "after": TEXT})
    interval = {"expected_stars": NUMBER, "interval_low": NUMBER, "interval_high": NUMBER}
    outside = _list_of(_object({"label": TEXT, "value": TEXT, "low": TEXT, "high": TEXT}))
    unlike = _optional({"labels": _list_of(TEXT), "text": TEXT})
    what_if = {**interval, "factor": NUMBER, "changes": _list_of(change)}
    explanation = {
        "method": {"enum": ["exact", "sampled"]},
        "baseline_stars": {**NUMBER, "description": "(expected_stars + 1) = (baseline_stars + 1) times all factors."},
        "factors": _list_of(factor),
        "other_factors": NUMBER,
    }
    control = {
        "field": TEXT,
        "label": TEXT,
        "kind": {"enum": sorted(set(KINDS.values()))},
        "unit": TEXT,
        "value": {"type": ["string", "number", "boolean", "null"]},
        "options": {"type": ["array", "null"], "items": TEXT},
    }
    forecast = {
        "days": {"type": "integer"},
        "date": DAY,
        "stars": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "coverage": SHARE,
    }
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
            "set": {
                "enum": ["training", "validation", "test", None],
                "description": "Its set when the model was fitted: used in training, to calibrate the intervals, or in no"
                " fit; null if it was not among the data.",
            },
            "policy": {**TEXT, "description": "The feature policy of the estimate."},
            "missing_fields": _list_of(_object({"field": TEXT, "label": TEXT})),
            "notes": _list_of(TEXT),
            "explanation": _optional(explanation),
            "without_popularity": {
                **_optional({"policy": TEXT, **interval, "explanation": _object(explanation)}),
                "description": "The estimate without forks, subscribers and similar counts.",
            },
            "similar": _list_of(_object({"full_name": TEXT, "actual_stars": OPTIONAL_NUMBER, "similarity": SHARE})),
            "out_of_range": {**outside, "description": "Values outside the range of the training data."},
            "unlike_training": {
                **unlike,
                "description": "If the repository is unlike the training ones: its numbers that differ most.",
            },
            "controls": {**_list_of(_object(control)), "description": "The fields that `what_if` may change."},
            "what_if": _optional(
                {**what_if, "notes": _list_of(TEXT), "out_of_range": outside, "unlike_training": unlike}
            ),
            "history": _optional({"source": TEXT, "as_of": DAY, "dates": _list_of(DAY), "stars": _list_of(NUMBER)}),
            "history_note": {**TEXT, "description": "Why there is no history, or how old it is."},
            "forecast": {"type": ["array", "null"], "items": _object(forecast)},
            "milestone": _optional({"stars": NUMBER, "date": DAY, "earliest": DAY, "latest": DAY, "coverage": SHARE}),
        }
    )


def _problem() -> Schema:
    return {
        **_object(
            {
                "type": {**TEXT, "format": "uri-reference", "description": "Where the code is described."},
                "title": {**TEXT, "description": "What the code means."},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {**TEXT, "description": "What is wrong with this request."},
                "code": {"enum": list(PROBLEMS)},
                "hint": {**TEXT, "description": "What to do next; may be empty."},
                "request_id": {
                    **TEXT,
                    "description": "The id of this request, as in X-Request-Id; the server's log has it.",
                },
            }
        ),
        "description": "Problem details (RFC 9457).",
    }


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _optional(properties: Schema) -> Schema:
    return {**_object(properties), "type": ["object", "null"]}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}

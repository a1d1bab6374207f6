"""GitHub's OpenAPI description, reduced to the endpoints of the crawl and corrected where GitHub behaves differently."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tests.referee.recorded import REFEREE

PATHS = (
    *("/rate_limit", "/search/repositories", "/repos/{owner}/{repo}", "/repositories/{repository_id}"),
    *("/repos/{owner}/{repo}/contributors", "/repos/{owner}/{repo}/readme", "/users/{username}", "/orgs/{org}"),
)
MEDIA = "application/vnd.github+json"
"""The media type that GitHub tells clients to accept; the description only lists plain JSON."""


def write_description(path: Path) -> None:
    """Write the reduced description."""
    published = REFEREE / "node_modules/@octokit/openapi/generated/api.github.com.json"
    whole = json.loads(published.read_text(encoding="utf-8"))
    paths = {}
    for name in PATHS:
        described = whole["paths"].get(name) or {"get": _by_id(whole)}
        paths[name] = {key: described[key] for key in ("get", "parameters") if key in described}
    reduced = {key: whole[key] for key in ("openapi", "info", "servers")} | {"paths": paths, "components": {}}
    for reference in _references(paths, whole, {}):
        _, kind, name = reference
        reduced["components"].setdefault(kind, {})[name] = copy.deepcopy(whole["components"][kind][name])
    _accept_media(reduced)
    reduced["components"]["parameters"]["per-page"]["schema"] |= {"minimum": 1, "maximum": 100}
    path.write_text(json.dumps(reduced), encoding="utf-8")


def _by_id(whole: dict[str, Any]) -> dict[str, Any]:
    """Describe ``/repositories/ID``, the target of redirects, like the endpoint by name."""
    described = copy.deepcopy(whole["paths"]["/repos/{owner}/{repo}"]["get"])
    parameter = {"name": "repository_id", "in": "path", "required": True, "schema": {"type": "integer"}}
    return {**described, "operationId": "repos/get-by-id", "parameters": [parameter]}


def _references(
    part: Any, whole: dict[str, Any], references: dict[tuple[str, ...], None]
) -> dict[tuple[str, ...], None]:
    """Collect all references of a part, recursively."""
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str):
            steps = tuple(reference.removeprefix("#/").split("/"))
            if steps not in references:
                references[steps] = None
                _references(whole[steps[0]][steps[1]][steps[2]], whole, references)
        for value in part.values():
            _references(value, whole, references)
    elif isinstance(part, list):
        for value in part:
            _references(value, whole, references)
    return references


def _accept_media(reduced: dict[str, Any]) -> None:
    responses = [response for path in reduced["paths"].values() for response in path["get"]["responses"].values()]
    for response in [*responses, *reduced["components"].get("responses", {}).values()]:
        content = response.get("content", {})
        if "application/json" in content:
            content.setdefault(MEDIA, content["application/json"])

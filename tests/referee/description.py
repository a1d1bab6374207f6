"""GitHub's OpenAPI description, cut down to what the collector asks and mended where it contradicts GitHub itself."""

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
"""What GitHub asks clients to accept; the description lists plain JSON alone."""


def write(path: Path) -> None:
    """Write the short description."""
    published = REFEREE / "node_modules/@octokit/openapi/generated/api.github.com.json"
    whole = json.loads(published.read_text(encoding="utf-8"))
    paths = {}
    for name in PATHS:
        described = whole["paths"].get(name) or {"get": _by_number(whole)}
        paths[name] = {key: described[key] for key in ("get", "parameters") if key in described}
    short = {key: whole[key] for key in ("openapi", "info", "servers")} | {"paths": paths, "components": {}}
    for reference in _references(paths, whole, {}):
        _, kind, name = reference
        short["components"].setdefault(kind, {})[name] = copy.deepcopy(whole["components"][kind][name])
    _accept_media(short)
    short["components"]["parameters"]["per-page"]["schema"] |= {"minimum": 1, "maximum": 100}
    path.write_text(json.dumps(short), encoding="utf-8")


def _by_number(whole: dict[str, Any]) -> dict[str, Any]:
    """Describe a repository by its number, where redirects lead: as by its name."""
    described = copy.deepcopy(whole["paths"]["/repos/{owner}/{repo}"]["get"])
    number = {"name": "repository_id", "in": "path", "required": True, "schema": {"type": "integer"}}
    return {**described, "operationId": "repos/get-by-id", "parameters": [number]}


def _references(part: Any, whole: dict[str, Any], found: dict[tuple[str, ...], None]) -> dict[tuple[str, ...], None]:
    """Collect everything that a part refers to, and what that refers to."""
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str):
            steps = tuple(reference.removeprefix("#/").split("/"))
            if steps not in found:
                found[steps] = None
                _references(whole[steps[0]][steps[1]][steps[2]], whole, found)
        for value in part.values():
            _references(value, whole, found)
    elif isinstance(part, list):
        for value in part:
            _references(value, whole, found)
    return found


def _accept_media(short: dict[str, Any]) -> None:
    answers = [answer for path in short["paths"].values() for answer in path["get"]["responses"].values()]
    for answer in [*answers, *short["components"].get("responses", {}).values()]:
        content = answer.get("content", {})
        if "application/json" in content:
            content.setdefault(MEDIA, content["application/json"])

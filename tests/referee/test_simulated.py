"""The simulated GitHub and the requests of the crawl conform to GitHub's published REST and GraphQL descriptions."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from graphql import GraphQLSchema, build_schema, execute, parse

from stargaze.config import FetchSection, GithubSection
from stargaze.features.fetch import GithubOptions, fetch_from_github
from stargaze.features.github.api import graphql
from stargaze.features.github.api.http_transport import ACCEPT, USER_AGENT
from stargaze.store import Store
from tests.referee import description
from tests.referee.recorded import REFEREE
from tests.simulated.population import node_id
from tests.simulated.server import running
from tests.simulated.world import World

pytestmark = pytest.mark.referee

PRISM = REFEREE / "node_modules/@stoplight/prism-cli/dist/index.js"


@pytest.fixture(scope="module")
def world() -> World:
    return World(2_500, seed=3)


@pytest.fixture(scope="module")
def validating_proxy(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The simulated GitHub behind Prism, which returns 422 or 500 if a request or a response violates the description."""
    path = tmp_path_factory.mktemp("prism") / "github.json"
    description.write_description(path)
    with running(world) as url, run_prism(path, url) as proxy:
        yield proxy


@contextlib.contextmanager
def run_prism(path: Path, upstream: str) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = ["node", str(PRISM), "proxy", "-h", "127.0.0.1", "-p", str(port), "--errors", str(path), upstream]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            output = []
            while "listening" not in (line := process.stdout.readline()):
                output.append(line)
                assert process.poll() is None, "".join(output)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def get(url: str) -> requests.Response:
    headers = {"Accept": ACCEPT, "User-Agent": USER_AGENT, "Authorization": "Bearer good"}
    return requests.get(url, headers=headers, timeout=30)


def test_the_proxy_detects_an_invalid_request_and_an_invalid_response(validating_proxy: str, world: World) -> None:
    assert get(f"{validating_proxy}/search/repositories?q=stars:>5&per_page=101").status_code == 422
    name = world.population.name(0)
    original, world.population.record = world.population.record, lambda row: {"id": "not a number"}  # type: ignore[method-assign]
    try:
        assert get(f"{validating_proxy}/repos/{name}").status_code == 500
    finally:
        world.population.record = original  # type: ignore[method-assign]
    assert get(f"{validating_proxy}/repos/{name}").status_code == 200


@pytest.mark.parametrize(
    ("section", "count"),
    [
        (GithubSection(stars=">=130", limit=0), 2_500),
        (GithubSection(stars=">=130", limit=40, details=True), 40),
        (GithubSection(stars=">=130", limit=300, sampling="random"), 300),
        (GithubSection(names=["two/existing", "nobody/nothing"]), 2),
    ],
    ids=["all", "details", "random", "names"],
)
def test_the_rest_requests_of_the_crawl_conform_to_githubs_description(
    section: GithubSection, count: int, validating_proxy: str, world: World, tmp_path: Path
) -> None:
    names = [world.population.name(3), world.population.name(7), "nobody/nothing"] if section.names else []
    summary = fetch_from_github(
        GithubSection(**{**vars(section), "api_url": validating_proxy, "names": names, "graphql": False}),
        FetchSection(),
        Store(tmp_path),
        datetime.fromtimestamp(world.clock.time(), tz=UTC),
        lambda _step, _fraction: None,
        GithubOptions("good", clock=world.clock),
    )
    assert summary.repositories == pytest.approx(count, rel=0.05)
    assert (summary.failed, summary.refused, summary.short) == (0, 0, ())
    assert pd.read_parquet(Store(tmp_path).repositories)["owner_followers"].notna().all() == section.details


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    path = REFEREE / "node_modules" / "@octokit" / "graphql-schema" / "schema.graphql"
    return build_schema(path.read_text(encoding="utf-8"), assume_valid=True)


def resolve_field(source: Any, info: Any, **_arguments: Any) -> Any:
    return source[info.path.key]


def resolve_type(value: Any, info: Any, abstract: Any) -> str:
    if abstract.name in ("Node", "GitObject"):
        return {"Node": "Repository", "GitObject": "Commit" if "history" in value else "Blob"}[abstract.name]
    return str(value.get("__typename") or ("User" if "followers" in value else "Organization"))


@pytest.mark.parametrize("query", [*(kind.text for kind in graphql.KINDS), graphql.names_query(2)])
def test_the_simulated_graphql_responses_have_the_types_of_githubs_schema(
    query: str, schema: GraphQLSchema, world: World
) -> None:
    """Executing the query on the response itself fails if a field is missing or has another type."""
    variables: dict[str, Any] = {"ids": [node_id(int(number)) for number in world.population.id[:20]]}
    if "$o0" in query:
        variables = graphql.names_variables([world.population.name(1), world.population.name(4)])
    body = json.dumps({"query": query, "variables": variables}).encode()
    response = world.respond("POST", "/graphql", {"authorization": "Bearer good"}, body)
    data = json.loads(response.body)["data"]
    result = execute(
        schema,
        parse(query),
        root_value=data,
        variable_values=variables,
        field_resolver=resolve_field,
        type_resolver=resolve_type,
    )
    assert result.errors is None  # type: ignore[union-attr]
    assert result.data == data  # type: ignore[union-attr]

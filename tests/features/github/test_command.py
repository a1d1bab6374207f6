"""``stargaze fetch`` against a simulated GitHub over HTTP: its output, its errors and exit codes, and no token in any of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from stargaze.features.github.api.graphql import KINDS
from tests.conftest import Ended
from tests.simulated.server import running
from tests.simulated.world import World

pytestmark = pytest.mark.real

Run = Callable[..., Ended]
TOKEN = "ghp_not-a-real-token"
SEARCH = ("fetch", "--stars", ">=130", "--limit", "150")


@pytest.fixture(scope="module")
def world() -> World:
    return World(2_000, tokens={TOKEN: "good", "old": "expired", "narrow": "scopeless"})


@pytest.fixture
def github(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The simulated GitHub, configured by environment variables together with a valid token."""
    with running(world) as url:
        monkeypatch.setenv("STARGAZE_GITHUB_API_URL", url)
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        yield world


def test_a_search_is_fetched_with_counts_and_commits(run: Run, github: World) -> None:
    result = run(*SEARCH, "--json")
    summary = json.loads(result.out)
    table = pd.read_parquet("store/repositories.parquet")
    assert (result.code, len(table), summary["repositories"]) == (0, 150, 150)
    assert table[["commits", "subscribers", "stars"]].notna().all(axis=None)
    assert {"requests", "refused", "failed", "waited", "gone", "short", "invalid_count"} <= set(summary)


def test_repeating_the_command_sends_no_request(run: Run, github: World) -> None:
    run(*SEARCH)
    before = github.counts.requests
    result = run(*SEARCH)
    assert github.counts.requests == before
    assert "no requests" in result.out


def test_a_dry_run_prints_slices_requests_points_and_time_and_writes_no_repositories(run: Run, github: World) -> None:
    result = run("fetch", "--stars", ">=130", "--limit", "1500", "--dry-run")
    assert result.code == 0
    assert "1,500 repositories of 2,000" in result.out
    assert "stars " in result.out
    assert "search requests" in result.out
    assert "points" in result.out
    assert "with the token" in result.out
    assert not Path("store/repositories.parquet").exists()


def test_a_dry_run_estimates_the_requests_of_the_run(run: Run, github: World) -> None:
    arguments = ("fetch", "--stars", ">=130", "--limit", "0")
    estimate = json.loads(run(*arguments, "--dry-run", "--json").out)
    before = github.counts.requests
    run(*arguments)
    sent = github.counts.requests - before
    planned = estimate["search_requests"] + estimate["graphql_requests"]
    assert planned / 2.5 < sent <= planned  # the estimate assumes batches of 40, which grow after quick responses
    assert estimate["points"] >= estimate["graphql_requests"] >= len(KINDS)


def test_verbose_output_logs_every_request_without_the_token(run: Run, github: World) -> None:
    result = run(*SEARCH, "-v")
    assert "GET /search/repositories?q=" in result.err
    assert "POST /graphql" in result.err
    assert TOKEN not in result.err + result.out


def test_no_file_contains_the_token(run: Run, github: World) -> None:
    run(*SEARCH)
    files = [path for path in Path("store").rglob("*") if path.is_file()]
    assert files
    assert all(TOKEN.encode() not in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("token", "arguments", "code", "message"),
    [
        ("old", SEARCH, 4, "rejects GITHUB_TOKEN: Bad credentials"),
        ("narrow", SEARCH, 4, "not accessible"),
        ("two arguments", SEARCH, 4, "contains invalid characters"),
        (TOKEN, ("fetch", "--query", "nonsense:value"), 2, "nonsense is not a qualifier"),
        (TOKEN, ("fetch", "--organization", "nobody"), 2, "cannot be searched"),
        (TOKEN, ("fetch", "--stars", "many"), 2, "github.stars is 'many'"),
        (TOKEN, ("fetch", "--name", "no name"), 2, "'no name' is not the name of a repository"),
        (TOKEN, ("fetch", "--name", "nobody/nothing"), 2, "no repository on GitHub matches: nobody/nothing: Not Found"),
        (TOKEN, ("fetch", "--stars", ">=400000000"), 2, "no repository on GitHub matches"),
        (TOKEN, ("fetch", "--sampling", "some"), 2, "github.sampling should be one of top, stratified, random"),
        (TOKEN, ("fetch", "--update"), 2, "--update only applies when fetching from GitHub"),
        (TOKEN, ("fetch", "--name", "a/b", "--stars", "5"), 2, "cannot be combined with a search"),
    ],
)
def test_an_error_is_one_line_and_leaves_the_repositories_unchanged(
    run: Run,
    github: World,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    Path("store").mkdir()
    Path("store/repositories.parquet").write_bytes(b"precious")
    monkeypatch.setenv("GITHUB_TOKEN", token)
    result = run(*arguments)
    assert result.code == code
    assert message in result.error
    assert result.hint
    assert Path("store/repositories.parquet").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "arguments",
    [("--stars", "many"), ("--name", "no name"), ("--name", "a/b", "--topic", "x"), ("--star-history", "x")],
)
def test_invalid_options_are_rejected_before_any_request(run: Run, github: World, arguments: tuple[str, ...]) -> None:
    before = github.counts.requests
    assert run("fetch", *arguments).code == 2
    assert run("fetch", *arguments, "--dry-run").code == 2
    assert github.counts.requests == before


def test_files_and_a_search_in_the_config_exclude_each_other(run: Run, github: World) -> None:
    Path("stargaze.toml").write_text('[fetch]\nfiles = ["a.csv"]\n[github]\nstars = ">=5"\n')
    assert "fetch.files and [github] are both set" in run("fetch").error


def test_a_file_argument_overrides_the_github_section(run: Run, github: World) -> None:
    Path("stargaze.toml").write_text('[github]\nstars = ">=5"\n')
    Path("a.csv").write_text("full_name,stars\na/b,1\nc/d,2\n")
    assert run("fetch", "a.csv").out.startswith("2 repositories")


def test_an_api_url_alone_does_not_configure_a_crawl(run: Run, github: World) -> None:
    before = github.counts.requests
    Path("a.csv").write_text("full_name,stars\na/b,1\nc/d,2\n")
    run("fetch", "a.csv")
    assert run("fetch", "--update").code == 2
    assert github.counts.requests == before


def test_without_a_token_only_the_search_is_requested(run: Run, github: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    before = dict(github.counts.by_kind)
    assert run("fetch", "--stars", ">=130", "--limit", "90").code == 0
    assert github.counts.by_kind["graphql", 200] == before.get(("graphql", 200), 0)


def test_requests_to_an_enterprise_server_go_below_its_api_path(
    run: Run, github: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(github) as url:
        monkeypatch.setenv("STARGAZE_GITHUB_API_URL", f"{url}/api/v3")
        assert run(*SEARCH).code == 0
    assert any(path.startswith("/api/v3/search") for path, _ in github.counts.log)
    assert any(path == "/api/graphql" for path, _ in github.counts.log)


def test_star_history_of_a_named_repository_is_written(run: Run, github: World) -> None:
    name = github.population.name(2)
    result = run("fetch", "--name", name, "--star-history", name)
    assert result.code == 0
    assert "star history:" in result.out
    assert pd.read_parquet("store/star_history.parquet")["full_name"].unique().tolist() == [name]

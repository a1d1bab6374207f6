"""What is typed, against a simulated GitHub over HTTP: an answer, or one clear line and an exit code; no token anywhere."""

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
TOKEN = "ghp_a-token-of-nobody"
SEARCH = ("fetch", "--stars", ">=130", "--limit", "150")


@pytest.fixture(scope="module")
def world() -> World:
    return World(2_000, tokens={TOKEN: "good", "old": "expired", "narrow": "scopeless"})


@pytest.fixture
def github(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A GitHub to ask, and a token that it takes."""
    with running(world) as url:
        monkeypatch.setenv("STARGAZE_GITHUB_API_URL", url)
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        yield world


def test_a_search_is_fetched_with_counts_and_commits(run: Run, github: World) -> None:
    ended = run(*SEARCH, "--json")
    answer = json.loads(ended.out)
    found = pd.read_parquet("store/repositories.parquet")
    assert (ended.code, len(found), answer["repositories"]) == (0, 150, 150)
    assert found[["commits", "subscribers", "stars"]].notna().all(axis=None)
    assert {"requests", "refused", "failed", "waited", "gone", "short", "invalid_count"} <= set(answer)


def test_the_same_command_asks_nothing_the_second_time(run: Run, github: World) -> None:
    run(*SEARCH)
    before = github.counts.requests
    ended = run(*SEARCH)
    assert github.counts.requests == before
    assert "no requests" in ended.out


def test_a_dry_run_says_slices_requests_points_and_time_and_writes_no_repositories(run: Run, github: World) -> None:
    ended = run("fetch", "--stars", ">=130", "--limit", "1500", "--dry-run")
    assert ended.code == 0
    assert "1,500 repositories of 2,000" in ended.out
    assert "stars " in ended.out
    assert "search requests" in ended.out
    assert "points" in ended.out
    assert "with the token" in ended.out
    assert not Path("store/repositories.parquet").exists()


def test_a_dry_run_comes_near_to_what_the_run_then_asks(run: Run, github: World) -> None:
    words = ("fetch", "--stars", ">=130", "--limit", "0")
    estimate_crawl = json.loads(run(*words, "--dry-run", "--json").out)
    before = github.counts.requests
    run(*words)
    asked = github.counts.requests - before
    planned = estimate_crawl["search_requests"] + estimate_crawl["graphql_requests"]
    assert planned / 2.5 < asked <= planned  # it counts on pages of 40, which a quick GitHub lets grow
    assert estimate_crawl["points"] >= estimate_crawl["graphql_requests"] >= len(KINDS)


def test_every_request_is_logged_if_wished_and_no_token_in_it(run: Run, github: World) -> None:
    ended = run(*SEARCH, "-v")
    assert "GET /search/repositories?q=" in ended.err
    assert "POST /graphql" in ended.err
    assert TOKEN not in ended.err + ended.out


def test_no_file_holds_the_token(run: Run, github: World) -> None:
    run(*SEARCH)
    files = [path for path in Path("store").rglob("*") if path.is_file()]
    assert files
    assert all(TOKEN.encode() not in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("token", "words", "code", "said"),
    [
        ("old", SEARCH, 4, "rejects GITHUB_TOKEN: Bad credentials"),
        ("narrow", SEARCH, 4, "not accessible"),
        ("two words", SEARCH, 4, "contains invalid characters"),
        (TOKEN, ("fetch", "--query", "nonsense:value"), 2, "nonsense is no qualifier"),
        (TOKEN, ("fetch", "--organization", "nobody"), 2, "cannot be searched"),
        (TOKEN, ("fetch", "--stars", "many"), 2, "github.stars is 'many'"),
        (TOKEN, ("fetch", "--name", "no name"), 2, "'no name' is not the name of a repository"),
        (TOKEN, ("fetch", "--name", "nobody/nothing"), 2, "no repository on GitHub matches: nobody/nothing: Not Found"),
        (TOKEN, ("fetch", "--stars", ">=400000000"), 2, "no repository on GitHub matches"),
        (TOKEN, ("fetch", "--sampling", "some"), 2, "github.sampling should be one of top, stratified, random"),
        (TOKEN, ("fetch", "--update"), 2, "--update only applies when fetching from GitHub"),
        (TOKEN, ("fetch", "--dry-run"), 2, "--dry-run only applies when fetching from GitHub"),
        (TOKEN, ("fetch", "--name", "a/b", "--stars", "5"), 2, "exclude each other"),
    ],
)
def test_what_cannot_be_is_one_line_and_loses_nothing(
    run: Run, github: World, monkeypatch: pytest.MonkeyPatch, token: str, words: tuple[str, ...], code: int, said: str
) -> None:
    Path("store").mkdir()
    Path("store/repositories.parquet").write_bytes(b"precious")
    monkeypatch.setenv("GITHUB_TOKEN", token)
    ended = run(*words)
    assert ended.code == code
    assert said in ended.error
    assert ended.hint
    assert Path("store/repositories.parquet").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "words", [("--stars", "many"), ("--name", "no name"), ("--name", "a/b", "--topic", "x"), ("--star-history", "x")]
)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_asked(
    run: Run, github: World, words: tuple[str, ...]
) -> None:
    before = github.counts.requests
    assert run("fetch", *words).code == 2
    assert run("fetch", *words, "--dry-run").code == 2
    assert github.counts.requests == before


def test_files_beside_a_search_in_the_config_are_refused(run: Run, github: World) -> None:
    Path("stargaze.toml").write_text('[fetch]\nfiles = ["a.csv"]\n[github]\nstars = ">=5"\n')
    assert "fetch.files and [github] are both set" in run("fetch").error


def test_a_file_that_is_named_is_read_whatever_the_config_asks_of_github(run: Run, github: World) -> None:
    Path("stargaze.toml").write_text('[github]\nstars = ">=5"\n')
    Path("a.csv").write_text("full_name,stars\na/b,1\nc/d,2\n")
    assert run("fetch", "a.csv").out.startswith("2 repositories")


def test_an_address_alone_asks_github_nothing(run: Run, github: World) -> None:
    before = github.counts.requests
    Path("a.csv").write_text("full_name,stars\na/b,1\nc/d,2\n")
    run("fetch", "a.csv")
    assert run("fetch", "--update").code == 2
    assert github.counts.requests == before


def test_without_a_token_the_search_alone_is_asked(run: Run, github: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    before = dict(github.counts.by_kind)
    assert run("fetch", "--stars", ">=130", "--limit", "90").code == 0
    assert github.counts.by_kind["graphql", 200] == before.get(("graphql", 200), 0)


def test_an_enterprise_server_is_asked_below_its_api(run: Run, github: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(github) as url:
        monkeypatch.setenv("STARGAZE_GITHUB_API_URL", f"{url}/api/v3")
        assert run(*SEARCH).code == 0
    assert any(path.startswith("/api/v3/search") for path, _ in github.counts.log)
    assert any(path == "/api/graphql" for path, _ in github.counts.log)


def test_star_history_of_chosen_ones_lies_beside(run: Run, github: World) -> None:
    name = github.people.name(2)
    ended = run("fetch", "--name", name, "--star-history", name)
    assert ended.code == 0
    assert "star history:" in ended.out
    assert pd.read_parquet("store/star_history.parquet")["full_name"].unique().tolist() == [name]

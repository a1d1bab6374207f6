"""Answers for live repositories of the simulated GitHub come from a wide policy whenever GitHub returned its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import FeaturesSection, TuningSection
from stargaze.features.dataset import FeatureSet, read_dataset, read_dataset_and_features, write_feature_set
from stargaze.features.matrix import build_vocabulary
from stargaze.serve.lookup.github_repositories import GithubRepositories
from stargaze.serve.lookup.github_requests import open_github
from stargaze.serve.lookup.live import GithubLookup
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.store import Store
from stargaze.tuning.training.save import save_best
from tests.simulated.fast_clock import FastClock
from tests.simulated.records import full_rows
from tests.simulated.server import running
from tests.simulated.world import World

pytestmark = pytest.mark.thorough

NOW = datetime.now(UTC)
KNOWN, HELD_OUT = 1_400, 300
STATIC = ["language", "owner_type", "license", "description_length", "age", "has_pages", "name_length"]
ACTIVITY = ["contributors", "open_issues", "closed_issues", "commits", "releases", "push_age", "issue_rate"]
POPULARITY = ["forks", "subscribers", "fork_rate", "subscribers_per_contributor", "updated_after_push"]
SELECTED = {"static": STATIC, "activity": STATIC + ACTIVITY, "all": STATIC + ACTIVITY + POPULARITY}
TRIAL = {
    "family": "lightgbm",
    "parameters": {"n_estimators": 150, "learning_rate": 0.08},
    "rmsle": 0.5,
    "folds": [0.5, 0.5, 0.5],
    "seconds": 1.0,
    "stopped": "done",
}
ROWS = np.random.default_rng(5).permutation(KNOWN + HELD_OUT).tolist()
KNOWN_ROWS, HELD_OUT_ROWS = ROWS[:KNOWN], ROWS[KNOWN:]
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that was fitted on repositories of the simulated GitHub, with copies that lack values."""
    store = Store(tmp_path_factory.mktemp("simulated"))
    world = World(KNOWN + HELD_OUT, min_stars=10)
    full_rows(world.population, KNOWN_ROWS, NOW - timedelta(days=2)).to_parquet(store.repositories)
    section = FeaturesSection(folds=3)
    table = read_dataset(store, section)
    training = table.repositories.iloc[table.training]
    vocabularies = {name: build_vocabulary(training[name]) for name in ("language", "owner_type", "license")}
    write_feature_set(store, FeatureSet(SELECTED, vocabularies, section, table.fingerprint, {}))
    folder, _ = save_best(TuningSection(), store, *read_dataset_and_features(store), [TRIAL])
    return Bundle.load(folder)


@pytest.fixture
def clock() -> FastClock:
    return FastClock()


@pytest.fixture
def world(clock: FastClock) -> World:
    return World(KNOWN + HELD_OUT, min_stars=10, clock=clock, tokens={"good": "good", "owner": "owner"})


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with running(world) as url:
        yield url


OpenLookup = Callable[[str, str], GithubLookup]


@pytest.fixture
def open_lookup(bundle: Bundle, store: Store, clock: FastClock) -> Iterator[OpenLookup]:
    """Return the function that opens the lookup of a worker, with an address and a token."""
    opened = []

    def open_one(address: str, token: str) -> GithubLookup:
        opened.append(open_github(address, token, store, clock.time))
        return GithubLookup(bundle, GithubRepositories(opened[-1]))

    yield open_one
    for requests in opened:
        requests.close()


def answer(bundle: Bundle, lookup: GithubLookup, names: list[str]) -> dict[str, Any]:
    """Return the answer of a worker; an error if there is none."""
    (result,) = answer_requests(
        PredictionContext(bundle, lookup), [PredictionRequest(tuple(names), explain=False)], NOW
    )
    return result


def exhaust(world: World, *, known: bool) -> None:
    for name in ("core", "graphql"):
        window = world.window(name, known=known)
        window.take(world.clock.now, window.limit)


@pytest.mark.parametrize("token", ["good", "owner", ""])
@pytest.mark.parametrize("state", ["available", "rate-limited", "unreachable"])
def test_each_kind_of_repository_is_answered_by_a_wide_policy_or_has_an_error(
    bundle: Bundle, world: World, url: str, open_lookup: OpenLookup, token: str, state: str
) -> None:
    population = world.population
    known, unknown, renamed, private = KNOWN_ROWS[7], HELD_OUT_ROWS[7], HELD_OUT_ROWS[8], HELD_OUT_ROWS[9]
    old = population.name(renamed)
    population.rename(renamed)
    population.private[private] = True
    names = [population.name(known), population.name(unknown), old, population.name(private)]
    if state == "rate-limited":
        exhaust(world, known=bool(token))
    address = UNREACHABLE if state == "unreachable" else url
    lookup = open_lookup(address, token)

    result = answer(bundle, lookup, names)

    rows = {row["full_name"]: row for row in result["predictions"]}
    errors = {error["name"]: error["code"] for error in result["errors"]}
    assert {row["policy"] for row in rows.values()} <= {"all", "activity"}
    assert rows[names[0]]["source"] == ("github" if token and state == "available" else "bundle")
    if state == "available":
        assert rows.keys() == {names[0], names[1], population.name(renamed)}
        assert rows[population.name(renamed)]["notes"] == [f"was renamed: you entered {old}"]
        assert errors == {names[3]: "unknown_repository"}
        assert rows[names[1]]["actual_stars"] == population.stars[unknown]
    else:
        code = "github_rate_limited" if state == "rate-limited" else "github_unavailable"
        assert errors == dict.fromkeys(names[1:], code)
        assert bool(rows[names[0]]["notes"]) == bool(token)


@pytest.mark.parametrize("token", ["good", ""])
def test_live_values_predict_the_stars_as_well_as_whole_rows(
    bundle: Bundle,
    world: World,
    url: str,
    clock: FastClock,
    open_lookup: OpenLookup,
    token: str,
) -> None:
    lookup = open_lookup(url, token)
    names = [world.population.name(row) for row in HELD_OUT_ROWS]
    rows: dict[str, dict[str, Any]] = {}
    size = 100 if token else 20
    for start in range(0, HELD_OUT, size):
        rows |= {row["full_name"]: row for row in answer(bundle, lookup, names[start : start + size])["predictions"]}
        clock.ahead += 3_700.0  # the next hour

    stars = np.log1p(world.population.stars[HELD_OUT_ROWS])
    live = np.log1p([rows[name]["expected_stars"] for name in names])
    whole = bundle.estimate(full_rows(world.population, HELD_OUT_ROWS, NOW)).predicted
    r2 = {
        name: 1 - np.mean((stars - values) ** 2) / np.var(stars) for name, values in (("live", live), ("whole", whole))
    }
    assert {rows[name]["policy"] for name in names} == {"all"}
    assert r2["whole"] > 0.7
    assert r2["live"] > r2["whole"] - 0.02

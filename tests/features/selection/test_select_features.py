"""Every feature is selected or dropped with a reason; planted leaks and planted noise are dropped."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.features import schema
from stargaze.features.dataset import Dataset, read_feature_set
from stargaze.features.feature_kinds import COMPUTED
from stargaze.features.matrix import CATALOG, allowed_features
from stargaze.features.registry import Feature
from stargaze.features.selection.filters import apply_filters
from stargaze.features.selection.select_features import SELECTED, Selection, select, select_features
from stargaze.features.split import assign_folds
from stargaze.store import Store

pytestmark = pytest.mark.thorough

SECTION = FeaturesSection(folds=3, importance_repeats=2)
MANY_RUNS = FeaturesSection(folds=4, importance_repeats=3)
"""Twelve runs separate noise from informative features."""
MakeRepositories = Callable[..., pd.DataFrame]


def planted(name: str, compute: Callable[[pd.DataFrame], Any], policy: Any = "static") -> Feature:
    """Return a feature that is not in the catalog."""
    return Feature(name, policy, "made up", "planted by a test", ("full_name",), compute)


def dataset(repositories: pd.DataFrame, section: FeaturesSection = SECTION) -> Dataset:
    """Return a dataset with folds."""
    stars = repositories["stars"].to_numpy()
    return Dataset(repositories, np.log1p(stars), assign_folds(repositories["full_name"], section), "print")


def noise(seed: int) -> Callable[[pd.DataFrame], np.ndarray]:
    """Return a function that computes random numbers."""
    return lambda repositories: np.random.default_rng([seed, 9]).normal(size=len(repositories["stars"]))


def codes(values: int) -> Callable[[pd.DataFrame], np.ndarray]:
    """Return a function that computes random codes of a category."""
    return lambda repositories: np.random.default_rng([values, 9]).integers(0, values, len(repositories["stars"]))


NOISE = [f"planted_noise_{seed}" for seed in range(6)]
PLANTED_FEATURES = (
    planted("planted_leak", lambda r: np.sqrt(r["stars"])),
    planted("planted_twin", lambda r: r["forks"], policy="all"),
    *(planted(name, noise(seed)) for seed, name in enumerate(NOISE[:4])),
    *(planted(name, codes(n)) for n, name in zip((3, 40), NOISE[4:], strict=True)),
)


@pytest.fixture(autouse=True, scope="module")
def small_models() -> Iterator[None]:
    """Fit smaller models, which are enough for planted features."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stargaze.features.selection.permutation_importance.ROUNDS", 40)
        yield


@contextlib.contextmanager
def planted_features() -> Iterator[None]:
    """Add the planted features to the catalog inside a block."""
    with pytest.MonkeyPatch.context() as patch:
        for feature in PLANTED_FEATURES:
            patch.setitem(CATALOG, feature.name, feature)
            patch.setitem(COMPUTED, feature.name, feature)
        yield


@pytest.fixture(scope="module")
def repositories(make_repositories: MakeRepositories) -> pd.DataFrame:
    """Return synthetic repositories; the watchers are the stars of the day before, as in REST."""
    frame = make_repositories(2_600)
    return frame.assign(watchers=np.floor(frame["stars"] * 0.99))


@pytest.fixture(scope="module")
def selection(small_models: None, repositories: pd.DataFrame) -> Selection:
    """Return a selection with the planted features."""
    with planted_features():
        return select(dataset(repositories, MANY_RUNS), MANY_RUNS)


def reasons_of(selection: Selection, name: str) -> list[str]:
    """Return "selected" or the reason against a feature, one per policy."""
    row = selection.reasons.set_index("feature").loc[name]
    return [str(row[policy]) for policy in POLICIES]


# ---- leaks and noise ----------------------------------------------------------------------------------------------


def test_a_planted_leak_is_reported_and_never_selected(selection: Selection) -> None:
    assert all(reason.startswith("leaks the target") for reason in reasons_of(selection, "planted_leak"))
    assert not any("planted_leak" in names for names in selection.feature_set.selected.values())


def test_watchers_are_dropped_as_a_leak(selection: Selection) -> None:
    assert reasons_of(selection, "watchers")[2].startswith("leaks the target")
    assert "watchers" not in selection.feature_set.selected["all"]


@pytest.mark.parametrize("policy", POLICIES)
def test_planted_noise_is_dropped(selection: Selection, policy: str) -> None:
    """By chance, each feature of noise wins one run in six, and one may be selected."""
    reasons = selection.reasons.set_index("feature").loc[NOISE, policy]

    assert (reasons == SELECTED).sum() <= 1
    assert (
        reasons[reasons != SELECTED]
        .str.fullmatch(r"(no better than a random probe|uncertain): beats the random probes in \d+ of \d+ runs.*")
        .all()
    )


def test_a_planted_copy_is_a_duplicate(selection: Selection) -> None:
    assert reasons_of(selection, "planted_twin")[2] == "duplicate of forks"


def test_an_informative_feature_is_selected(selection: Selection) -> None:
    assert "forks" in selection.feature_set.selected["all"]
    assert (
        selection.feature_set.scores["all"]["rmsle_selected"] < selection.feature_set.scores["static"]["rmsle_selected"]
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (lambda stars: stars, "leaks the target: equal to the stars in 100%"),
        (lambda stars: -stars, "leaks the target"),
        (np.log1p, "leaks the target"),
        (lambda stars: stars * 1.05 + 3, "leaks the target"),
        (
            lambda stars: np.where(np.arange(len(stars)) % 2, stars, np.nan),
            "leaks the target: equal to the stars in 100%",
        ),
        (lambda stars: np.where(np.arange(len(stars)) % 150, stars, 0), "leaks the target"),
        (
            lambda stars: np.where(np.arange(len(stars)) % 3, stars, np.arange(len(stars))),
            "leaks the target in part: equal to the stars in ",
        ),
        (
            lambda stars: np.where(np.arange(len(stars)) % 2, np.sqrt(stars + 1), -1.0),
            "leaks the target in part: Spearman's rho 1.000",
        ),
        (
            lambda stars: stars + np.random.default_rng(0).normal(0.0, 0.5, len(stars)),
            "leaks the target: equal to the stars in 0%",
        ),
        (lambda stars: np.full(len(stars), np.nan), "missing in 100% of the 300 training repositories"),
        (lambda stars: np.where(np.arange(len(stars)) < 2, 1.0, np.nan), "missing in 99.3%"),
        (lambda stars: np.full(len(stars), 7.0), "constant"),
        (lambda stars: np.random.default_rng(0).normal(size=len(stars)), None),
        (lambda stars: stars * np.exp(np.random.default_rng(0).normal(size=len(stars))), None),
        (lambda stars: np.where(np.arange(len(stars)) % 3, 1.0, np.nan), "too few values: 0 of 200 known values"),
    ],
)
def test_a_feature_is_filtered_with_a_reason(
    make_repositories: MakeRepositories, values: Callable[[np.ndarray], np.ndarray], reason: str | None
) -> None:
    stars = make_repositories(300)["stars"].to_numpy()
    inputs = pd.DataFrame({"age": values(stars).astype("float32")})

    dropped = apply_filters(inputs, np.log1p(stars), SECTION).reasons.get("age")

    assert dropped is reason is None or str(dropped).startswith(str(reason))


def test_of_two_equal_features_the_one_of_the_wider_policy_is_dropped(make_repositories: MakeRepositories) -> None:
    frame = make_repositories(300)
    age = frame["size_kb"].to_numpy()
    inputs = pd.DataFrame({"forks": np.log1p(age), "age": age, "name_digits": age}, dtype="float32")

    dropped = apply_filters(inputs, np.log1p(frame["stars"].to_numpy()), SECTION).reasons

    assert dropped["name_digits"] == "duplicate of age"
    assert dropped["forks"].startswith("redundant with age: Spearman's rho 1.000")
    assert "age" not in dropped


def test_two_features_that_are_mostly_zero_are_not_redundant(make_repositories: MakeRepositories) -> None:
    """Ties of the most frequent value are not evidence of a rank correlation."""
    random = np.random.default_rng(0)
    rare = [np.where(random.random(300) < 0.2, random.integers(1, 100, 300), 0) for _ in range(2)]
    inputs = pd.DataFrame({"releases": rare[0], "commits": rare[1]}, dtype="float32")

    assert apply_filters(inputs, np.log1p(make_repositories(300)["stars"].to_numpy()), SECTION).reasons == {}


def test_constant_stars_make_no_feature_a_leak() -> None:
    inputs = pd.DataFrame({"age": np.arange(100), "forks": np.arange(100) % 7}, dtype="float32")

    assert apply_filters(inputs, np.zeros(100), SECTION).reasons == {}


# ---- the table of reasons -----------------------------------------------------------------------------------------


def test_every_feature_has_a_result_under_every_policy(selection: Selection) -> None:
    reasons = selection.reasons

    assert reasons["feature"].tolist() == [*[name for name in CATALOG if not name.startswith("planted")], *NAMES]
    assert reasons[list(POLICIES)].map(lambda reason: isinstance(reason, str) and len(reason) > 3).all(axis=None)


NAMES = [feature.name for feature in PLANTED_FEATURES]


def test_the_table_marks_the_selected_features(selection: Selection) -> None:
    for policy in POLICIES:
        reasons = selection.reasons.loc[selection.reasons[policy] == SELECTED, "feature"]
        assert set(reasons) == set(selection.feature_set.selected[policy])


def test_no_policy_selects_a_feature_of_a_wider_policy(selection: Selection) -> None:
    for policy in POLICIES:
        assert set(selection.feature_set.selected[policy]) <= {item.name for item in allowed_features(policy)} | set(
            NOISE
        )
    assert reasons_of(selection, "forks")[:2] == ["needs policy all"] * 2


def test_the_printed_rows_have_the_importance_of_selected_features(selection: Selection) -> None:
    row = next(row for row in selection.as_rows() if row["feature"] == "forks")

    assert row["all"].startswith("selected, 0.")


def test_only_training_rows_are_used(repositories: pd.DataFrame, selection: Selection) -> None:
    """The values of held-out repositories may be anything."""
    held_out = dataset(repositories, MANY_RUNS).folds < 0
    changed = repositories.copy()
    changed.loc[held_out, "stars"] = 0.0
    changed.loc[held_out, "forks"] = 1e6
    with planted_features():
        again = select(dataset(changed, MANY_RUNS), MANY_RUNS)

    assert again.feature_set == selection.feature_set
    assert again.reasons.equals(selection.reasons)


# ---- written files ------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, make_repositories: MakeRepositories) -> Store:
    """A store with repositories."""
    make_repositories(200).to_parquet(tmp_path / "repositories.parquet")
    return Store(tmp_path)


def test_feature_set_reasons_and_plot_are_written(store: Store) -> None:
    selection = select_features(dataclasses.replace(SECTION, folds=2), store)

    assert read_feature_set(store) == selection.feature_set
    assert pd.read_csv(store.selection)["feature"].tolist() == selection.reasons["feature"].tolist()
    assert store.selection_plot.read_text(encoding="utf-8").startswith("<?xml")


def test_only_the_policies_of_the_config_have_features(store: Store) -> None:
    selection = select_features(dataclasses.replace(SECTION, folds=2, policies=["activity"]), store)

    stored = read_feature_set(store)
    assert stored == selection.feature_set
    assert stored.policies == ("activity",)
    assert {"activity", "importance_activity"} <= set(selection.reasons)
    assert not {"static", "all", "importance_all"} & set(selection.reasons)
    assert any(row["activity"].startswith("selected, ") for row in selection.as_rows())


def test_all_three_files_are_replaced_or_none(
    store: Store, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of reasons must belong to the stored feature set."""
    for path in (store.features, store.selection, store.selection_plot):
        path.write_text("old")

    def full(*_arguments: object) -> None:
        raise ExternalError("the disk is full")

    monkeypatch.setattr("stargaze.features.selection.select_features.select", lambda *_arguments: selection)
    monkeypatch.setattr(
        "stargaze.features.selection.select_features.draw_selection", lambda _reasons, path: path.write_text("new")
    )
    monkeypatch.setattr("stargaze.features.selection.select_features.write_feature_set", full)
    with pytest.raises(ExternalError):
        select_features(SECTION, store)

    assert {path.read_text() for path in store.root.iterdir() if path != store.repositories} == {"old"}


def test_repositories_without_any_usable_feature_are_rejected(make_repositories: MakeRepositories) -> None:
    """The names have one pattern, and there are no other fields."""
    names = [f"owner{number:04}/name" for number in range(300)]
    bare = schema.conform(make_repositories(300)[["stars"]].assign(full_name=names))

    with pytest.raises(MissingInputError, match="no usable feature is left: name_length: constant") as caught:
        select(dataset(bare), SECTION)

    assert "more fields" in caught.value.hint

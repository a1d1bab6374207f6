"""Own columns are selected, or dropped with the same reasons as other features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stargaze.config import POLICIES, FeaturesSection
from stargaze.features.dataset import read_feature_set
from stargaze.features.matrix import build_matrix, catalog_with
from stargaze.features.own_columns import OwnColumn, conform
from stargaze.features.selection.filters import apply_filters
from stargaze.features.selection.select_features import Selection, list_features, select_features
from stargaze.store import Store
from tests.conftest import Ended
from tests.own_columns import OWN, SCORE, TEAM, VIP, write_own_columns

pytestmark = pytest.mark.thorough

SECTION = FeaturesSection(folds=3, importance_repeats=1)
MakeRepositories = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def own_store(tmp_path_factory: pytest.TempPathFactory, make_repositories: MakeRepositories) -> Store:
    """A store with own columns of which two follow the stars."""
    store = Store(tmp_path_factory.mktemp("own"))
    write_own_columns(store, make_repositories(600, 1))
    return store


@pytest.fixture(scope="module")
def selection(own_store: Store) -> Selection:
    """The selection of these repositories."""
    return select_features(SECTION, own_store)


def test_an_informative_column_is_selected_from_its_policy_on(selection: Selection) -> None:
    selected, reasons = selection.feature_set.selected, selection.reasons.set_index("feature")

    assert all(SCORE in selected[policy] for policy in POLICIES)
    assert TEAM not in selected["static"] + selected["activity"]
    assert TEAM in selected["all"]
    assert reasons.loc[TEAM, "activity"] == "needs policy all"
    assert reasons.loc[SCORE, ["policy", "unit", "all"]].tolist() == ["static", "number", "selected"]
    assert reasons.loc[SCORE, "importance_static"] > 0.1


def test_a_column_of_noise_is_dropped_with_a_reason(selection: Selection) -> None:
    assert not any(VIP in names for names in selection.feature_set.selected.values())
    assert (
        selection.reasons.set_index("feature")
        .loc[VIP, "activity"]
        .startswith(("no better than a random probe", "uncertain: beats the random probes in 1 of 3 runs"))
    )


def test_the_feature_set_has_the_columns_and_the_words_of_categories(own_store: Store, selection: Selection) -> None:
    stored = read_feature_set(own_store)

    assert stored == selection.feature_set
    assert stored.own_columns == OWN
    assert sorted(stored.vocabularies[TEAM]) == ["core", "labs"]


def test_the_list_of_features_ends_with_own_columns(own_store: Store, selection: Selection) -> None:
    rows = list_features(own_store)

    assert [row["feature"] for row in rows[-3:]] == [column.name for column in OWN]
    assert rows[-3]["policy"] == "static"
    assert rows[-3]["meaning"] == "own column"
    assert 0.05 < rows[-3]["missing"] < 0.15
    assert rows[-3]["static"] == pytest.approx(
        selection.reasons.set_index("feature").loc[SCORE, "importance_static"], abs=1e-6
    )


def test_the_command_lists_own_columns_before_any_selection(
    run: Callable[..., Ended], store: Store, make_repositories: MakeRepositories
) -> None:
    write_own_columns(store, make_repositories(40))

    ended = run("features", "--store", str(store.root), "--json")

    assert ended.code == 0
    assert f'"feature": "{TEAM}"' in ended.out
    assert '"unit": "category"' in ended.out


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (lambda stars: 3.0 * stars + 1.0, "leaks the target"),
        (lambda stars: np.where(np.arange(len(stars)) % 100 == 0, 1.0, np.nan), "missing in 9"),
        (lambda stars: np.zeros(len(stars)), "constant"),
    ],
)
def test_the_filters_apply_to_own_columns(
    make_repositories: MakeRepositories, values: Callable[[np.ndarray], np.ndarray], reason: str
) -> None:
    assert reason_against(make_repositories(300), "points", values).startswith(reason)


def test_a_copy_of_a_field_is_a_duplicate(make_repositories: MakeRepositories) -> None:
    repositories = make_repositories(300)
    forks = repositories["forks"].to_numpy()

    assert reason_against(repositories, "forks_count", lambda _: forks) == "duplicate of forks"
    assert reason_against(repositories, "forks_log", lambda _: np.log1p(forks)).startswith("redundant with forks")


def reason_against(repositories: pd.DataFrame, name: str, values: Callable[[np.ndarray], np.ndarray]) -> str:
    """Return why an own column of these values is dropped."""
    catalog = catalog_with((OwnColumn(name, "number", "all"),))
    stars = repositories["stars"].to_numpy()
    frame = conform(repositories.assign(**{name: values(stars)}), catalog.own_columns)
    inputs = build_matrix(frame, ["forks", name], {}, catalog=catalog)
    return apply_filters(inputs, np.log1p(stars), SECTION, catalog).reasons[name]

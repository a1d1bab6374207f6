"""Own columns are declared in the file of the repositories and read back as strictly as they were written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.features import schema
from stargaze.features.dataset import (
    FeatureSet,
    read_dataset,
    read_dataset_and_features,
    read_feature_set,
    read_repositories,
    write_feature_set,
)
from stargaze.features.matrix import CATALOG, build_matrix, catalog_with, find_missing_fields, own_features
from stargaze.features.own_columns import (
    MAX_COLUMNS,
    METADATA,
    OwnColumn,
    conform,
    declare_own_columns,
    parse_own_columns,
    read_own_columns,
    write_repositories_file,
)
from stargaze.store import Store
from tests.own_columns import OWN, SCORE, TEAM, VIP, write_own_columns

SECTION = FeaturesSection(folds=3)
MakeRepositories = Callable[..., pd.DataFrame]
DECLARED = {"name": "points", "kind": "number", "policy": "all"}


@pytest.fixture
def own_store(store: Store, make_repositories: MakeRepositories) -> Store:
    """A store whose repositories have own columns."""
    write_own_columns(store, make_repositories(300))
    return store


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("forks", "is a field"),
        ("full_name", "is a field"),
        ("owner", "uses itself"),
        ("unknown", "uses itself"),
        ("__number_0", "uses itself"),
        ("", "1 to 100 characters"),
        ("x" * 101, "1 to 100 characters"),
        (7, "1 to 100 characters"),
        (None, "1 to 100 characters"),
        (" points", "blanks at an end"),
        ("po\nints", "cannot be printed"),
        ("po\u2028ints", "cannot be printed"),
        ("po\ud800ints", "cannot be printed"),
    ],
)
def test_a_name_that_would_be_confused_or_cannot_be_printed_is_refused(name: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OwnColumn(name, "number", "all")


@pytest.mark.parametrize("name", ["points per day", "größe", 'a "quoted" [0–9] {x}: y, z', "metrics.score", "Forks"])
def test_any_other_printable_name_is_accepted(name: str) -> None:
    assert catalog_with((OwnColumn(name, "number", "all"),))[name].source == (name,)


@pytest.mark.parametrize("name", ["fork_rate", "text_score"])
def test_the_name_of_a_feature_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is a feature"):
        catalog_with((OwnColumn(name, "number", "all"),))


def test_a_catalog_without_own_columns_is_the_usual_one() -> None:
    assert catalog_with(()) is CATALOG
    assert list(catalog_with(OWN)) == [*CATALOG, SCORE, TEAM, VIP]


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "points",
        [1],
        [{"name": "points", "kind": "number"}],
        [DECLARED | {"unit": "m"}],
        [DECLARED | {"kind": "text"}],
        [DECLARED | {"kind": ["number"]}],
        [DECLARED | {"policy": "none"}],
        [DECLARED | {"policy": None}],
        [DECLARED | {"name": "stars"}],
        [DECLARED | {"name": ["points"]}],
        [DECLARED, DECLARED | {"kind": "flag"}],
        [DECLARED | {"name": f"points {number}"} for number in range(MAX_COLUMNS + 1)],
    ],
)
def test_a_malformed_declaration_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"own column|own_columns|is a field"):
        parse_own_columns(value)


def test_a_declaration_is_read_as_it_was_written() -> None:
    assert parse_own_columns(json.loads(json.dumps(declare_own_columns(OWN)))) == OWN


def test_repositories_keep_their_own_columns_in_the_file(own_store: Store) -> None:
    table = read_dataset(own_store, SECTION)

    assert read_own_columns(own_store.repositories) == table.own_columns == OWN
    assert list(table.repositories)[-3:] == [SCORE, TEAM, VIP]
    assert table.repositories[TEAM].dtype == "str"
    assert 0.05 < table.repositories[SCORE].isna().mean() < 0.15
    assert read_repositories(own_store)[list(schema.FIELD_BY_NAME)].dtypes.equals(schema.DTYPE_BY_FIELD)


def test_a_file_without_own_columns_is_written_as_before(tmp_path: Path, make_repositories: MakeRepositories) -> None:
    repositories = make_repositories(20)
    repositories.to_parquet(tmp_path / "before", compression="zstd", index=False)

    write_repositories_file(tmp_path / "now", repositories, ())

    assert (tmp_path / "now").read_bytes() == (tmp_path / "before").read_bytes()


def rewrite(store: Store, change: Callable[[pd.DataFrame], pd.DataFrame], declared: bytes | None) -> None:
    """Change the columns of the stored repositories and their declaration."""
    frame = change(pd.read_parquet(store.repositories))
    frame.to_parquet(store.repositories, index=False)
    if declared is not None:
        table = pq.read_table(store.repositories)
        metadata = {**table.schema.metadata, METADATA: declared}
        pq.write_table(table.replace_schema_metadata(metadata), store.repositories)


OWN_DECLARED = json.dumps(declare_own_columns(OWN)).encode()


@pytest.mark.parametrize(
    ("change", "declared"),
    [
        (lambda frame: frame, None),
        (lambda frame: frame, b"[]"),
        (lambda frame: frame, b"{"),
        (lambda frame: frame, b"\xff"),
        (lambda frame: frame, b"[" * 100_000),
        (lambda frame: frame, b'{"name": "team"}'),
        (lambda frame: frame, OWN_DECLARED.replace(b'"team"', b'"fork_rate"')),
        (lambda frame: frame.assign(more=1.0), OWN_DECLARED),
        (lambda frame: frame.assign(**{VIP: 2.0}), OWN_DECLARED),
        (lambda frame: frame.assign(**{VIP: "yes"}), OWN_DECLARED),
        (lambda frame: frame.assign(**{SCORE: np.inf}), OWN_DECLARED),
        (lambda frame: frame.assign(**{SCORE: 1e30}), OWN_DECLARED),
        (lambda frame: frame.assign(**{TEAM: "x" * 256}), OWN_DECLARED),
        (lambda frame: frame.assign(**{TEAM: 1.0}), OWN_DECLARED),
    ],
)
def test_columns_that_are_not_as_declared_are_a_clear_error(
    own_store: Store, change: Callable[[pd.DataFrame], pd.DataFrame], declared: bytes | None
) -> None:
    rewrite(own_store, change, declared)

    with pytest.raises(ExternalError) as caught:
        read_dataset(own_store, SECTION)

    assert caught.value.message.startswith(str(own_store.repositories))
    assert caught.value.hint == "stargaze fetch creates it again"


def test_a_declared_column_that_the_file_lacks_is_missing(own_store: Store) -> None:
    rewrite(own_store, lambda frame: frame.drop(columns=TEAM), OWN_DECLARED)

    assert read_dataset(own_store, SECTION).repositories[TEAM].isna().all()


def feature_set_of(store: Store) -> FeatureSet:
    """Return a feature set of the stored repositories."""
    table = read_dataset(store, SECTION)
    selected = {"static": [SCORE], "activity": [SCORE, "forks"], "all": [SCORE, TEAM, "forks"]}
    return FeatureSet(selected, {TEAM: ["core", "labs"]}, SECTION, table.fingerprint, {}, table.own_columns)


def test_a_feature_set_keeps_the_own_columns(own_store: Store) -> None:
    feature_set = feature_set_of(own_store)
    write_feature_set(own_store, feature_set)

    table, again = read_dataset_and_features(own_store)

    assert again == feature_set
    assert again.digest == feature_set.digest
    inputs = table.model_inputs(again, "all")
    assert inputs[TEAM].isin([1.0, 2.0]).all()
    assert inputs[SCORE].equals(table.repositories[SCORE].astype("float32"))


def test_a_feature_set_without_own_columns_does_not_mention_them(store: Store) -> None:
    feature_set = FeatureSet({}, {}, SECTION, "0" * 64, {})

    assert "own_columns" not in feature_set.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"own_columns": []},
        {"own_columns": [DECLARED]},
        {"own_columns": "score"},
        {"own_columns": [{"name": "forks", "kind": "number", "policy": "all"}]},
        {"vocabularies": {}},
    ],
)
def test_a_feature_set_with_a_feature_that_is_not_declared_is_refused(own_store: Store, change: dict[str, Any]) -> None:
    own_store.features.write_text(json.dumps(feature_set_of(own_store).to_json() | change))

    with pytest.raises(ExternalError, match="was written by another version"):
        read_feature_set(own_store)


@pytest.mark.parametrize("policy", ["activity", "all"])
def test_a_feature_set_of_other_own_columns_does_not_belong_to_the_repositories(own_store: Store, policy: str) -> None:
    """Only the policy of one column differs, and the data are the same."""
    write_feature_set(own_store, feature_set_of(own_store))
    before, frame = own_store.repositories.read_bytes(), read_repositories(own_store)
    write_repositories_file(own_store.repositories, frame, [dataclasses.replace(OWN[0], policy=policy), *OWN[1:]])

    with pytest.raises(MissingInputError, match="created from other repositories"):
        read_dataset_and_features(own_store)

    own_store.repositories.write_bytes(before)
    assert read_dataset_and_features(own_store)[0].own_columns == OWN


def test_repositories_without_the_columns_have_them_missing() -> None:
    """A look-up on GitHub and entered figures have only the fields of the schema."""
    frame = schema.conform(pd.DataFrame({"full_name": ["a/b", "c/d"]}))

    inputs = build_matrix(frame, [SCORE, TEAM, VIP], {TEAM: ["core"]}, catalog=catalog_with(OWN))

    assert inputs.isna().all(axis=None)
    assert inputs.dtypes.eq("float32").all()
    assert conform(frame, OWN)[[SCORE, TEAM, VIP]].isna().all(axis=None)


def test_values_of_another_kind_are_missing_as_features() -> None:
    """The repositories of a store can have a column of the same name and another kind than those of an older bundle."""
    frame = schema.conform(pd.DataFrame({"full_name": ["a/b", "c/d"]})).assign(
        **{SCORE: ["7", "high"], TEAM: [1.0, 2.0]}
    )

    inputs = build_matrix(frame, [SCORE, TEAM], {TEAM: ["1.0"]}, catalog=catalog_with(OWN))

    assert inputs[SCORE].tolist()[0] == 7.0
    assert inputs.isna().to_numpy().tolist() == [[False, True], [True, True]]


def test_an_own_column_is_its_own_field_and_counts_for_its_policy() -> None:
    catalog, names = catalog_with(OWN), ["forks", SCORE, TEAM, VIP]

    missing = find_missing_fields(np.array([[1.0, np.nan, np.nan, 0.0]]), names, [SCORE, VIP, "forks"], catalog)

    assert missing.tolist() == [[True, False, False]]
    assert own_features(names, POLICIES, "all", catalog) == [0, 2]
    assert own_features(names, POLICIES, "activity", catalog) == [3]

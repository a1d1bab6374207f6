"""The shipped samples are the files that the tool builds: real, small, and without texts."""

from __future__ import annotations

import importlib.util
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.config import SAMPLES, FeaturesSection, FetchSection
from stargaze.features import samples, schema
from stargaze.features.collection.columns import split_collection_columns
from stargaze.features.encoding.tokens import BUCKETS, hash_description, tokenize
from stargaze.features.extract import extract
from stargaze.features.fetch import fetch_files
from stargaze.features.policy_values import warn_of_empty_policies
from stargaze.features.split import assign_folds
from stargaze.store import Store
from stargaze.system.files import sha256
from tests.conftest import NOW

ROOT = Path(__file__).parent.parent
DATA = ROOT / "stargaze" / "data"
LICENSE = DATA / "bestof-license.txt"
BEST_OF, ELECTRON = DATA / "bestof.parquet", DATA / "electron.parquet"
LATER = datetime(2026, 9, 1, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def load_tool() -> ModuleType:
    """Return the tool that builds the samples."""
    spec = importlib.util.spec_from_file_location("build_sample", ROOT / "tools" / "build_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_sample"] = module  # its dataclasses look up their module
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


@pytest.fixture(scope="module", params=SAMPLES)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of each sample."""
    return str(request.param)


@pytest.fixture(scope="module")
def path(name: str) -> Path:
    """Return the file of the sample."""
    return DATA / samples.SAMPLES[name].file


@pytest.fixture(scope="module")
def frame(path: Path) -> pd.DataFrame:
    """Return the sample."""
    return pd.read_parquet(path)


# ---- both samples -----------------------------------------------------------------------------------------------


def test_the_config_offers_the_samples() -> None:
    assert tuple(samples.SAMPLES) == SAMPLES == tuple(reversed(TOOL.SOURCES))


def test_a_sample_has_the_checksum_of_the_tool(name: str, path: Path) -> None:
    assert sha256(path) == TOOL.SOURCES[name].sample_sha256
    assert TOOL.target_of(name) == path


def test_a_sample_is_small(path: Path) -> None:
    assert path.stat().st_size < 1_000_000


def test_the_metadata_names_source_and_license(name: str, path: Path) -> None:
    metadata = pq.read_metadata(path).metadata

    for key, value in TOOL.SOURCES[name].metadata.items():
        assert metadata[key.encode()].decode() == value
    assert metadata[b"license"].decode() in (ROOT / "docs" / "data.md").read_text(encoding="utf-8").replace(" ", "-")


def test_a_sample_contains_no_sentences(frame: pd.DataFrame) -> None:
    """The texts are names, languages, licenses, branches and node ids; "Protocol Buffer Language" has the most words."""
    texts = frame.select_dtypes("str")
    lists = {column for column in frame if frame[column].dtype == "object"}

    assert not {"description", "topics"} & set(frame)
    assert lists <= {"description_tokens", "description_keywords"}
    for column in texts:
        assert texts[column].dropna().str.split().str.len().max() <= 3, column
        assert texts[column].str.len().max() <= 150, column


def test_writing_the_table_twice_gives_the_same_bytes(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    for file in ("a", "b"):
        TOOL.write_sample(frame.head(500), TOOL.SOURCES[name].metadata, tmp_path / file)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.thorough
def test_writing_the_whole_table_gives_the_shipped_bytes(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    """With the locked pyarrow, the file does not depend on time or machine."""
    TOOL.write_sample(frame, TOOL.SOURCES[name].metadata, tmp_path / "again")

    assert sha256(tmp_path / "again") == TOOL.SOURCES[name].sample_sha256


def test_all_columns_are_fields_and_none_is_empty(frame: pd.DataFrame) -> None:
    assert set(frame) <= set(schema.FIELD_BY_NAME)
    assert frame.notna().any().all()


def test_each_repository_occurs_once_and_none_is_a_fork(frame: pd.DataFrame) -> None:
    assert 12_000 < len(frame) < 16_000
    assert frame["full_name"].str.lower().is_unique
    assert "is_fork" not in frame or not frame["is_fork"].any()


def test_no_date_is_later_than_the_fetch_date(frame: pd.DataFrame) -> None:
    for column in frame.select_dtypes("datetimetz"):
        late = frame[column] > frame["fetched_at"] + pd.Timedelta(days=1)
        assert not late.any(), column


def test_every_fold_has_enough_repositories(frame: pd.DataFrame) -> None:
    counts = pd.Series(assign_folds(frame["full_name"], FeaturesSection())).value_counts()

    assert counts.min() > 1_000


def test_fetch_keeps_every_value(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    summary = fetch_files(FetchSection(sample=name), Store(tmp_path), [], LATER)
    stored = pd.read_parquet(tmp_path / "repositories.parquet").dropna(axis="columns", how="all")
    fetched, _collection = split_collection_columns(stored)

    assert (summary.repositories, summary.invalid_count) == (len(frame), 0)
    names = fetched["full_name"].tolist()
    pd.testing.assert_frame_equal(
        fetched, frame.set_index("full_name", drop=False).loc[names].reset_index(drop=True), check_dtype=False
    )


# ---- the Electron sample ----------------------------------------------------------------------------------------


def test_the_electron_sample_was_not_selected_by_stars() -> None:
    frame = pd.read_parquet(ELECTRON)

    assert frame["id"].is_unique
    assert frame["id"].is_monotonic_increasing
    assert 0.6 < (frame["stars"] == 0).mean() < 0.8
    assert frame["stars"].max() > 20_000


# ---- the best-of sample -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def best_of() -> pd.DataFrame:
    """Return the best-of sample."""
    return pd.read_parquet(BEST_OF)


def test_it_has_known_names_few_and_many_stars(best_of: pd.DataFrame) -> None:
    known = {"pandas-dev/pandas", "vercel/next.js", "django/django"}

    assert known <= set(best_of["full_name"])
    assert (best_of["stars"].min(), best_of["stars"].max()) == (1, 444_207)
    assert (best_of["fetched_at"].min(), best_of["fetched_at"].max()) > (
        pd.Timestamp("2023-01-01", tz="UTC"),
        pd.Timestamp("2026-08-01", tz="UTC"),
    )


def test_every_policy_has_values(best_of: pd.DataFrame) -> None:
    assert warn_of_empty_policies(schema.conform(best_of)) == []


def test_nothing_that_is_computed_from_the_stars_is_included(best_of: pd.DataFrame) -> None:
    assert not {"projectrank", "projectrank_placing", "watchers", "category"} & set(best_of)
    for column in best_of.select_dtypes("number").drop(columns="stars"):
        assert abs(best_of["stars"].corr(best_of[column], method="spearman")) < 0.95, column


def test_words_are_sorted_hashes(best_of: pd.DataFrame) -> None:
    codes = best_of["description_tokens"].dropna()

    assert len(codes) > 11_000
    assert all((np.diff(row) >= 0).all() for row in codes)
    assert all(np.abs(row).max(initial=0) <= BUCKETS for row in codes)


def test_the_license_names_its_authors_and_the_changes() -> None:
    text = LICENSE.read_text(encoding="utf-8")

    for part in ("by-sa/4.0/legalcode", "ml-tooling", "Lukas Masuch", "bestof.parquet", "Changes", "hashes"):
        assert part in text
    assert text.count("https://github.com/") == 34
    assert "bestof-license.txt" in (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


# ---- stored facts of descriptions -------------------------------------------------------------------------------


def assert_equal_inputs(repositories: pd.DataFrame) -> None:
    """Assert that features and tokens are those of the texts, whether texts or facts are stored."""
    facts = TOOL.replace_descriptions(repositories)
    words, stored = tokenize(repositories).words, tokenize(facts).words

    assert facts["description"].isna().all()
    pd.testing.assert_frame_equal(extract(repositories), extract(facts))
    for part in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(words, part), getattr(stored, part))


@given(st.lists(st.none() | TEXTS | st.sampled_from(["A fast React app", "été naïve", "İ_x 你好 A A", ""]), min_size=1))
def test_features_of_stored_facts_equal_those_of_the_text(texts: list[str | None]) -> None:
    names = [f"Acme/deep-Learn{row}" for row in range(len(texts))]
    records = pd.DataFrame({"full_name": names, "description": pd.Series(texts, dtype="object")})

    assert_equal_inputs(schema.conform(records))


def test_a_text_is_used_before_stored_facts() -> None:
    """As of a known repository whose description a visitor changes."""
    both = pd.DataFrame(
        {
            "full_name": ["a/b"],
            "description": ["A web server"],
            "description_tokens": [hash_description("python list")],
            "description_keywords": [["python", "list"]],
            "description_non_ascii": [7],
        }
    )
    text = both[["full_name", "description"]]

    pd.testing.assert_frame_equal(extract(schema.conform(both)), extract(schema.conform(text)))
    assert tokenize(schema.conform(both)).words.data.sum() == tokenize(schema.conform(text)).words.data.sum()


def test_no_order_of_words_is_stored() -> None:
    assert hash_description("one two three two").tolist() == hash_description("two three two one").tolist()
    assert len(hash_description("one two three two")) == 4


@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_stored_facts_are_read_from_files(suffix: str, tmp_path: Path) -> None:
    records = {"full_name": ["a/b", "c/d", "e/f"], "stars": [1, 2, 3], "description": ["One app: web", "é", None]}
    facts = TOOL.replace_descriptions(schema.conform(pd.DataFrame(records)))
    path = tmp_path / f"facts.{suffix}"
    facts.to_parquet(path) if suffix == "parquet" else facts.to_json(path, orient="records", date_format="iso")

    summary = fetch_files(FetchSection(), Store(tmp_path), [path], NOW)
    fetched = pd.read_parquet(tmp_path / "repositories.parquet")

    assert summary.cleared == ()
    assert [None if row is None else list(row) for row in fetched["description_keywords"]] == [
        ["application", "web"],
        [],
        None,
    ]
    assert [None if row is None else list(row) for row in fetched["description_tokens"]] == [
        hash_description("one app web").tolist(),
        hash_description("é").tolist(),
        None,
    ]


@pytest.mark.parametrize(
    "value", [[BUCKETS], [-BUCKETS - 1], [1.5], ["a"], "1, 2", 7, [[1]], {"a": 1}, [2**70], [True]]
)
def test_other_values_than_hashed_words_are_cleared_and_counted(value: object, tmp_path: Path) -> None:
    records = pd.DataFrame({"full_name": ["a/b", "c/d"], "stars": [1, 2], "description_tokens": [value, [3, -1]]})
    path = tmp_path / "facts.json"
    records.to_json(path, orient="records")

    summary = fetch_files(FetchSection(), Store(tmp_path), [path], NOW)
    fetched = pd.read_parquet(tmp_path / "repositories.parquet")

    assert [(item.field, item.count) for item in summary.cleared] == [("description_tokens", 1)]
    assert fetched["description_tokens"].iloc[0] is None
    assert fetched["description_tokens"].iloc[1].tolist() == [-1, 3]

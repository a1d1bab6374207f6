"""The shipped sample is the file that the tool builds: real, small, and without texts."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pyarrow.parquet as pq
import pytest

from stargaze.config import FeaturesSection
from stargaze.features import schema
from stargaze.features.dataset import assign_folds
from stargaze.system.files import sha256

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "stargaze" / "data" / "electron.parquet"
MIN_ROWS, MAX_ROWS = 13_000, 16_000


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """Return the tool that builds the sample."""
    spec = importlib.util.spec_from_file_location("build_sample", ROOT / "tools" / "build_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return the sample."""
    return pd.read_parquet(SAMPLE)


def test_the_sample_has_the_checksum_of_the_tool(tool: ModuleType) -> None:
    assert sha256(SAMPLE) == tool.TARGET_SHA256


def test_the_sample_is_small() -> None:
    assert SAMPLE.stat().st_size < 2_000_000


def test_the_metadata_names_source_and_license(tool: ModuleType) -> None:
    metadata = pq.read_metadata(SAMPLE).metadata

    assert metadata[b"source"].decode() == tool.METADATA["source"]
    assert tool.PACKAGE in metadata[b"source"].decode()
    assert metadata[b"license"] == b"MIT"


def test_the_documentation_names_source_and_license() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")

    assert "repos-using-electron" in text
    assert "MIT" in text


def test_the_sample_contains_no_sentences(frame: pd.DataFrame) -> None:
    """The texts are names, languages, licenses, branches and node ids; "Protocol Buffer Language" has the most words."""
    texts = frame.select_dtypes("str")

    assert not {"description", "topics"} & set(frame)
    for name in texts:
        assert texts[name].dropna().str.split().str.len().max() <= 3, name
        assert texts[name].str.len().max() <= 150, name


def test_writing_the_table_twice_gives_the_same_bytes(tool: ModuleType, frame: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tool.write_sample(frame.head(500), tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.thorough
def test_writing_the_whole_table_gives_the_shipped_bytes(tool: ModuleType, frame: pd.DataFrame, tmp_path: Path) -> None:
    """With the locked pyarrow, the file does not depend on time or machine."""
    tool.write_sample(frame, tmp_path / "again")

    assert hashlib.sha256((tmp_path / "again").read_bytes()).hexdigest() == tool.TARGET_SHA256


def test_all_columns_are_fields_and_none_is_empty(frame: pd.DataFrame) -> None:
    assert set(frame) <= set(schema.FIELD_BY_NAME)
    assert frame.notna().any().all()


def test_each_repository_occurs_once_and_none_is_a_fork(frame: pd.DataFrame) -> None:
    assert MIN_ROWS < len(frame) < MAX_ROWS
    assert frame["id"].is_unique
    assert frame["id"].is_monotonic_increasing
    assert frame["full_name"].str.lower().is_unique
    assert "is_fork" not in frame or not frame["is_fork"].any()


def test_the_sample_was_not_selected_by_stars(frame: pd.DataFrame) -> None:
    assert 0.6 < (frame["stars"] == 0).mean() < 0.8
    assert frame["stars"].max() > 20_000


def test_no_date_is_later_than_the_fetch_date(frame: pd.DataFrame) -> None:
    for name in frame.select_dtypes("datetimetz"):
        late = frame[name] > frame["fetched_at"] + pd.Timedelta(days=1)
        assert not late.any(), name


def test_every_fold_has_enough_repositories(frame: pd.DataFrame) -> None:
    counts = pd.Series(assign_folds(frame["full_name"], FeaturesSection())).value_counts()

    assert counts.min() > 1_000

"""The beginning of a README is what a reader sees, found in bounded time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from stargaze.config import FetchSection
from stargaze.features.fetch import fetch_files
from stargaze.features.ingest.derive import MAX_README, begin_readme
from stargaze.store import Store


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("<p align='center'>\n<img src='logo.png'>\n</p>\n\nTool\n====\n\nReads | logs.", "Tool Reads logs."),
        ("[![a](https://x.test/a.svg)](https://x.test)\n# Tool\n<!-- hidden -->text", "Tool text"),
        (
            "See [the docs](https://x.test/docs), or https://y.test/z now.\n\n[1]: https://x.test\nend",
            "See the docs , or now. end",
        ),
        ("```sh\npip install x\n```\nafter", "after"),
        ("```\nnever closed", None),
        ("  \n", None),
        ("a" * 5_000, "a" * MAX_README),
    ],
)
def test_markup_and_addresses_are_left_out(text: str, beginning: str | None) -> None:
    assert begin_readme(text) == beginning


@pytest.mark.parametrize("part", ["<", "![", "](", "[x]: ", "\n", "`", "<!--", "a://", "[a](b", " \t"])
def test_a_hostile_readme_takes_no_long_time(part: str) -> None:
    """A pattern that tries again from each position would take minutes here, and the test would time out."""
    assert len(begin_readme(part * 300_000) or "") <= MAX_README


@pytest.mark.parametrize("name", ["readme", "readme_text", "readme_content"])
def test_a_column_with_readmes_is_read(tmp_path: Path, name: str) -> None:
    texts = ["# One\nfirst", "", "![badge](b.svg)"]
    table = pd.DataFrame({"full_name": ["a/b", "a/c", "a/d"], "stars": [1, 2, 3], name: texts})
    table.to_csv(tmp_path / "table.csv", index=False)
    store = Store(tmp_path / "store")

    fetch_files(FetchSection(), store, [tmp_path / "table.csv"], datetime(2026, 1, 1, tzinfo=UTC))

    stored = pd.read_parquet(store.repositories).set_index("full_name")
    assert stored["readme"].fillna("").to_dict() == {"a/b": "One first", "a/c": "", "a/d": ""}
    assert stored["readme_length"].loc["a/b"] == len(texts[0])

"""The plot shows each policy's selected features with selectable text, and is reproducible."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context

from stargaze.config import POLICIES
from stargaze.features.selection.select_features import MAX_BARS, draw_selection


def reasons(n: int, result: str = "selected") -> pd.DataFrame:
    """Return a table of reasons."""
    frame = pd.DataFrame({"feature": [f"feature_{place}" for place in range(n)]})
    for policy in POLICIES:
        frame[policy] = result
        frame[f"importance_{policy}"] = np.arange(n) / 10
    return frame


@pytest.mark.thorough
@pytest.mark.parametrize(("n", "result", "shown"), [(40, "selected", MAX_BARS), (3, "constant", 0)])
def test_each_policy_has_a_panel_with_its_most_important_features(
    tmp_path: Path, n: int, result: str, shown: int
) -> None:
    draw_selection(reasons(n, result), tmp_path / "x.svg")

    texts = ["".join(element.itertext()).strip() for element in ET.parse(tmp_path / "x.svg").findall(".//{*}text")]
    for policy in POLICIES:
        assert f"{policy}: {n if result == 'selected' else 0} features selected" in texts
    assert sum(word == f"feature_{n - 1}" for word in texts) == (len(POLICIES) if shown else 0)
    assert sum(word.startswith("feature_") for word in set(texts)) == shown


@pytest.mark.thorough
def test_the_same_reasons_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_selection(reasons(5), tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.thorough
def test_a_matplotlibrc_of_the_working_directory_changes_nothing(tmp_path: Path) -> None:
    draw_selection(reasons(3, "selected"), tmp_path / "x.svg")

    with rc_context({"font.size": 40, "savefig.facecolor": "red"}):
        draw_selection(reasons(3, "selected"), tmp_path / "y.svg")

    assert (tmp_path / "y.svg").read_bytes() == (tmp_path / "x.svg").read_bytes()


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["cost $\\frac{1}{$ and $x_{$", "評価 😀", "<b>&amp;</b>", "{x} %s"])
def test_an_own_column_of_any_name_is_shown_as_it_is(tmp_path: Path, name: str) -> None:
    draw_selection(reasons(2).assign(feature=["forks", name]), tmp_path / "x.svg")

    texts = ["".join(element.itertext()).strip() for element in ET.parse(tmp_path / "x.svg").findall(".//{*}text")]
    assert texts.count(name) == len(POLICIES)

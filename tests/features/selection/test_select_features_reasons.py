"""Every reason and number in ``selection.csv`` can be computed again from the repositories."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from stargaze.config import POLICIES
from stargaze.features.dataset import Dataset, read_dataset_and_features
from stargaze.features.matrix import build_matrix
from stargaze.features.selection.select_features import SELECTED
from stargaze.store import Store
from tests.conftest import Ended

pytestmark = pytest.mark.thorough

RHO = r"Spearman's rho (?P<rho>-?[\d.]+) over (?P<n>[\d,]+) training repositories"
REPETITION = rf"(?:duplicate of (?P<equal>\w+)|redundant with (?P<other>\w+): {RHO})"
WINS = r"beats the random probes in (?P<wins>\d+) of 10 runs, importance (?P<importance>[-\d.e]+)"
MODEL = rf"(?:no better than a random probe: {WINS}|uncertain: .* nat)"
REASONS = {
    "repeats": re.compile(REPETITION),
    "repeats an unselected one": re.compile(rf"like (?P<first>\w+), {MODEL} \({REPETITION}\)"),
    "model": re.compile(MODEL),
    "missing": re.compile(r"missing in (?P<share>[\d.]+)% of the (?P<n>[\d,]+) training repositories"),
    "constant": re.compile(r"constant"),
    "watchers": re.compile(r"leaks the target: REST's watchers_count is the number of stars"),
    "policy": re.compile(r"needs policy (?P<policy>activity|all)"),
    "embeddings": re.compile(r"not computed: 0 training repositories have a description or README, fewer than 100"),
    "owner": re.compile(r"not computed: the owner of a held-out repository is unknown .*"),
}


@pytest.fixture(scope="module")
def small_models() -> Iterator[None]:
    """Fit smaller models: only the reasons are tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stargaze.features.selection.permutation_importance.ROUNDS", 10)
        yield


@pytest.fixture
def store(run: Callable[..., Ended], sample: pd.DataFrame, tmp_path: Path, small_models: None) -> Store:
    """A store after ``select-features`` on a part of the sample, with rare flags and copies of features."""
    store = Store(tmp_path / "store")
    store.root.mkdir()
    rare = np.random.default_rng(0).random((3, len(sample))) < 0.01
    planted = dict(zip(("is_template", "is_mirror", "is_disabled"), rare.astype(float), strict=True))
    planted |= {"is_archived": 1.0 - planted["is_mirror"], "tags": 2.0 * sample["open_issues"] + 1.0}
    sample.assign(**planted).to_parquet(store.repositories)
    assert run("select-features").code == 0
    return store


def test_every_reason_on_the_sample_is_true(store: Store) -> None:
    dataset, feature_set = read_dataset_and_features(store)
    table = pd.read_csv(store.selection).set_index("feature")
    names = [name for name in table.index if name in feature_set.catalog and not feature_set.catalog[name].learned]
    rows = dataset.repositories.iloc[dataset.training]
    values = build_matrix(rows, names, feature_set.vocabularies).join(_learned(dataset, feature_set.split))

    kinds = {
        _check_reason(str(table.loc[name, policy]), name, policy, table, values)
        for name in table.index
        for policy in POLICIES
    }

    assert kinds >= {SELECTED, "repeats", "model", "missing", "constant", "policy", "owner"}
    redundant = table[list(POLICIES)].apply(lambda reasons: reasons.str.startswith("redundant with")).any(axis=1)
    assert not redundant[["is_archived", "is_template", "is_disabled"]].any()
    assert table.loc["tags", "all"].startswith("redundant with open_issues: Spearman's rho 1.0000 over")
    assert "redundant with is_archived: Spearman's rho -1.0000" in table.loc["is_mirror", "all"]


def _learned(dataset: Dataset, section: object) -> pd.DataFrame:
    return dataset.encodings(section).values.iloc[dataset.training]  # type: ignore[arg-type]


def _check_reason(reason: str, name: str, policy: str, table: pd.DataFrame, values: pd.DataFrame) -> str:
    """Return the kind of a reason after a check of each of its statements."""
    if reason == SELECTED:
        return SELECTED
    kind, match = next((kind, match) for kind, form in REASONS.items() if (match := form.fullmatch(reason)))
    stated = {key: value for key, value in match.groupdict().items() if value is not None}
    if "policy" in stated:
        assert POLICIES.index(stated["policy"]) > POLICIES.index(policy)
    if other := stated.get("equal", stated.get("other")):
        is_kept = table.loc[other, policy] == SELECTED
        assert stated.get("first", other) == other
        assert is_kept == (kind == "repeats")
        assert is_kept or str(table.loc[other, policy]) in reason
    if "equal" in stated:
        assert values[name].equals(values[other].rename(name))
    if "other" in stated:
        known = values[[name, other]].dropna()
        rho = spearmanr(known[name], known[other]).statistic
        assert abs(rho - float(stated["rho"])) <= 0.00005
        assert abs(rho) >= 0.99 - 1e-9
        assert stated["n"] == f"{len(known):,}"
    if "share" in stated:
        assert float(stated["share"]) == pytest.approx(100 * values[name].isna().mean(), abs=0.051)
        assert stated["n"] == f"{len(values):,}"
    if "wins" in stated and kind == "model":
        assert int(stated["wins"]) == pytest.approx(10 * table.loc[name, f"stability_{policy}"])
        assert float(stated["importance"]) == pytest.approx(table.loc[name, f"importance_{policy}"], rel=0.06, abs=1e-6)
    if kind == "constant":
        assert (values[name] == values[name].iloc[0]).all()
    return kind

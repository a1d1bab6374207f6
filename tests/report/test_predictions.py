"""The held-out predictions of every repository, and their errors by language and decade."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.errors import ExternalError, MissingInputError
from stargaze.report.inputs import ReportInputs, read_report_inputs
from stargaze.report.predictions import list_predictions, tabulate_errors
from stargaze.report.tables import ReportTables
from stargaze.store import Store
from stargaze.tuning.training.held_out import read_held_out
from tests.conftest import Ended

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def predictions(inputs: ReportInputs) -> pd.DataFrame:
    """The table of the finished store."""
    return list_predictions(inputs)


def test_every_repository_has_one_row_with_its_set_and_fold(inputs: ReportInputs, predictions: pd.DataFrame) -> None:
    dataset = inputs.dataset

    assert predictions["full_name"].tolist() == dataset.repositories["full_name"].tolist()
    assert predictions["set"].value_counts().to_dict() == {
        name: len(getattr(dataset, name)) for name in ("training", "validation", "test")
    }
    assert predictions["fold"].notna().tolist() == (predictions["set"] == "training").tolist()
    assert predictions["bundle"].unique().tolist() == [inputs.bundle.digest]


def test_test_rows_are_predicted_as_served_and_training_rows_otherwise(
    inputs: ReportInputs, predictions: pd.DataFrame
) -> None:
    """A model that was fitted on a row would be closer to it than the out-of-fold prediction."""
    estimate = inputs.bundle.estimate(inputs.dataset.repositories)
    test, training = inputs.dataset.test, inputs.dataset.training
    served = np.expm1(estimate.predicted)

    assert predictions["predicted"].to_numpy()[test] == pytest.approx(served[test], rel=1e-4, abs=1e-4)
    assert predictions["low"].tolist()[test[0]] == pytest.approx(estimate.low[test[0]])
    assert predictions["policy"].tolist() == estimate.policy.tolist()
    target = inputs.dataset.target[training]
    out_of_fold = np.abs(np.log1p(predictions["predicted"].to_numpy()[training]) - target)
    fitted = np.abs(estimate.predicted[training] - target)
    assert fitted.mean() < out_of_fold.mean()
    assert np.abs(np.log1p(predictions["predicted"].to_numpy()) - estimate.predicted)[training].mean() > 0.01


def test_each_policy_has_columns_of_its_own(predictions: pd.DataFrame) -> None:
    for policy in ("static", "activity", "all"):
        chosen = predictions["policy"] == policy
        assert (predictions["predicted"] == predictions[f"predicted_{policy}"])[chosen].all()
        assert (predictions[f"low_{policy}"] <= predictions[f"high_{policy}"]).all()
    assert (predictions["predicted_static"] != predictions["predicted_all"]).mean() > 0.9


def test_the_decade_is_the_lowest_count_of_a_decade(predictions: pd.DataFrame) -> None:
    stars, decade = predictions["stars"], predictions["decade"]

    assert ((decade <= stars) & (stars < np.where(decade > 0, 10 * decade, 1))).all()


def test_errors_by_language_and_decade_can_be_recomputed_from_the_rows(
    tables: ReportTables, predictions: pd.DataFrame
) -> None:
    groups = tables["by_language_and_decade"]
    assert groups["repositories"].sum() == len(predictions)
    row = groups[groups["language"] == "C"].sort_values("repositories").iloc[-1]
    lowest = int(row["decade"].partition("–")[0].replace(",", ""))
    rows = predictions[(predictions["language"] == "C") & (predictions["decade"] == lowest)]

    assert row["repositories"] == len(rows)
    assert row["test_repositories"] == (rows["set"] == "test").sum()
    error = np.log1p(rows["predicted"]) - np.log1p(rows["stars"])
    assert row["rmsle"] == pytest.approx(np.sqrt((error**2).mean()))
    assert row["rmse"] == pytest.approx(np.sqrt(((rows["predicted"] - rows["stars"]) ** 2).mean()))


def test_the_page_has_a_cell_per_language_and_decade_with_n(tables: ReportTables, page: Path) -> None:
    groups = tables["by_language_and_decade"]
    table = tabulate_errors(groups)
    first = groups.iloc[0]

    cell = f"{first['rmsle']:.2f} ({first['repositories']:,})"
    assert table[first["decade"]].iloc[0] == cell
    assert cell in page.read_text()


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_the_command_writes_each_format_beside_the_page(
    run: Callable[..., Ended], finished_store: Store, name: str
) -> None:
    shutil.copytree(finished_store.root, "store")

    ended = run("report", "--predictions", name, "--json")

    read = {"csv": pd.read_csv, "jsonl": lambda path: pd.read_json(path, lines=True), "parquet": pd.read_parquet}
    frame = read[name.partition(".")[2]](name)
    assert ended.code == 0, ended.err
    groups = json.loads(ended.out)["by_language_and_decade"]
    assert sum(row["repositories"] for row in groups) == len(frame)
    assert {"full_name", "set", "fold", "stars", "predicted", "low", "high", "policy", "decade"} <= set(frame)
    assert Path("store/report.html").exists()


def test_a_file_without_a_format_is_refused_before_anything_is_computed(
    run: Callable[..., Ended], finished_store: Store
) -> None:
    shutil.copytree(finished_store.root, "store")

    ended = run("report", "--predictions", "p.txt")

    assert ended.code == 2
    assert ended.error == "p.txt: its suffix names no format of a table"
    assert not Path("store/report.html").exists()


def test_predictions_of_another_bundle_are_refused(store: Store, inputs: ReportInputs) -> None:
    with pytest.raises(ExternalError, match="belongs to another bundle") as caught:
        read_held_out(store.held_out, inputs.dataset, "0" * 64)
    assert caught.value.hint == "stargaze tune creates it again"

    store.held_out.write_bytes(b"PAR1")
    with pytest.raises(ExternalError, match="cannot be read"):
        read_report_inputs(store)
    store.held_out.unlink()
    with pytest.raises(MissingInputError):
        read_report_inputs(store)

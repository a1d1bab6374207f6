"""Scores on the test set match the bundle, and their intervals account for owners."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from stargaze.report import evaluation
from stargaze.report.inputs import ReportInputs
from stargaze.report.tables import ReportTables, compute_headline

pytestmark = pytest.mark.thorough


def make_predictions(n: int = 400, seed: int = 1) -> pd.DataFrame:
    """Return synthetic predictions with random errors."""
    random = np.random.default_rng([seed, 11])
    log_predicted = random.exponential(1.5, n)
    true = np.floor(np.expm1(np.clip(log_predicted + random.normal(0, 0.5, n), 0, None)))
    predicted = np.expm1(log_predicted)
    frame = pd.DataFrame({"true": true, "predicted": predicted, "low": predicted * 0.5, "high": predicted * 2 + 1})
    error = log_predicted - np.log1p(true)
    names = [f"a/{row}" for row in range(n)]
    return frame.assign(repository=names, language="C", description="", owner="a", policy="all", error=error)


def test_scores_match_those_stored_in_the_bundle(inputs: ReportInputs, tables: ReportTables) -> None:
    """Scores recomputed from the model equal those of tuning."""
    frame = tables["policies"].set_index("policy")

    for policy, stored in inputs.bundle.meta["scores"].items():
        assert frame.loc[policy, "rmsle"] == pytest.approx(stored["rmsle"], abs=1e-4)
        assert frame.loc[policy, "coverage"] == stored["coverage"]
        assert frame.loc[policy, "rmsle_low"] < frame.loc[policy, "rmsle"] < frame.loc[policy, "rmsle_high"]


def test_the_scores_with_missing_values_are_listed_beside_the_complete_ones(
    inputs: ReportInputs, tables: ReportTables
) -> None:
    frame, stored = tables["patterns"], inputs.bundle.meta["scores"]["all"]
    own = frame[frame["policy"] == "all"].set_index("known_values")

    assert own.loc["all", "r2"] == stored["r2"]
    for row in stored["patterns"]:
        assert own.loc[row["pattern"], ["r2", "coverage", "repositories"]].tolist() == [
            row["r2"],
            row["coverage"],
            row["n"],
        ]
    assert {"live with token", "live without token", "five typed metrics"} <= set(own.index)


def test_the_headline_scores_the_policy_of_the_estimate(inputs: ReportInputs, tables: ReportTables) -> None:
    head, own = tables.headline, inputs.bundle.meta["scores"]["all"]

    assert head["rmsle"] == pytest.approx(own["rmsle"], abs=1e-4)
    assert head["coverage"] == pytest.approx(own["coverage"], abs=1e-4)
    assert head["rmsle_of_the_median"] > head["rmsle"]
    assert head["test_repositories"] == len(inputs.dataset.test)


def test_the_headline_scores_served_predictions(inputs: ReportInputs, tables: ReportTables) -> None:
    predictions = evaluation.predict_test_set(inputs)

    assert tables.headline["rmsle"] == pytest.approx(np.sqrt(np.mean(predictions["error"] ** 2)))
    assert tables.headline["coverage"] == evaluation.is_covered(predictions).mean()


def test_the_headline_compares_repositories_unlike_the_training_set(inputs: ReportInputs, tables: ReportTables) -> None:
    predictions = evaluation.predict_test_set(inputs)
    rows = np.arange(len(predictions))

    found = compute_headline(inputs, predictions.assign(unlike=rows < 10), tables["policies"])["unlike"]

    assert found["repositories"] == 10
    assert found["rmsle"] == pytest.approx(np.sqrt(np.mean(predictions["error"].iloc[:10] ** 2)))
    assert compute_headline(inputs, predictions.assign(unlike=rows < 3), tables["policies"])["unlike"] is None


def test_a_score_that_no_honest_table_reaches_is_an_alarm(inputs: ReportInputs, tables: ReportTables) -> None:
    scores = {policy: {**values, "r2": 0.97} for policy, values in inputs.bundle.meta["scores"].items()}
    bundle = dataclasses.replace(inputs.bundle, meta={**inputs.bundle.meta, "scores": scores})
    predictions = evaluation.predict_test_set(inputs)

    head = compute_headline(dataclasses.replace(inputs, bundle=bundle), predictions, tables["policies"])

    assert tables.headline["alarms"] == []
    assert any("R² 0.970 is a sign of a leak" in line for line in head["alarms"])


def test_owners_with_many_repositories_widen_the_interval_of_the_score() -> None:
    random = np.random.default_rng(5)
    error = np.repeat(np.abs(random.normal(1.0, 0.5, 50)), 10)

    independent = evaluation.bootstrap_rmsle(error, np.arange(500))
    together = evaluation.bootstrap_rmsle(error, np.repeat(np.arange(50), 10))

    assert together[1] - together[0] > 2 * (independent[1] - independent[0])


def test_every_repository_is_in_one_group() -> None:
    frame = make_predictions()
    by_decade = evaluation.score_by_decade(frame)

    assert by_decade["repositories"].sum() == len(frame)
    covered = (by_decade["coverage"] * by_decade["repositories"]).sum() / len(frame)
    assert covered == pytest.approx(evaluation.is_covered(frame).mean())
    squares = (by_decade["rmsle"] ** 2 * by_decade["repositories"]).sum() / len(frame)
    assert squares == pytest.approx((frame["error"] ** 2).mean())


def test_a_rare_language_has_no_row_of_its_own() -> None:
    frame = make_predictions(100).assign(language=["C"] * 60 + ["Zig"] * 5 + ["Go"] * 35)

    assert evaluation.score_by_language(frame)["language"].tolist() == ["C", "Go", "all others"]


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (45, 50)])
def test_the_wilson_interval_contains_the_share_and_stays_between_0_and_1(hits: int, n: int) -> None:
    low, high = evaluation.wilson_interval(hits, n)

    assert 0 <= low <= hits / n <= high <= 1
    assert high > low


def test_sampled_predictions_span_the_range_and_are_labeled_correctly() -> None:
    frame = make_predictions(5_000)
    sample = evaluation.sample_predictions(frame, max_rows=200)

    assert len(sample) <= 200
    assert sample["repository"].is_unique
    assert sample["predicted"].max() == frame["predicted"].max()
    assert sample["predicted"].min() == frame["predicted"].min()
    assert (
        (sample["inside"] == "inside") == ((sample["low"] <= sample["true"]) & (sample["true"] <= sample["high"]))
    ).all()


def test_the_largest_errors_come_first_in_both_directions() -> None:
    frame = make_predictions()
    errors = evaluation.largest_errors(frame, max_rows=3)

    over, under = (errors[errors["direction"] == direction] for direction in ("over-estimated", "under-estimated"))
    assert len(over) == len(under) == 3
    assert np.log(over["factor"].iloc[0]) == pytest.approx(frame["error"].max())
    assert np.log(under["factor"].iloc[0]) == pytest.approx(-frame["error"].min())
    assert over["factor"].is_monotonic_decreasing


def test_descriptions_and_languages_are_shown_only_if_known() -> None:
    frame = make_predictions()

    assert "description" not in evaluation.largest_errors(frame)
    assert set(evaluation.largest_errors(frame.assign(description="a parser"))["description"]) == {"a parser"}
    assert "language" not in evaluation.largest_errors(frame.assign(language="unknown"))


def test_without_over_estimates_only_under_estimates_are_listed() -> None:
    frame = make_predictions(5).assign(error=-1.0)

    assert set(evaluation.largest_errors(frame)["direction"]) == {"under-estimated"}

"""The figures on the test side are those of the bundle, and their uncertainty is that of the owners."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.report import evaluation as judged
from stargaze.report.inputs import Evidence
from stargaze.report.tables import Numbers

pytestmark = pytest.mark.thorough


def made_up(n: int = 400, seed: int = 1) -> pd.DataFrame:
    """Make test repositories whose predictions are off by noise."""
    random = np.random.default_rng([seed, 11])
    height = random.exponential(1.5, n)
    true = np.floor(np.expm1(np.clip(height + random.normal(0, 0.5, n), 0, None)))
    predicted = np.expm1(height)
    frame = pd.DataFrame({"true": true, "predicted": predicted, "low": predicted * 0.5, "high": predicted * 2 + 1})
    error = height - np.log1p(true)
    names = [f"a/{row}" for row in range(n)]
    return frame.assign(repository=names, language="C", description="", owner="a", policy="all", error=error)


def test_the_scores_are_those_that_the_bundle_was_saved_with(evidence: Evidence, found: Numbers) -> None:
    """Computed anew from the model, they are what tuning has found."""
    frame = found["policies"].set_index("policy")

    for policy, told in evidence.bundle.meta["scores"].items():
        assert frame.loc[policy, "rmsle"] == pytest.approx(told["rmsle"], abs=1e-4)
        assert frame.loc[policy, "coverage"] == told["coverage"]
        assert frame.loc[policy, "rmsle_low"] < frame.loc[policy, "rmsle"] < frame.loc[policy, "rmsle_high"]


def test_the_headline_tells_of_the_policy_of_the_estimate(evidence: Evidence, found: Numbers) -> None:
    head, own = found.headline, evidence.bundle.meta["scores"]["all"]

    assert head["rmsle"] == pytest.approx(own["rmsle"], abs=1e-4)
    assert head["coverage"] == pytest.approx(own["coverage"], abs=1e-4)
    assert head["rmsle_of_the_median"] > head["rmsle"]
    assert head["test_repositories"] == len(evidence.table.test)


def test_the_headline_is_of_what_is_answered(evidence: Evidence, found: Numbers) -> None:
    answers = judged.judge(evidence)

    assert found.headline["rmsle"] == pytest.approx(np.sqrt(np.mean(answers["error"] ** 2)))
    assert found.headline["coverage"] == judged.inside(answers).mean()


def test_owners_with_many_repositories_make_the_score_less_certain() -> None:
    random = np.random.default_rng(5)
    error = np.repeat(np.abs(random.normal(1.0, 0.5, 50)), 10)

    apart = judged.rmsle_interval(error, np.arange(500))
    together = judged.rmsle_interval(error, np.repeat(np.arange(50), 10))

    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


def test_groups_hold_every_repository_once() -> None:
    frame = made_up()
    by_decade = judged.by_decade(frame)

    assert by_decade["repositories"].sum() == len(frame)
    covered = (by_decade["coverage"] * by_decade["repositories"]).sum() / len(frame)
    assert covered == pytest.approx(judged.inside(frame).mean())
    squares = (by_decade["rmsle"] ** 2 * by_decade["repositories"]).sum() / len(frame)
    assert squares == pytest.approx((frame["error"] ** 2).mean())


def test_a_rare_language_has_no_row_of_its_own() -> None:
    frame = made_up(100).assign(language=["C"] * 60 + ["Zig"] * 5 + ["Go"] * 35)

    assert judged.by_language(frame)["language"].tolist() == ["C", "Go", "all others"]


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (45, 50)])
def test_the_interval_of_a_share_holds_it_and_stays_a_share(hits: int, n: int) -> None:
    low, high = judged.share_interval(hits, n)

    assert 0 <= low <= hits / n <= high <= 1
    assert high > low


def test_what_is_drawn_reaches_over_all_heights_and_is_told_right() -> None:
    frame = made_up(5_000)
    drawn = judged.shown(frame, most=200)

    assert len(drawn) <= 200
    assert drawn["repository"].is_unique
    assert drawn["predicted"].max() == frame["predicted"].max()
    assert drawn["predicted"].min() == frame["predicted"].min()
    assert ((drawn["inside"] == "inside") == ((drawn["low"] <= drawn["true"]) & (drawn["true"] <= drawn["high"]))).all()


def test_the_largest_errors_come_first_on_either_side() -> None:
    frame = made_up()
    surprises = judged.surprises(frame, most=3)

    over, under = (surprises[surprises["direction"] == side] for side in ("over-estimated", "under-estimated"))
    assert len(over) == len(under) == 3
    assert np.log(over["factor"].iloc[0]) == pytest.approx(frame["error"].max())
    assert np.log(under["factor"].iloc[0]) == pytest.approx(-frame["error"].min())
    assert over["factor"].is_monotonic_decreasing


def test_descriptions_are_shown_where_there_are_any() -> None:
    frame = made_up()

    assert "description" not in judged.surprises(frame)
    assert set(judged.surprises(frame.assign(description="a parser"))["description"]) == {"a parser"}
    assert "language" not in judged.surprises(frame.assign(language="not known"))


def test_where_all_are_estimated_too_low_nothing_is_named_as_too_high() -> None:
    frame = made_up(5).assign(error=-1.0)

    assert set(judged.surprises(frame)["direction"]) == {"under-estimated"}

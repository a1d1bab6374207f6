"""Own columns in a bundle: known repositories are predicted with theirs, live and entered ones without."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import FeaturesSection, TuningSection
from stargaze.features import schema
from stargaze.features.dataset import FeatureSet, read_dataset, read_dataset_and_features, write_feature_set
from stargaze.features.matrix import build_vocabulary
from stargaze.report.dataset import describe_features, missing_rates
from stargaze.serve.lookup.live import LookupResult
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.controls import candidate_fields
from stargaze.serve.prediction.out_of_range import TrainingRanges
from stargaze.serve.prediction.predict import records_of
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.serve.web.verify_bundle import verify_bundle
from stargaze.serve.web.views.bundle_view import load_bundle_view
from stargaze.serve.web.views.model_card import OWN_LIMITATION, model_card
from stargaze.store import Store
from stargaze.tuning.training.save import save_best
from tests.own_columns import OWN, SCORE, TEAM, VIP, write_own_columns

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STATIC = ["owner_type", "has_wiki", SCORE]
SELECTED = {"static": STATIC, "activity": [*STATIC, "open_issues", VIP], "all": [*STATIC, "open_issues", "forks", TEAM]}
TRIALS = [
    {"family": family, "parameters": parameters, "rmsle": 0.5, "folds": [0.5] * 3, "seconds": 1.0, "stopped": "done"}
    for family, parameters in (("lightgbm", {"n_estimators": 50, "learning_rate": 0.1}), ("ridge", {}))
]
Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Saved:
    """A store, its newest bundle and the bundle's folder."""

    store: Store
    folder: Path
    bundle: Bundle


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, make_repositories: Callable[..., pd.DataFrame]) -> Saved:
    """The bundle of repositories with own columns."""
    store = Store(tmp_path_factory.mktemp("own"))
    write_own_columns(store, make_repositories(700, 1))
    table = read_dataset(store, FeaturesSection(folds=3))
    vocabularies = {name: build_vocabulary(table.repositories[name]) for name in ("owner_type", TEAM)}
    section = FeaturesSection(folds=3)
    write_feature_set(store, FeatureSet(SELECTED, vocabularies, section, table.fingerprint, {}, table.own_columns))
    folder, _ = save_best(TuningSection(), store, *read_dataset_and_features(store), TRIALS)
    return Saved(store, folder, Bundle.load(folder))


@dataclass(frozen=True)
class BothSources:
    """Finds known repositories in a bundle, and any other name on a GitHub that has only the fields of the schema."""

    bundle: Bundle

    def find(self, names: Sequence[str], _now: datetime) -> LookupResult:
        """Return a row for each name; those of GitHub have the figures of the first known repository."""
        rows = [self.bundle.row_by_name.get(name.lower(), -1) for name in names]
        frames = [
            self.bundle.known.iloc[[row]]
            if row >= 0
            else schema.conform(self.bundle.known.iloc[[0]]).assign(full_name=name)
            for row, name in zip(rows, names, strict=True)
        ]
        return LookupResult(
            lambda: pd.concat(frames, ignore_index=True),
            len(names),
            {name.lower(): i for i, name in enumerate(names)},
            {name.lower(): "bundle" if row >= 0 else "github" for row, name in zip(rows, names, strict=True)},
        )


def answers(bundle: Bundle, *requests: PredictionRequest) -> Answers:
    """Return the predictions of the requests, answered together."""
    found = answer_requests(PredictionContext(bundle, BothSources(bundle)), requests, NOW)
    return [dict(item) for answer in found for item in answer["predictions"]]  # type: ignore[attr-defined]


def factors_of(prediction: dict[str, Any]) -> dict[str, str]:
    """Return the value of each factor by its label."""
    return {item["label"]: item["value"] for item in prediction["explanation"]["factors"]}


def test_the_description_declares_the_columns(saved: Saved) -> None:
    meta = json.loads((saved.folder / "bundle.json").read_text())

    assert [tuple(item.values()) for item in meta["own_columns"]] == [
        *((column.kind, column.name, column.policy) for column in OWN)
    ]
    assert meta["importance"]["all"][SCORE] > 0.02
    assert meta["vocabularies"][TEAM]
    assert SCORE in meta["prototype"]["record"]
    verify_bundle(saved.folder)


def test_known_repositories_keep_their_values(saved: Saved) -> None:
    stored = pd.read_parquet(saved.store.repositories).set_index("full_name")

    known = saved.bundle.known.set_index("full_name")

    assert known[SCORE].equals(stored[SCORE].loc[known.index])
    assert known[TEAM].tolist() == stored[TEAM].loc[known.index].tolist()


def test_the_number_matters_to_a_known_repository(saved: Saved) -> None:
    known = saved.bundle.known.head(40)

    high, low = (saved.bundle.predict_repositories(known.assign(**{SCORE: value})) for value in (90.0, 0.0))

    assert (high > low + 0.3).mean() > 0.9


def test_a_known_repository_has_its_own_values_and_a_live_one_has_none(saved: Saved) -> None:
    row = int(np.flatnonzero(saved.bundle.known[SCORE].notna())[0])
    name = saved.bundle.known["full_name"].iloc[row]

    known, live = answers(saved.bundle, PredictionRequest((name,)), PredictionRequest(("acme/new-one",)))

    shown = factors_of(known)
    assert float(shown[SCORE]) == saved.bundle.known[SCORE].iloc[row]
    assert shown[TEAM] == saved.bundle.known[TEAM].iloc[row]
    unknown = factors_of(live)
    assert {SCORE, TEAM}.isdisjoint(unknown)
    assert SCORE in unknown["unknown values"]
    assert live["policy"] == "all"
    assert known["source"] == "bundle"
    assert live["source"] == "github"


def test_the_same_figures_have_the_same_answer_without_own_columns_from_any_source(saved: Saved) -> None:
    """A live look-up, figures, and the known record without its own columns."""
    bundle, first = saved.bundle, saved.bundle.known.iloc[[0]]
    values = {"owner_type": first["owner_type"].iloc[0]} | {
        name: float(first[name].iloc[0]) for name in ("has_wiki", "open_issues", "forks")
    }

    live, entered = answers(bundle, PredictionRequest(("acme/new-one",)), PredictionRequest(figures=(values,)))
    bare = bundle.estimate(schema.conform(first))

    assert live["expected_stars"] == pytest.approx(entered["expected_stars"])
    assert live["expected_stars"] == pytest.approx(np.expm1(bare.predicted[0]))
    assert (live["interval_low"], live["interval_high"]) == (bare.low[0], bare.high[0])


def test_own_columns_cannot_be_entered_or_changed(saved: Saved) -> None:
    name = saved.bundle.known["full_name"].iloc[0]
    live, *_ = answers(saved.bundle, PredictionRequest(("acme/new-one",)))

    assert not any(item["field"] in (SCORE, TEAM, VIP) for item in (*live["missing_fields"], *live["controls"]))
    assert {SCORE, TEAM, VIP}.isdisjoint(candidate_fields(saved.bundle, "all"))
    (refused,) = answer_requests(
        PredictionContext(saved.bundle, BothSources(saved.bundle)),
        [PredictionRequest((name,), what_if={SCORE: "3"})],
        NOW,
    )
    assert "not a field" in str(refused["message"])


def test_a_what_if_of_a_known_repository_keeps_its_own_values(saved: Saved) -> None:
    row = int(np.flatnonzero(saved.bundle.known[SCORE].notna())[0])
    record = saved.bundle.known.iloc[[row]]

    (answer,) = answers(saved.bundle, PredictionRequest((record["full_name"].iloc[0],), what_if={"forks": "5000"}))

    changed = saved.bundle.predict_repositories(record.assign(forks=5000.0))
    assert answer["what_if"]["expected_stars"] == pytest.approx(np.expm1(changed[0]))


def test_values_beyond_the_training_data_are_reported(saved: Saved) -> None:
    frame = saved.bundle.known.head(1).assign(**{SCORE: 1e6, TEAM: "moon base"})
    records = records_of(frame, saved.bundle.catalog.own_columns)

    (outside,) = TrainingRanges(saved.bundle).find_outside(saved.bundle.features(frame), "all", records)

    found = {item["label"]: item["value"] for item in outside}
    assert found[SCORE] == "1,000,000"
    assert found[TEAM] == "moon base"


def test_the_model_card_lists_own_columns_and_says_that_live_ones_lack_them(saved: Saved) -> None:
    card = model_card(load_bundle_view(saved.folder))

    group = card["features"][-1]
    assert group["title"] == "Own columns"
    assert group["rows"] == [(SCORE, "number"), (TEAM, "category")]
    assert card["limitations"][-1] == OWN_LIMITATION
    assert load_bundle_view(saved.folder).fields == {"owner_type", "has_wiki", "open_issues", "forks"}


def test_the_tables_of_the_report_list_own_columns(saved: Saved) -> None:
    table, feature_set = read_dataset_and_features(saved.store)
    selection = pd.DataFrame({"feature": [SCORE], "missing": [0.1]})

    features = describe_features(selection, feature_set).set_index("feature")
    missing = missing_rates(table).set_index("field")

    assert features.loc[SCORE, ["selected", "policy", "source"]].tolist() == ["static, activity, all", "static", SCORE]
    assert missing.loc[SCORE, "missing"] == pytest.approx(table.repositories[SCORE].isna().mean())
    assert missing.loc[TEAM, "unit"] == "category"


def test_a_bundle_may_contain_no_repository(saved: Saved) -> None:
    folder, _ = save_best(
        TuningSection(bundled_repositories=0, ensemble_size=1, estimate_policy="static"),
        saved.store,
        *read_dataset_and_features(saved.store),
        TRIALS[:1],
    )

    verify_bundle(folder)
    assert list(Bundle.load(folder).known)[-3:] == [column.name for column in OWN]

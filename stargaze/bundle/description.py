"""The schema of ``bundle.json``: all fields that serving reads, their types and ranges, and what they must have in common."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from stargaze.bundle.population_density import MAX_FEATURES, MIN_FEATURES
from stargaze.bundle.schema_checks import (
    Check,
    array,
    choice,
    date,
    distinct,
    integer,
    mapping,
    nullable,
    number,
    plain,
    record,
    text,
    word,
)
from stargaze.config import METRICS, POLICIES
from stargaze.errors import ConfigError
from stargaze.features.matrix import Catalog, catalog_with
from stargaze.features.own_columns import parse_own_columns
from stargaze.features.schema import FIELD_BY_NAME
from stargaze.features.split import parse_split

LOG = number(0, 700)
"""A logarithm of counts, or an error of one [nat]: its exponential is a finite number."""
SHARE = number(0, 1)
OFFSET = 5.0
"""Largest offset of an ensemble [nat]: a factor of 148 between the mean and the typical count."""
POLICY = choice(*POLICIES)
FILE = {"file": text, "format": text}
NAMES = distinct(text, 1)


def split(value: Any, place: str) -> None:
    """Accept the section ``features`` of a config: all of it that affects the split."""
    record(dict.fromkeys(("seed", "test_size", "validation_size", "folds", "split_by"), plain))(value, place)
    try:
        parse_split(value, place)
    except ConfigError as error:
        raise ValueError(error.message) from error


def by_policy(item: Check, low: int = 1) -> Check:
    """Return a check of an object with one entry for each policy."""
    return mapping(item, POLICY, low)


INTERVALS = record(
    {
        "coverage": number(0.01, 0.999),
        "count_classes": array(number(0), 1),
        "prediction_classes": array(number(0), 1),
        "radius": array(array(number(-1e3, 1e3), 1), 1),
    }
)
DECADES = array(record({"decade": text, "n": integer()}, {"coverage": nullable(SHARE), "width": nullable(LOG)}))
COUNT = number(0, 1e12)
OUTLIERS = array(
    record(
        {"full_name": text, **dict.fromkeys(("expected_stars", "interval_low", "interval_high", "actual_stars"), COUNT)}
    ),
    0,
    10,
)
SCORES = record(
    {"rmsle": nullable(LOG)},
    {
        **{name: nullable(number()) for name in ("rmse", "r2", "rho", "mdape")},
        "coverage": nullable(SHARE),
        "families": mapping(SHARE),
        "coverage_by_decade": DECADES,
        "coverage_by_predicted_decade": DECADES,
        "patterns": array(
            record(
                {"pattern": text, "n": integer()},
                {name: nullable(number()) for name in ("rmsle", "rmse", "r2", "coverage", "width")},
            ),
            0,
            20,
        ),
    },
)
ORIGIN = {"version": text}


def _star_record(field: Check) -> Check:
    """Return the check of a star bundle, of which ``field`` checks the names of fields."""
    partial = record(
        {
            "levels": array(record({"missing": SHARE, "intervals": INTERVALS}), 1, 10),
            "fields": mapping(record({"importance": SHARE, "widening": SHARE}), field),
        }
    )
    return record(
        {
            **ORIGIN,
            "estimate_policy": POLICY,
            "coverage": number(0.01, 0.999),
            "intervals": INTERVALS,
            "features": by_policy(NAMES),
            "vocabularies": mapping(distinct(word, 0, 100_000)),
            "scores": by_policy(SCORES),
            "split": split,
            "star_quantiles": array(number(0), 2, 100_000),
            "background": by_policy(array(nullable(number(-1e30, 1e30)))),
            "data": record(
                {"rows": integer(1), "training_rows": integer(1), "fingerprint": text, "latest": date},
                {"feature_set": text, "population": text, "choice": text, "earliest": date},
            ),
            "prototype": record({"record": mapping(plain), "predicted": by_policy(array(number(), 1))}),
            "models": by_policy(array(record({**FILE, "weight": SHARE}), 1, 20)),
            "metric": choice(*METRICS),
            "offsets": by_policy(number(-OFFSET, OFFSET)),
            "spreads": by_policy(record(FILE)),
        },
        {
            "versions": mapping(text),
            "ensemble": by_policy(array(record({"family": text, "parameters": mapping(plain)}), 1, 20), 0),
            "trials": nullable(integer()),
            "requested_trials": nullable(integer()),
            "seed": integer(),
            "importance": by_policy(mapping(SHARE, field), 0),
            "population_features": distinct(text, MIN_FEATURES, MAX_FEATURES),
            "outliers": record({"more": OUTLIERS, "fewer": OUTLIERS}),
            "answer_policies": array(record({"policy": POLICY, "intervals": partial}), 1, len(POLICIES)),
        },
    )


OFFSETS = array(number(-1e6, 1e6), 2, 2)
GROWTH = record(
    {
        **ORIGIN,
        "history_weeks": integer(1, 1000),
        "coverage": number(0.01, 0.999),
        "milestone_coverage": number(0.01, 0.999),
        "languages": distinct(word, 0, 10_000),
        "features": NAMES,
        "horizons": array(
            record(
                {
                    "days": integer(1, 3650),
                    "model": text,
                    "difficulty": text,
                    "offsets": OFFSETS,
                    "milestone_offsets": OFFSETS,
                }
            ),
            1,
            20,
        ),
        "prototype": record(
            {"history": array(mapping(plain), 1, 10_000), "growth": array(array(number(), 3, 3), 1, 20)}
        ),
        "scores": array(mapping(plain), 0, 10_000),
        "data": record({"rows": integer(1), "repositories": integer(1), "fingerprint": text, "latest": date}),
    }
)


def own_catalog(meta: Mapping[str, Any]) -> Catalog:
    """Return the features of a star bundle, with its own columns; raise ValueError if their declaration is not valid."""
    return catalog_with(parse_own_columns(meta.get("own_columns", [])))


def check_star_description(meta: Mapping[str, Any]) -> None:
    """Raise ValueError with the place of the first value that is not valid."""
    catalog = own_catalog(meta)
    _star_record(choice(*FIELD_BY_NAME, *(column.name for column in catalog.own_columns)))(meta, "")
    policies, models = set(meta["models"]), meta["models"]
    answers = [item["policy"] for item in meta.get("answer_policies", ())] or [meta["estimate_policy"]]
    _require(answers[0] == meta["estimate_policy"], "the first of answer_policies is not the estimate_policy")
    _require(len(set(answers)) == len(answers), "answer_policies contains a policy twice")
    shown = meta["scores"].get(meta["estimate_policy"], {})
    for name in ("rmsle", "coverage"):  # every page says how accurate the estimate is
        _require(shown.get(name) is not None, f"scores has no {name} of the estimate")
    _require(meta["data"]["training_rows"] <= meta["data"]["rows"], "data.training_rows is larger than data.rows")
    _require(_rises(meta["star_quantiles"]), "star_quantiles does not rise")
    coverages = {item["coverage"] for item in (meta, meta["intervals"], *_intervals(meta))}
    _require(len(coverages) == 1, "the intervals have different coverages")
    known = {name for names in meta["features"].values() for name in names}
    numbers = {name for name in known if name in catalog and catalog[name].kind == "number"}
    _require(
        set(meta.get("population_features", ())) <= numbers,
        "population_features names features that are no numbers of a policy",
    )
    for name, needed in (
        ("features", policies),
        ("background", policies),
        ("models", set(answers)),
        ("offsets", policies),
        ("spreads", set(answers)),
    ):
        _require(needed <= set(meta[name]), f"{name} lacks {', '.join(sorted(needed - set(meta[name])))}")
    for policy, members in meta.get("ensemble", {}).items():
        _require(len(members) == len(models.get(policy, ())), f"ensemble.{policy} has another length than the models")
    for policy in sorted(policies):
        names, outputs = meta["features"][policy], len(models[policy]) + (policy in meta["spreads"])
        _require(
            len(meta["background"][policy]) == len(names), f"background.{policy} has another length than the features"
        )
        _require(
            len(meta["prototype"]["predicted"].get(policy, ())) == outputs,
            f"prototype.predicted.{policy} has another length than the models",
        )


def check_growth_description(meta: Mapping[str, Any]) -> None:
    """Raise ValueError with the place of the first value that is not valid."""
    GROWTH(meta, "")
    days = [item["days"] for item in meta["horizons"]]
    _require(len(set(days)) == len(days), "horizons contains a number of days twice")
    _require(len(meta["prototype"]["growth"]) == len(days), "prototype.growth has another length than the horizons")
    for item in meta["horizons"]:
        for name in ("offsets", "milestone_offsets"):
            _require(item[name][0] <= item[name][1], f"the {name} of {item['days']} days do not rise")


def _intervals(meta: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    policies = meta.get("answer_policies", ())
    return (level["intervals"] for item in policies for level in item["intervals"]["levels"])


def _rises(values: list[float]) -> bool:
    return all(low <= high for low, high in itertools.pairwise(values))


def _require(valid: object, message: str) -> None:
    if not valid:
        raise ValueError(message)

"""Each field of bundle.json that serving reads is checked, with its type, its range and its relation to others."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.description import check_star_description
from stargaze.bundle.manifest import BadBundleError, parse_json, write_manifest
from stargaze.bundle.star_bundle import Bundle

Meta = dict[str, Any]
HUGE = 10**400


@pytest.fixture(scope="module")
def meta(bundle_folder: Path) -> Meta:
    description: Meta = json.loads((bundle_folder / "bundle.json").read_text())
    check_star_description(description)
    return description


REQUIRED = (
    *("version", "estimate_policy", "coverage", "intervals", "features"),
    *("vocabularies", "scores", "split", "star_quantiles", "background", "data", "prototype", "models", "spreads"),
    *("metric", "offsets"),
)


WRONG: list[Any] = [None, [], {}, -1, True, HUGE, "\n"]


@pytest.mark.thorough
@pytest.mark.parametrize("name", REQUIRED)
def test_a_field_that_is_missing_or_of_another_type_is_named(meta: Meta, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is missing"):
        check_star_description({key: item for key, item in meta.items() if key != name})
    for value in WRONG:
        if (name, value) != ("vocabularies", {}):
            with pytest.raises(ValueError, match=f"^{name}"):
                check_star_description(meta | {name: value})


OUTLIER = {
    "full_name": "a/b",
    "expected_stars": 1.5,
    "interval_low": 0.0,
    "interval_high": 4.0,
    "actual_stars": 20.0,
}
CHANGES: dict[str, tuple[Callable[[Meta], object], str]] = {
    "no fingerprint": (lambda meta: meta["data"].pop("fingerprint"), "data.fingerprint is missing"),
    "a date of the data": (lambda meta: meta["data"].update(latest="soon"), "data.latest is not a date"),
    "more training rows": (lambda meta: meta["data"].update(training_rows=10**9), "training_rows is larger"),
    "a metric": (lambda meta: meta.update(metric="mae"), "metric is not one of"),
    "a huge offset": (lambda meta: meta["offsets"].update(all=6.0), "offsets.all is not"),
    "no offset": (lambda meta: meta["offsets"].pop("all"), "offsets lacks all"),
    "a row too few": (lambda meta: meta["background"]["all"].pop(), "background.all has another length"),
    "a text as a number": (lambda meta: meta["background"]["all"].__setitem__(0, "1"), r"background.all\[0\]"),
    "no background": (lambda meta: meta["background"].pop("activity"), "background lacks activity"),
    "falling quantiles": (lambda meta: meta["star_quantiles"].reverse(), "star_quantiles does not rise"),
    "a folds of one": (lambda meta: meta["split"].update(folds=1), "folds"),
    "an unknown split": (lambda meta: meta["split"].update(split_by="star"), "split_by"),
    "a key of the split": (lambda meta: meta["split"].pop("seed"), "split.seed is missing"),
    "two coverages": (lambda meta: meta["intervals"].update(coverage=0.8), "different coverages"),
    "a coverage as text": (lambda meta: meta["intervals"].update(coverage="0.9"), "intervals.coverage"),
    "no score": (lambda meta: meta["scores"]["all"].pop("rmsle"), "scores.all.rmsle is missing"),
    "no score of the estimate": (lambda meta: meta["scores"].pop("all"), "scores has no rmsle of the estimate"),
    "no coverage of the estimate": (
        lambda meta: meta["scores"]["all"].update(coverage=None),
        "scores has no coverage of the estimate",
    ),
    "a score beyond a float": (lambda meta: meta["scores"]["all"].update(rmsle=HUGE), "scores.all.rmsle"),
    "a score whose factor is infinite": (lambda meta: meta["scores"]["all"].update(rmsle=1e6), "scores.all.rmsle"),
    "decades that are none": (lambda meta: meta["scores"]["all"].update(coverage_by_decade=[1]), r"decade\[0\]"),
    "predicted decades that are none": (
        lambda meta: meta["scores"]["all"].update(coverage_by_predicted_decade=[{"decade": "0"}]),
        r"coverage_by_predicted_decade\[0\].n is missing",
    ),
    "a pattern without a number": (
        lambda meta: meta["scores"]["all"].update(patterns=[{"pattern": "table", "n": 3, "r2": "high"}]),
        r"patterns\[0\].r2",
    ),
    "the importance of a feature": (
        lambda meta: meta.update(importance={"all": {"fork_rate": 1.0}}),
        "a key of importance.all",
    ),
    "a negative share": (lambda meta: meta.update(importance={"all": {"forks": -0.1}}), "importance.all.forks"),
    "outliers of one direction": (lambda meta: meta.update(outliers={"more": []}), "outliers.fewer is missing"),
    "too many outliers": (
        lambda meta: meta.update(outliers={"more": [OUTLIER] * 11, "fewer": []}),
        "outliers.more is not a list",
    ),
    "an outlier without a bound": (
        lambda meta: meta.update(outliers={"more": [OUTLIER | {"interval_low": None}], "fewer": []}),
        r"outliers.more\[0\].interval_low",
    ),
    "a policy that does not exist": (lambda meta: meta["scores"].update(none={}), "a key of scores"),
    "a policy without models": (
        lambda meta: meta.update(answer_policies=[answer(meta, "all"), answer(meta, "static")]),
        "models lacks static",
    ),
    "a feature twice": (lambda meta: meta["features"]["all"].append("forks"), "contains a value twice"),
    "an expectation too many": (lambda meta: meta["prototype"]["predicted"]["all"].append(1.0), "another length"),
    "a lone surrogate": (lambda meta: meta.update(version="\ud800"), "version is not a short text"),
    "a text beyond UTF-8": (lambda meta: meta["vocabularies"].update(language=["\ud800"]), "surrogates"),
    "a line separator": (lambda meta: meta.update(version="1\u2028"), "version is not a short text"),
    "a long text": (lambda meta: meta.update(version="1" * 10**6), "version is not a short text"),
    "a trial too few": (lambda meta: meta.update(trials="4"), "trials is not a whole number"),
    "another first answer": (
        lambda meta: meta.update(answer_policies=[answer(meta, "activity")]),
        "first of answer_policies",
    ),
    "an answer twice": (lambda meta: meta.update(answer_policies=[answer(meta, "all")] * 2), "contains a policy twice"),
    "an answer without an error model": (
        lambda meta: meta.update(answer_policies=[answer(meta, "all"), answer(meta, "activity")]),
        "spreads lacks activity",
    ),
}


def answer(meta: Meta, policy: str) -> Meta:
    return {"policy": policy, "intervals": {"levels": [{"missing": 0.0, "intervals": meta["intervals"]}], "fields": {}}}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_one_value_is_refused_with_its_place(meta: Meta, name: str) -> None:
    change, reason = CHANGES[name]
    changed = copy.deepcopy(meta)
    change(changed)

    with pytest.raises(ValueError, match=reason):
        check_star_description(changed)


def test_the_error_of_a_bundle_names_folder_file_and_field(bundle_folder: Path, tmp_path: Path, meta: Meta) -> None:
    for path in bundle_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "bundle.json").write_text(json.dumps({key: meta[key] for key in meta if key != "scores"}))
    write_manifest(tmp_path)

    with pytest.raises(BadBundleError, match=r"bundle\.json is malformed: scores is missing"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b"",
    ],
)
def test_json_of_two_meanings_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(data)

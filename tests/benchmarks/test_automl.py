"""The comparison with AutoML systems reports paired differences, and their environment is locked without a registry."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def automl() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_automl", BENCHMARKS / "automl.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def results(table: str = "t", **rmsle: Sequence[float]) -> list[dict[str, Any]]:
    limits = {"seconds_limit": 60.0, "cores": 1, "policy": "all"}
    return [
        {
            "table": table,
            "system": system,
            "split": split,
            **limits,
            "rows": 9,
            "rmsle": value,
            "r2": 0.5,
            "seconds": 60.0,
        }
        for system, values in rmsle.items()
        for split, value in enumerate(values)
    ]


def test_difference_is_paired_by_split(automl: ModuleType) -> None:
    found = automl.paired_difference(results(stargaze=(0.5, 0.7, 0.9), flaml=(0.6, 0.8, 1.0)), "stargaze", "flaml")

    assert found.mean == pytest.approx(-0.1)
    assert found.error == pytest.approx(0.0, abs=1e-12)


def test_error_is_the_standard_error_of_the_mean_difference(automl: ModuleType) -> None:
    found = automl.paired_difference(results(stargaze=(1.0, 1.0, 1.0), flaml=(1.0, 1.1, 1.2)), "stargaze", "flaml")

    assert found.mean == pytest.approx(-0.1)
    assert found.error == pytest.approx(0.1 / 3**0.5)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [((0.4, 0.5, 0.6), "ahead"), ((0.9, 1.0, 1.1), "behind"), ((0.4, 1.0, 0.7), "equal")],
)
def test_verdict_compares_the_difference_with_its_error(
    automl: ModuleType, ours: tuple[float, ...], verdict: str
) -> None:
    found = automl.paired_difference(results(stargaze=ours, flaml=(0.7, 0.71, 0.69)), "stargaze", "flaml")

    assert found.verdict == verdict


def test_splits_that_only_one_system_has_are_left_out(automl: ModuleType) -> None:
    rows = results(stargaze=(0.5, 0.6, 9.0), flaml=(0.6, 0.7))

    assert automl.paired_difference(rows, "stargaze", "flaml").mean == pytest.approx(-0.1)


def test_one_split_gives_no_difference(automl: ModuleType) -> None:
    assert automl.paired_difference(results(stargaze=(0.5,), flaml=(0.6,)), "stargaze", "flaml") is None


def test_report_is_behind_if_one_table_is(automl: ModuleType) -> None:
    good = results("good", stargaze=(0.5, 0.6), flaml=(0.6, 0.71), autogluon=(0.6, 0.71))
    bad = results("bad", stargaze=(0.5, 0.6), flaml=(0.6, 0.71), autogluon=(0.4, 0.49))

    assert automl.report(good)[1] is False
    text, is_behind = automl.report([*good, *bad])
    assert is_behind
    assert text.count("ahead") == 3
    assert text.count("behind") == 1


def test_report_of_nothing_is_not_behind(automl: ModuleType) -> None:
    assert automl.report([]) == ("", False)


def test_later_result_of_the_same_run_replaces_the_earlier(automl: ModuleType, tmp_path: Path) -> None:
    lines = [*results(stargaze=(0.5, 0.6)), *results(stargaze=(0.4,))]
    file = tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert [result["rmsle"] for result in automl.read_results(file)] == [0.4, 0.6]


def test_lock_file_names_no_host_and_has_a_hash_for_each_package() -> None:
    folder = BENCHMARKS / "rival_environment"
    lock = (folder / "requirements.lock").read_text()
    packages = re.split(r"\n(?=\w)", lock.strip())

    assert len(packages) > 20
    assert all("--hash=sha256:" in package for package in packages)
    assert not re.search(r"https?:|index-url|find-links|\.(com|org|net|io)\b", lock)
    assert not re.search(r"https?:|index-url|find-links", (folder / "requirements.in").read_text())

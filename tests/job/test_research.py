"""Each question of a researcher is answered by commands: the commands of docs/research.md, on a part of the Electron sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import SAMPLE
from tests.job.project import Project

pytestmark = pytest.mark.job
FEATURES = "[features]\nfolds = 3\n"


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tuned project; tests that change it copy it."""
    project = Project(tmp_path_factory.mktemp("study"))
    frame = pd.read_parquet(SAMPLE).iloc[::6]
    frame.to_parquet(project.folder / "table.parquet")
    (project.folder / "stargaze.toml").write_text(FEATURES)
    project.run("fetch", "--from", "table.parquet")
    train(project)
    return project


def train(project: Project, *options: str) -> dict[str, float]:
    """Select, screen and tune; return the scores on the test set."""
    project.run("select-features")
    project.run("screen", "--families", "dummy,ridge,lightgbm")
    tuned = project.run_json("tune", "--trials", "2", *options)
    scores: dict[str, float] = tuned["scores"]["all"]
    return scores


def change(studied: Project, folder: Path, settings: str) -> Project:
    """Return a copy of the project with other settings."""
    project = studied.copy(folder)
    (folder / "stargaze.toml").write_text(FEATURES + settings)
    return project


def test_what_does_the_text_add(studied: Project) -> None:
    rows = studied.run_json("ablate", "--policy", "static", "--without", "text", "--without", "owner", "--seeds", "1")

    whole, text, owner = rows
    assert [row["without"] for row in rows] == ["nothing", "text", "owner"]
    assert text["features"] > 0
    assert text["rmsle"] == pytest.approx(whole["rmsle"] + text["rmsle_change"])
    assert text["rmsle_error"] > 0
    assert text["r2_change"] < 0 < text["rmsle_change"]
    assert {"rmse", "rmse_change", "rmse_error"} <= set(owner)


def test_the_held_out_error_for_100_to_1000_stars_by_language(studied: Project) -> None:
    tables = studied.run_json("report", "--predictions", "predictions.csv")

    frame = pd.read_csv(studied.folder / "predictions.csv")
    chosen = frame[frame["stars"].between(100, 999)]
    error = np.log1p(chosen["predicted"]) - np.log1p(chosen["stars"])
    by_language = (error**2).groupby(chosen["language"].fillna("unknown")).agg(["size", "mean"])
    listed = pd.DataFrame(tables["by_language_and_decade"]).query("decade == '100–999'").set_index("language")
    for language in listed.index.drop("all others", errors="ignore"):
        assert by_language.loc[language, "size"] == listed.loc[language, "repositories"]
        assert np.sqrt(by_language.loc[language, "mean"]) == pytest.approx(listed.loc[language, "rmsle"])
    assert len(listed) > 1
    assert set(frame["set"]) == {"training", "validation", "test"}
    assert len(frame) == frame["full_name"].nunique() == len(pd.read_parquet(studied.store / "repositories.parquet"))
    assert ((frame["low"] <= frame["stars"]) & (frame["stars"] <= frame["high"])).mean() > 0.8
    digest = (studied.store / "bundles" / "latest").read_text().strip()
    assert frame["bundle"].unique().tolist() == [digest]


def test_the_same_without_one_feature(studied: Project, tmp_path: Path) -> None:
    before = json.loads((studied.store / "features.json").read_text())["selected"]["all"]
    removed = "forks" if "forks" in before else before[0]
    project = change(studied, tmp_path, f'exclude = ["{removed}"]\n')

    train(project)
    project.run("report", "--predictions", "without.parquet")

    assert removed not in json.loads((project.store / "features.json").read_text())["selected"]["all"]
    frame = pd.read_parquet(tmp_path / "without.parquet")
    assert len(frame) == len(pd.read_parquet(project.store / "repositories.parquet"))
    (_, row) = studied.run_json("ablate", "--without", removed, "--seeds", "1")
    assert row["features"] == 1


def test_with_one_policy_only(studied: Project, tmp_path: Path) -> None:
    alone = change(studied, tmp_path, 'policies = ["all"]\n')
    (tmp_path / "names.jsonl").write_text('{"full_name": "a/b", "language": "Go"}\n')

    scores = train(alone)

    assert scores["rmsle"] < 1.5
    assert alone.run_json("predict", "--from", "names.jsonl")["policy"] == "all"
    assert [row["policy"] for row in alone.run_json("report")["policies"]] == ["none: the median", "all", "as served"]


def test_on_a_test_list_of_ones_own(studied: Project, tmp_path: Path) -> None:
    names = pd.read_parquet(studied.store / "repositories.parquet")["full_name"].iloc[::9].tolist()
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    project = change(studied, tmp_path, 'test_repositories = "names.txt"\n')

    train(project)
    project.run("report", "--predictions", "p.jsonl")

    frame = pd.read_json(tmp_path / "p.jsonl", lines=True)
    assert sorted(frame.loc[frame["set"] == "test", "full_name"]) == sorted(names)
    marked = project.run("predict", "--from", "store/repositories.parquet", "--output", "all.csv")
    sets = pd.read_csv(tmp_path / "all.csv").set_index("full_name")["set"]
    assert sorted(sets.index[sets == "test"]) == sorted(names)
    assert "predicted" in marked.stdout


def test_rmse_in_stars(studied: Project, tmp_path: Path) -> None:
    project = change(studied, tmp_path, '[tuning]\nmetric = "rmse"\n')
    before = pd.read_parquet(project.store / "held_out.parquet")

    scores = train(project)

    after = pd.read_parquet(project.store / "held_out.parquet")
    assert scores["rmse"] > 0
    assert "rmse" in pd.read_csv(project.store / "leaderboard.csv")
    assert "rmse" in pd.read_parquet(project.store / "trials.parquet")
    # the mean is above the typical count, and its sum is nearer to that of the stars
    total = before["stars"].sum()
    assert after["predicted_all"].sum() > before["predicted_all"].sum()
    assert abs(after["predicted_all"].sum() - total) < abs(before["predicted_all"].sum() - total)
    (prediction,) = project.run_json("predict", str(after["full_name"].iloc[0]))["predictions"]
    explanation = prediction["explanation"]
    product = (explanation["baseline_stars"] + 1) * explanation["other_factors"]
    product *= np.prod([factor["factor"] for factor in explanation["factors"]])
    assert product == pytest.approx(prediction["expected_stars"] + 1)

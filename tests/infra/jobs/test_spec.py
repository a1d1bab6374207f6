"""The inputs, outputs and config of each stage on the cluster."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import (
    Config,
    DeploySection,
    FeaturesSection,
    FetchSection,
    GrowthSection,
    InfraSection,
    ServeSection,
    TuningSection,
    load,
)
from stargaze.infra.jobs.spec import PARTIAL_OUTPUTS, build_spec, list_outputs
from stargaze.store import Store

STORE = Store(Path("store"))
CONFIG = Config(
    infra=InfraSection(provider="static", hosts={"development": "me@10.0.0.4"}, key_file="/home/me/key"),
    deploy=DeploySection(signing_key="/home/me/signer"),
    serve=ServeSection(broker_url="amqp://me@10.0.0.5"),
    fetch=FetchSection(files=["/home/me/records.json"], since="2020-01-01"),
    tuning=TuningSection(on="cluster", trials=7),
)


@pytest.mark.parametrize(
    ("stage", "inputs", "outputs"),
    [
        ("fetch", [], ("star_history.parquet", "repositories.parquet")),
        ("select-features", ["repositories.parquet"], ("selection.csv", "selection.svg", "features.json")),
        ("screen", ["repositories.parquet", "features.json"], ("leaderboard.csv",)),
        (
            "tune",
            ["repositories.parquet", "features.json", "leaderboard.csv"],
            ("trials.parquet", "held_out.parquet", "bundles/latest"),
        ),
    ],
)
def test_each_stage_has_its_inputs_and_outputs(stage: str, inputs: list[str], outputs: Any) -> None:
    spec = build_spec(stage, Config(), STORE)

    assert (list(spec.inputs), list_outputs(stage, "stars"), spec.argv) == (inputs, outputs, (stage,))


def test_a_resumed_tuning_has_its_journal_as_input() -> None:
    assert "trials.jsonl" not in build_spec("tune", Config(), STORE).inputs
    assert "trials.jsonl" in build_spec("tune", Config(), STORE, resume=True).inputs
    assert PARTIAL_OUTPUTS["tune"] == ("trials.jsonl",)


def test_the_config_of_a_job_contains_nothing_of_this_machine() -> None:
    spec = build_spec("tune", CONFIG, STORE)
    job_config = tomllib.loads(spec.config)

    assert "/home/me" not in spec.config
    assert "10.0.0" not in spec.config
    assert job_config["tuning"]["on"] == "local"
    assert (job_config["tuning"]["trials"], job_config["fetch"]["since"]) == (7, "2020-01-01")
    assert job_config["store"]["path"] == "store"


def test_the_list_of_test_repositories_is_sent_with_the_selection() -> None:
    config = Config(features=FeaturesSection(test_repositories="/home/me/my names.txt"))
    spec, other = (build_spec(stage, config, STORE) for stage in ("select-features", "screen"))

    assert spec.inputs["inputs/0/my_names.txt"] == Path("/home/me/my names.txt")
    assert tomllib.loads(spec.config)["features"]["test_repositories"] == "store/inputs/0/my_names.txt"
    assert "/home/me" not in spec.config
    assert list(other.inputs) == ["repositories.parquet", "features.json"]


def test_the_config_of_a_job_can_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "remote.toml").write_text(build_spec("tune", CONFIG, STORE).config)

    assert load(tmp_path / "remote.toml", environ={}).tuning == dataclasses.replace(CONFIG.tuning, on="local")


def test_input_files_keep_their_suffixes() -> None:
    spec = build_spec("fetch", Config(), STORE, files=[Path("/a/my repos.csv.gz"), Path("/b/my repos.csv.gz")])

    assert list(spec.inputs) == ["inputs/0/my_repos.csv.gz", "inputs/1/my_repos.csv.gz"]
    assert spec.argv == (
        "fetch",
        "--from",
        "store/inputs/0/my_repos.csv.gz",
        "--from",
        "store/inputs/1/my_repos.csv.gz",
    )


def test_growth_has_the_star_history_as_input() -> None:
    config = Config(tuning=TuningSection(target="growth"), growth=GrowthSection(history_file="/data/weekly.parquet"))

    spec = build_spec("tune", config, STORE)

    assert spec.inputs == {"inputs/0/weekly.parquet": Path("/data/weekly.parquet")}
    assert tomllib.loads(spec.config)["growth"]["history_file"] == "store/inputs/0/weekly.parquet"
    assert list_outputs("tune", spec.target)[-1] == "bundles/latest-growth"
    gathered = build_spec("tune", Config(tuning=TuningSection(target="growth")), STORE)
    assert gathered.inputs == {"star_history.parquet": STORE.star_history}

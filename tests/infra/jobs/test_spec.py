"""What travels for each stage, and what the config there says."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import (
    Config,
    DeploySection,
    FetchSection,
    GrowthSection,
    InfraSection,
    ServeSection,
    TuningSection,
    load,
)
from stargaze.infra.jobs.spec import errand
from stargaze.store import Store

STORE = Store(Path("store"))
OURS = Config(
    infra=InfraSection(provider="static", hosts={"development": "me@10.0.0.4"}, key_file="/home/me/key"),
    deploy=DeploySection(signing_key="/home/me/signer"),
    serve=ServeSection(broker_url="amqp://me@10.0.0.5"),
    fetch=FetchSection(files=["/home/me/records.json"], since="2020-01-01"),
    tuning=TuningSection(on="cluster", trials=7),
)


@pytest.mark.parametrize(
    ("stage", "sends", "brings"),
    [
        ("fetch", [], ("star_history.parquet", "repositories.parquet")),
        ("select-features", ["repositories.parquet"], ("selection.csv", "selection.svg", "features.json")),
        ("screen", ["repositories.parquet", "features.json"], ("leaderboard.csv",)),
        ("tune", ["repositories.parquet", "features.json", "leaderboard.csv"], ("trials.parquet", "bundles/latest")),
    ],
)
def test_each_stage_takes_what_it_reads_and_brings_what_it_makes(stage: str, sends: list[str], brings: Any) -> None:
    one = errand(stage, Config(), STORE)

    assert (list(one.sends), one.brings, one.words) == (sends, brings, (stage,))


def test_a_tuning_that_goes_on_takes_its_journal_along() -> None:
    assert "trials.jsonl" not in errand("tune", Config(), STORE).sends
    assert "trials.jsonl" in errand("tune", Config(), STORE, resume=True).sends
    assert errand("tune", Config(), STORE).keeps == ("trials.jsonl",)


def test_the_config_there_holds_nothing_of_this_machine() -> None:
    one = errand("tune", OURS, STORE)
    there = tomllib.loads(one.settings)

    assert "/home/me" not in one.settings
    assert "10.0.0" not in one.settings
    assert there["tuning"]["on"] == "local"
    assert (there["tuning"]["trials"], there["fetch"]["since"]) == (7, "2020-01-01")
    assert there["store"]["path"] == "store"


def test_the_config_there_is_one_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "there.toml").write_text(errand("tune", OURS, STORE).settings)

    assert load(tmp_path / "there.toml", environ={}).tuning == dataclasses.replace(OURS.tuning, on="local")


def test_files_of_records_are_given_under_names_that_keep_their_endings() -> None:
    one = errand("fetch", Config(), STORE, files=[Path("/a/my repos.csv.gz"), Path("/b/my repos.csv.gz")])

    assert list(one.sends) == ["given/0/my_repos.csv.gz", "given/1/my_repos.csv.gz"]
    assert one.words == ("fetch", "--from", "store/given/0/my_repos.csv.gz", "--from", "store/given/1/my_repos.csv.gz")


def test_growth_takes_its_histories_along() -> None:
    config = Config(tuning=TuningSection(target="growth"), growth=GrowthSection(history_file="/data/weekly.parquet"))

    one = errand("tune", config, STORE)

    assert one.sends == {"given/0/weekly.parquet": Path("/data/weekly.parquet")}
    assert tomllib.loads(one.settings)["growth"]["history_file"] == "store/given/0/weekly.parquet"
    assert one.brings[-1] == "bundles/latest-growth"
    gathered = errand("tune", Config(tuning=TuningSection(target="growth")), STORE)
    assert gathered.sends == {"star_history.parquet": STORE.star_history}

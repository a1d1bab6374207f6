"""``stargaze predict --from``: one row per record, with a prediction or an error."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve import predict_records
from tests.conftest import Ended

Run = Callable[..., Ended]


@pytest.fixture
def project(run: Run, bundle_folder: Path) -> Path:
    """A folder whose store has the bundle."""
    serving = Path("store") / "serving"
    serving.mkdir(parents=True)
    (serving / "current").symlink_to(bundle_folder)
    return Path.cwd()


@pytest.fixture
def records(loaded_bundle: Bundle, project: Path) -> pd.DataFrame:
    """Records in a file: known ones of each set, an unknown one, a malformed one, and one without values."""
    known = pd.concat([loaded_bundle.known[loaded_bundle.known_sets == name].head(2) for name in ("training", "test")])
    frame = known[["full_name", "stars", "forks", "contributors", "language", "created_at"]].astype("object")
    others = [
        {"full_name": "new/one", "forks": 20, "contributors": 4},
        {"full_name": "no name", "forks": 1},
        {"full_name": "new/empty"},
    ]
    frame = pd.concat([frame, pd.DataFrame(others)], ignore_index=True)
    frame.to_csv(project / "records.csv", index=False)
    return frame


def read_table(name: str) -> pd.DataFrame:
    """Read a written table."""
    if name.endswith(".parquet"):
        return pd.read_parquet(name)
    return pd.read_json(name, lines=True) if name.endswith(".jsonl") else pd.read_csv(name)


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_each_record_has_a_row_in_order(run: Run, records: pd.DataFrame, loaded_bundle: Bundle, name: str) -> None:
    ended = run("predict", "--from", "records.csv", "--output", name, "--json")

    assert ended.code == 0, ended.err
    frame = read_table(name)
    answer = json.loads(ended.out)
    assert (answer["predicted"], answer["refused"], answer["bundle"]) == (6, 1, loaded_bundle.digest)
    assert frame["record"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert frame["set"].fillna("").tolist() == ["training"] * 2 + ["test"] * 2 + [""] * 3
    assert frame["error"].notna().tolist() == [False] * 5 + [True, False]
    assert frame["error"][5] == "full_name is 'no name': not the name of a repository"
    assert (frame["bundle"] == loaded_bundle.digest).all()
    assert frame["stars"].notna().tolist() == [True] * 4 + [False] * 3
    assert frame["policy"].fillna("").tolist() == ["all"] * 5 + ["", "all"]


def test_known_records_are_predicted_as_by_name(run: Run, loaded_bundle: Bundle, project: Path) -> None:
    known = loaded_bundle.known.head(3)
    known.to_parquet("known.parquet")

    ended = run("predict", "--from", "known.parquet", "--json")
    by_name = json.loads(run("predict", "--json", *known["full_name"]).out)["predictions"]

    rows = {row["full_name"]: row for row in map(json.loads, ended.out.splitlines())}
    for prediction in by_name:
        row = rows[prediction["full_name"]]
        assert row["predicted"] == pytest.approx(prediction["expected_stars"])
        assert (row["low"], row["high"]) == (prediction["interval_low"], prediction["interval_high"])
        assert (row["policy"], row["set"]) == (prediction["policy"], prediction["set"])


def test_slices_of_any_size_give_the_same_predictions(
    run: Run, records: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("predict", "--from", "records.csv", "--json").out
    monkeypatch.setattr(predict_records, "ROWS", 2)

    assert run("predict", "--from", "records.csv", "--json").out == whole


def test_the_terminal_has_a_line_per_record_and_names_the_bundle(
    run: Run, records: pd.DataFrame, loaded_bundle: Bundle
) -> None:
    ended = run("predict", "--from", "records.csv")

    lines = ended.out.splitlines()
    assert ended.code == 0
    assert len(lines) == 1 + len(records)
    assert lines[0].split()[0] == "repository"
    assert lines[1].startswith(records["full_name"][0])
    assert lines[1].endswith("training")
    assert "not the name of a repository" in lines[6]
    assert f"predicted 6 records with bundle {loaded_bundle.digest[:12]}, 1 refused" in ended.err


def test_without_any_prediction_the_file_is_not_written(run: Run, project: Path) -> None:
    Path("bad.csv").write_text("full_name\nno name\nneither one\n")

    ended = run("predict", "--from", "bad.csv", "--output", "p.csv")

    assert ended.code == 2
    assert ended.error.startswith("nothing was predicted: bad.csv: record 1: full_name is 'no name'")
    assert not Path("p.csv").exists()


def test_an_excluded_repository_has_an_error(run: Run, records: pd.DataFrame) -> None:
    Path("stargaze.toml").write_text('[serve]\nexclude = ["new/*"]\n')

    rows = [json.loads(line) for line in run("predict", "--from", "records.csv", "--json").out.splitlines()]

    assert [row["error"] is None for row in rows] == [True] * 4 + [False] * 3
    assert all(np.isfinite(row["predicted"]) for row in rows[:4])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["predict"], "no repository is named"),
        (["predict", "a/b", "--from", "x.csv"], "names and --from cannot be combined"),
        (["predict", "a/b", "--output", "x.csv"], "--output needs --from"),
        (["predict", "--from", "x.csv", "--output", "x.txt"], "x.txt: its suffix names no format of a table"),
    ],
)
def test_options_that_do_not_fit_are_refused(run: Run, project: Path, argv: list[str], message: str) -> None:
    ended = run(*argv)

    assert (ended.code, ended.error) == (2, message)


@pytest.mark.parametrize("output", ["records.csv", "link.csv", "./records.csv"])
def test_the_input_is_not_replaced(run: Run, records: pd.DataFrame, output: str) -> None:
    Path("link.csv").symlink_to("records.csv")
    before = Path("records.csv").read_bytes()

    ended = run("predict", "--from", "records.csv", "--output", output)

    assert ended.code == 2
    assert "is also an input" in ended.error
    assert Path("records.csv").read_bytes() == before


def test_no_artifact_of_the_store_is_replaced(run: Run, records: pd.DataFrame) -> None:
    ended = run("predict", "--from", "records.csv", "--output", "store/repositories.parquet")

    assert ended.code == 2
    assert "belongs to the store" in ended.error
    assert not Path("store/repositories.parquet").exists()


@pytest.mark.parametrize(("redirection", "options"), [(">", ()), (">>", ("--json",)), ("| cat >", ())])
def test_the_standard_output_has_only_the_table(
    records: pd.DataFrame, redirection: str, options: tuple[str, ...]
) -> None:
    command = [
        sys.executable,
        "-m",
        "stargaze",
        "predict",
        "--from",
        "records.csv",
        "--output",
        "/dev/stdout",
        *options,
    ]
    Path("out.csv").write_text("" if redirection != ">>" else "before\n")

    ended = subprocess.run(
        ["bash", "-c", f"{shlex.join(command)} {redirection} out.csv"], stderr=subprocess.PIPE, text=True, check=True
    )

    frame = pd.read_csv("out.csv", skiprows=int(redirection == ">>"))
    assert frame["record"].tolist() == list(range(1, 8))
    assert Path("out.csv").read_text().startswith("before" if redirection == ">>" else "file,record")
    assert "predicted 6 records" in ended.stderr

"""The desk on the head: what it takes in and gives out, and the program around it."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.jobs import server as program
from stargaze.infra.jobs.archive import pack, sums, unpack
from stargaze.system.source_package import code_digest
from tests.infra.jobs.conftest import There
from tests.waiting import wait_for

ASKED = {
    "id": "job-1",
    "stage": "tune",
    "began": "2026-03-01T12:00:00+00:00",
    "words": ["tune"],
    "settings": "[tuning]\n",
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "LOOK", 0.01)
    monkeypatch.setattr(program, "ASK", 0.01)


def asked(files: dict[str, Path], **more: Any) -> dict[str, Any]:
    return {**ASKED, "sums": sums(files), "environment": {}, **more}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "repositories.parquet"
    path.write_text("repositories")
    return path


def test_the_desk_says_which_code_is_here_and_what_it_lacks(there: There, file: Path) -> None:
    files = {"repositories.parquet": file}

    assert there.desk.look(sums(files)) == {"code": code_digest(), "job": None, "lacks": ["repositories.parquet"]}
    there.desk.begin(asked(files), io.BytesIO(pack(files)))
    assert there.desk.look(sums(files))["lacks"] == []
    assert there.desk.look({"repositories.parquet": "0"})["lacks"] == ["repositories.parquet"]


def test_the_store_there_holds_what_was_sent_and_nothing_of_a_job_before(there: There, file: Path) -> None:
    for name in ("trials.jsonl", "bundles/latest", "github.sqlite"):
        (there.desk.store / name).parent.mkdir(parents=True, exist_ok=True)
        (there.desk.store / name).write_text("before")
    files = {"repositories.parquet": file}

    there.desk.begin(asked(files), io.BytesIO(pack(files)))

    left = sorted(path.relative_to(there.desk.store).as_posix() for path in there.desk.store.rglob("*"))
    assert left == ["github.sqlite", "repositories.parquet"]  # what GitHub answered is asked for once
    assert (there.desk.folder / "stargaze.toml").read_text() == "[tuning]\n"


def test_a_job_that_lacks_a_file_is_not_begun(there: There, file: Path) -> None:
    with pytest.raises(ExternalError, match="not those that were sent"):
        there.desk.begin(asked({"repositories.parquet": file}), io.BytesIO(pack({})))

    assert there.jobs.known == {}


def test_ray_is_told_of_no_secret(there: There) -> None:
    there.desk.begin(asked({}, environment={"GITHUB_TOKEN": "ghp_secret"}), io.BytesIO(pack({})))

    assert wait_for(lambda: there.secrets) == {"GITHUB_TOKEN": "ghp_secret"}
    assert "ghp_secret" not in there.jobs.commands["job-1"]
    assert "ghp_secret" not in (there.desk.folder / "job.json").read_text()


def test_a_job_that_ray_gives_up_before_it_begins_is_an_error(there: There) -> None:
    there.jobs.work = lambda: None  # it ends and has taken nothing

    with pytest.raises(ExternalError, match="Ray did not begin the job"):
        there.desk.begin(asked({}), io.BytesIO(pack({})))

    assert not there.desk.secrets.exists()


def test_one_job_runs_at_a_time(there: There) -> None:
    there.desk.begin(asked({}), io.BytesIO(pack({})))
    wait_for(lambda: there.jobs.known["job-1"] == "SUCCEEDED")
    there.jobs.known["job-1"] = "RUNNING"

    with pytest.raises(ExternalError, match="tune of this store runs already, since 2026"):
        there.desk.begin(asked({}, id="job-2"), io.BytesIO(pack({})))


def test_what_a_job_tells_is_followed_from_any_place_on(there: There) -> None:
    there.does({"what": "a", "done": 0.1}, {"what": "b", "done": 0.2}, {"ended": 0})
    there.desk.begin(asked({}), io.BytesIO(pack({})))

    whole = [line for line in there.desk.follow(0) if line]

    assert [json.loads(line).get("what") for line in whole] == ["a", "b", None]
    assert [line for line in there.desk.follow(len(whole[0]) + 1) if line] == whole[1:]


def test_a_job_that_died_without_a_word_has_ended_all_the_same(there: There) -> None:
    there.does({"what": "a", "done": 0.1})
    there.desk.begin(asked({}), io.BytesIO(pack({})))

    lines = [json.loads(line) for line in there.desk.follow(0) if line]

    assert lines == [{"what": "a", "done": 0.1}, {"ended": None, "why": ""}]


def test_a_head_that_was_made_anew_knows_no_job(there: There) -> None:
    assert [json.loads(line)["ended"] for line in there.desk.follow(0)] == [None]
    there.desk.stop()


def test_a_quiet_job_is_heard_to_be_alive(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "HEARTBEAT", 0.05)
    there.does()
    there.desk.begin(asked({}), io.BytesIO(pack({})))
    wait_for(lambda: there.jobs.known["job-1"] == "SUCCEEDED")
    there.jobs.known["job-1"] = "RUNNING"
    lines = there.desk.follow(0)

    assert [next(lines), next(lines)] == ["", ""]


def test_stopping_waits_for_the_end(there: There) -> None:
    there.desk.begin(asked({}), io.BytesIO(pack({})))
    wait_for(lambda: there.jobs.known["job-1"] == "SUCCEEDED")
    there.jobs.known["job-1"] = "RUNNING"

    there.desk.stop()

    assert there.jobs.known["job-1"] == "STOPPED"


def test_the_outcome_holds_the_bundle_that_is_named(there: There, tmp_path: Path) -> None:
    digest = "ab" * 32
    there.does(
        {"ended": 0},
        makes={f"bundles/{digest}/model.txt": "m", "bundles/latest": f"{digest}\n", "trials.parquet": "t"},
    )  # fmt: skip
    there.desk.begin(asked({}), io.BytesIO(pack({})))
    wait_for(lambda: there.jobs.known["job-1"] == "SUCCEEDED")

    names = unpack(
        io.BytesIO(there.desk.give(["trials.parquet", "bundles/latest", "selection.csv"])), tmp_path / "here"
    )

    assert names == ["trials.parquet", f"bundles/{digest}/model.txt", "bundles/latest"]


# ---- the program, as ssh calls it ----------------------------------------------------------------------------------


def call(folder: Path, *words: str, stdin: bytes = b"{}") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-m", "stargaze.infra.jobs.server", folder / "errands", folder / "ray.env"]
    return subprocess.run([*command, "http://127.0.0.1:1", *words], input=stdin, capture_output=True, check=False)


@pytest.mark.parametrize("words", [["look"], ["follow", "0"]], ids=" ".join)
def test_an_error_is_a_line_of_json_and_a_code(tmp_path: Path, words: list[str]) -> None:
    done = call(tmp_path, *words)

    told = json.loads(done.stdout)["refused"]
    assert (done.returncode, told["code"], told["hint"]) == (5, 5, "stargaze infra configure --tags ray")
    assert "Ray is not configured here" in told["error"]


def test_the_program_looks_around_and_keeps_others_out(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("good")
    (tmp_path / "ray.env").write_text(f"RAY_AUTH_TOKEN_PATH={tmp_path}/token\n")

    done = call(tmp_path, "look", stdin=b'{"repositories.parquet": "0"}')

    assert json.loads(done.stdout)["lacks"] == ["repositories.parquet"]
    assert stat.S_IMODE((tmp_path / "errands").stat().st_mode) == 0o700
    assert call(tmp_path, "dance").returncode == 2

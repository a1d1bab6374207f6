"""The command line: every error is one line with a hint and an exit code, and existing artifacts stay."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import typing
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.cli import EXAMPLES
from stargaze.config import FeaturesSection
from stargaze.features.selection.select_features import Selection, select_features
from stargaze.serve.prediction.sentence import prediction_sentence
from stargaze.store import Store, lock_store
from tests.conftest import Ended
from tests.isolation import Disposition, copy_module
from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent
HEAVY = ("ray", "lightgbm", "sklearn", "pandas", "numpy", "scipy", "pyarrow", "openstack", "flask", "celery", "kombu")
REQUIRED_ARGUMENTS = {
    "predict": ["a/b"],
    "forecast": ["a/b"],
    "backup": ["backup.tar.gz"],
    "logs": ["web"],
    "scale": ["worker=2"],
    "drill": ["stargaze"],
}
"""The required arguments of commands."""
GOOD = "full_name,stars\na/b,1\nc/d,2\n"


Run = Callable[..., Ended]


@dataclass(frozen=True)
class Selected:
    """A store after ``select-features``, and the selection."""

    root: Path
    selection: Selection


@pytest.fixture(scope="session")
def selected_features(
    tmp_path_factory: pytest.TempPathFactory, make_repositories: Callable[..., pd.DataFrame]
) -> Selected:
    """Select features once for all tests."""
    store = Store(tmp_path_factory.mktemp("selected") / "store")
    store.root.mkdir()
    make_repositories(200).to_parquet(store.repositories)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stargaze.features.selection.permutation_importance.ROUNDS", 20)
        return Selected(store.root, select_features(FeaturesSection(folds=2, importance_repeats=1), store))


@pytest.fixture
def ready_store(run: Run, selected_features: Selected) -> Store:
    """A copy of that store in the empty folder, with a config that makes the next stages fast."""
    shutil.copytree(selected_features.root, "store")
    Path("stargaze.toml").write_text("[features]\nfolds = 2\nimportance_repeats = 1\n")
    return Store(Path("store"))


def state(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder except locks and the records of stages that began."""
    ignored = {".lock", "settings"}
    files = [path for path in folder.rglob("*") if not path.is_dir() and not {path.suffix, path.parent.name} & ignored]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def strict(text: str) -> Any:
    """Parse JSON; fail on NaN and infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


# ---- help and start -----------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_help_imports_nothing_heavy() -> None:
    """Help must start fast: each command imports what it needs itself."""
    program = f"""
import sys
import stargaze.cli
try: stargaze.cli.main(["--help"])
except SystemExit: pass
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"
    assert "select-features" in done.stdout


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", EXAMPLES)
def test_every_command_has_help_with_an_example(run: Run, command: str, flag: str) -> None:
    ended = run(command, flag)

    assert (ended.code, ended.err) == (0, "")
    assert f"Example: {EXAMPLES[command]}" in ended.out
    assert EXAMPLES[command].startswith(f"stargaze {command}")


@pytest.mark.parametrize("name", ["alireza", "bestof", "linus", "ranking"])
def test_the_command_in_an_example_config_works(run: Run, name: str) -> None:
    """The input is a table with the columns that the example maps."""
    example = ROOT / "examples" / f"{name}.toml"
    (line,) = re.findall(r"^# (stargaze .*)$", example.read_text(encoding="utf-8"), re.MULTILINE)
    columns = {"full_name": "full_name", "stars": "stars", **tomllib.loads(example.read_text())["fetch"]["columns"]}
    values = {
        "owner": "ann",
        "name": "tool",
        "full_name": "ann/tool",
        "fetched_at": "2025-05-01",
        "stars": 12,
        "is_fork": 0,
    }
    table = pd.DataFrame({column: [values.get(field)] for field, column in columns.items()})
    file = Path(line.split()[-1])
    table.to_parquet(file) if file.suffix == ".parquet" else table.to_csv(file, index=False)
    shutil.copytree(example.parent, "examples")

    ended = run(*line.split()[1:])

    assert (ended.code, ended.out.splitlines()[0]) == (0, "1 repositories from 1 records"), ended.err


def test_help_names_every_command_and_the_exit_codes(run: Run) -> None:
    ended = run("-h")

    assert re.findall(r"^  ([a-z-]+) ", ended.out.partition("Commands:")[2], re.MULTILINE)[: len(EXAMPLES)] == list(
        EXAMPLES
    )
    assert "130" in ended.out


def test_without_a_command_the_help_is_printed_on_stderr(run: Run) -> None:
    ended = run()

    assert (ended.code, ended.out) == (2, "")
    assert "Commands:" in ended.err


def test_version_is_printed_on_stdout(run: Run) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").out)


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["tun"], "No such command 'tun'. Did you mean 'tune'", "stargaze -h"),
        (["fetch", "--frm", "x"], "No such option: --frm (Possible options: --from)", "stargaze fetch -h"),
        (["tune", "--trials", "many"], "Invalid value for '--trials'", "stargaze tune -h"),
        (["tune", "--trials"], "--trials", "stargaze -h"),
        (["tune", "--trials", "0"], "option: tuning.trials should be from 1 to 100,000", "Configurations to try"),
        (["tune", "--trials", "-3"], "option: tuning.trials should be from 1 to 100,000", "Configurations to try"),
        (["screen", "--max-rows", "-1"], "option: screening.max_rows should be at least 0 [rows]", "Screen on at most"),
        (["screen", "--time-limit", "nan"], "option: screening.time_limit should be at least 1 [s]", "takes longer"),
        (["serve", "--port", "99999"], "option: serve.port should be from 0 to 65,535", "Port to listen on"),
        (["forecast"], "Missing argument", "stargaze forecast -h"),
        (["config", "--store", ""], "option: store.path should not be empty", "Folder of all artifacts"),
        (
            ["config", "--store", "a\0b"],
            "option: store.path should not contain NUL characters",
            "Folder of all artifacts",
        ),
        (["status", "extra"], "extra", "stargaze status -h"),
        (["config", "-c", "."], ".: cannot be read", "stargaze init"),
    ],
)
def test_a_usage_error_is_one_line_and_a_hint(run: Run, argv: list[str], message: str, hint: str) -> None:
    ended = run(*argv)

    assert ended.code == 2
    assert message in ended.error
    assert hint in ended.hint
    assert ended.out == ""


# ---- config -------------------------------------------------------------------------------------------------------


def test_init_writes_the_default_config(run: Run) -> None:
    before = strict(run("config", "--json").out)

    assert run("init").code == 0
    assert strict(run("config", "--json").out) == before
    assert Path("stargaze.toml").read_text(encoding="utf-8") == run("init", "--print").out


def test_init_does_not_overwrite_a_file(run: Run) -> None:
    Path("stargaze.toml").write_text("[serve]\nport = 1\n")

    ended = run("init")

    assert (ended.code, ended.error) == (2, "stargaze.toml already exists")
    assert Path("stargaze.toml").read_text() == "[serve]\nport = 1\n"


def test_options_override_the_environment_which_overrides_the_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("stargaze.toml").write_text("[store]\npath = 'file'\n[serve]\nport = 1\n[tuning]\nseed = 1\n")
    monkeypatch.setenv("STARGAZE_STORE_PATH", "environment")
    monkeypatch.setenv("STARGAZE_SERVE_PORT", "2")

    config = strict(run("config", "--json", "--store", "option").out)

    assert (config["store"]["path"], config["serve"]["port"], config["tuning"]["seed"]) == ("option", 2, 1)


def test_characters_that_the_terminal_cannot_encode_are_escaped(run: Run) -> None:
    ended = run("config", "--store", "\udcff")

    assert ended.code == 0
    assert "\\udcff" in ended.out


@pytest.mark.parametrize("command", [name for name in EXAMPLES if name != "init"])
def test_every_command_rejects_an_unknown_key(run: Run, command: str) -> None:
    Path("stargaze.toml").write_text("[tuning]\ntrails = 9\n")

    ended = run(command, *REQUIRED_ARGUMENTS.get(command, []))

    assert ended.code == 2
    assert ended.error == "stargaze.toml: tuning.trails is not a key"
    assert ended.hint == "Did you mean tuning.trials?"


@pytest.mark.parametrize("command", [name for name in EXAMPLES if name != "init"])
def test_every_command_reads_the_config_file_of_its_option(run: Run, command: str) -> None:
    ended = run(command, *REQUIRED_ARGUMENTS.get(command, []), "-c", "gone.toml")

    assert (ended.code, ended.error) == (3, "gone.toml: no such config file")


# ---- fetch --------------------------------------------------------------------------------------------------------

REST = {"id": 1, "full_name": "a/b", "stargazers_count": 1, "updated_at": "2024-01-01T00:00:00Z"}


def csv(line: str) -> bytes:
    """Return a table with every relevant column and one row."""
    return b"full_name,stars,forks,created_at,fetched_at\n" + line.encode() + b"\n"


BAD_FILES = {
    "not there": (None, 3, "no such file"),
    "empty": (b"", 2, "is empty"),
    "blank": (b" \n\n", 2, "is empty"),
    "zeros": (bytes(1000), 2, "neither text nor Parquet"),
    "web page": (b"<!DOCTYPE html><html>", 2, "is a web page"),
    "zip": (b"PK\x03\x04" + bytes(100), 2, "zip archive"),
    "truncated gzip": (gzip.compress(json.dumps([REST] * 1000).encode())[:-20], 2, "broken gzip"),
    "damaged gzip": (gzip.compress(b"full_name,stars\n")[:-8] + b"12345678", 2, "broken gzip"),
    "truncated json": (json.dumps([REST])[:-5].encode(), 2, ""),
    "json of something else": (b'{"name": "a", "price": 3}', 2, ""),
    "json number": (b"[1, 2, 3]", 2, ""),
    "deep json": (b"[" * 100_000, 2, ""),
    "truncated parquet": (b"PAR1" + bytes(50), 2, ""),
    "no needed column": (b"repo,star_count\na/b,1\n", 2, "stars"),
    "only a header": (b"full_name,stars\n", 2, "no record"),
    "negative stars": (csv("a/b,-1,0,2020-01-01,2021-01-01"), 2, "stars is '-1': a count cannot be negative"),
    "absurd stars": (csv("a/b,99999999999,0,2020-01-01,2021-01-01"), 2, "larger than any on GitHub"),
    "infinite stars": (csv("a/b,inf,0,2020-01-01,2021-01-01"), 2, "not a whole number"),
    "half a star": (csv("a/b,1.5,0,2020-01-01,2021-01-01"), 2, "not a whole number"),
    "stars in words": (csv("a/b,many,0,2020-01-01,2021-01-01"), 2, "not a whole number"),
    "no stars": (csv("a/b,,0,2020-01-01,2021-01-01"), 2, "stars is missing"),
    "path as name": (csv("../etc,1,0,2020-01-01,2021-01-01"), 2, "not the name of a repository"),
    "endless name": (csv(f"{'a' * 10_000},1,0,2020-01-01,2021-01-01"), 2, "10,000 characters"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("case", BAD_FILES)
def test_an_error_names_the_bad_file_and_the_repositories_stay(run: Run, case: str) -> None:
    content, code, message = BAD_FILES[case]
    Path("good.csv").write_text(GOOD)
    run("fetch", "good.csv")
    before = state(Path("store"))
    if content is not None:
        Path("bad.csv").write_bytes(content)

    ended = run("fetch", "--from", "bad.csv")

    assert ended.code == code
    assert "bad.csv" in ended.error
    assert message in ended.error
    assert state(Path("store")) == before


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("since = '2023-13-01'", "fetch.since should be a day, not '2023-13-01'"),
        ("since = 2023", "fetch.since should be text [date], not 2023"),
        ("columns = {strs = 'x'}", "strs"),
        ("columns = {stars = 'star_count'}", "star_count"),
        ("since = '2999-01-01'", "no record was fetched since 2999-01-01"),
    ],
)
def test_an_invalid_mapping_or_date_is_named_and_the_repositories_stay(run: Run, section: str, message: str) -> None:
    Path("good.csv").write_text(GOOD)
    run("fetch", "good.csv")
    before = state(Path("store"))
    Path("stargaze.toml").write_text(f"[fetch]\n{section}\n")

    ended = run("fetch", "good.csv")

    assert ended.code == 2
    assert message in ended.error
    assert state(Path("store")) == before


def test_fetch_prints_a_summary_and_the_next_command(run: Run) -> None:
    Path("good.csv").write_text(GOOD)

    ended = run("fetch", "good.csv")

    assert (ended.code, ended.out) == (0, "2 repositories from 2 records\n")
    assert ended.err.splitlines()[-1] == "next: stargaze select-features"


# ---- order of the stages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["select-features"], "store/repositories.parquet does not exist yet", "stargaze fetch"),
        (["screen"], "store/features.json does not exist yet", "stargaze select-features"),
        (["tune"], "store/features.json does not exist yet", "stargaze select-features"),
        (["report"], "store/features.json does not exist yet", "stargaze select-features"),
        (["tune", "--resume"], "store/features.json does not exist yet", "stargaze select-features"),
        (["deploy"], "store/bundles: there is no bundle yet", "stargaze tune"),
        (["deploy", "abc"], "there is no bundle 'abc'", "stargaze tune"),
        (["deploy", "../../etc"], "there is no bundle '../../etc'", "stargaze tune"),
        (["rollback"], "there is no release to roll back to", "stargaze deploy"),
        (["serve"], "no release is deployed yet", "stargaze deploy"),
        (["predict", "a/b"], "there is no bundle below store yet", "stargaze run"),
    ],
)
def test_a_stage_without_its_input_names_the_command_that_creates_it(
    run: Run, argv: list[str], message: str, hint: str
) -> None:
    ended = run(*argv)

    assert ended.code == 3
    assert message in ended.error
    assert ended.hint.startswith(hint)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["tune"], "store/leaderboard.csv does not exist yet", "stargaze screen"),
        (["report"], "store/leaderboard.csv does not exist yet", "stargaze screen"),
        (["deploy"], "store/bundles: there is no bundle yet", "stargaze tune"),
        (["serve"], "no release is deployed yet", "stargaze deploy"),
        (["screen", "--families", "lightgmb"], "lightgmb: no such family", "Did you mean lightgbm?"),
    ],
)
def test_after_select_features_the_next_step_is_screen(
    run: Run, ready_store: Store, argv: list[str], message: str, hint: str
) -> None:
    before = state(ready_store.root)

    ended = run(*argv)

    assert ended.code in (2, 3)
    assert message in ended.error
    assert ended.hint.startswith(hint)
    assert before.items() <= state(ready_store.root).items()


@pytest.mark.parametrize("command", ["screen", "tune"])
def test_a_feature_set_of_other_repositories_is_rejected(
    run: Run, ready_store: Store, command: str, make_repositories: Callable[..., pd.DataFrame]
) -> None:
    make_repositories(200, seed=1).to_parquet(ready_store.repositories)
    before = state(ready_store.root)

    ended = run(command)

    assert ended.code == 3
    assert ended.error == "store/features.json was created from other repositories than store/repositories.parquet"
    assert ended.hint == "stargaze select-features"
    assert state(ready_store.root) == before


BAD_FEATURES = {
    "empty": "",
    "broken": '{"selected": {"st',
    "list": "[1]",
    "text": '"x"',
    "other version": '{"selected": {}}',
    "policy missing": {"selected": {"all": ["forks"]}},
    "unknown feature": {"selected": {"static": ["gone"], "activity": ["gone"], "all": ["gone"]}},
    "no list of names": {"selected": {"static": 1, "activity": 2, "all": 3}},
    "split of another shape": {"split": {"folds": "five"}},
    "split is no table": {"split": 7},
    "no vocabularies": {"vocabularies": 3},
}


@pytest.mark.parametrize("command", ["screen", "tune"])
@pytest.mark.parametrize("case", BAD_FEATURES)
def test_an_invalid_feature_set_is_one_line(run: Run, ready_store: Store, case: str, command: str) -> None:
    content = BAD_FEATURES[case]
    if isinstance(content, dict):
        description = json.loads(ready_store.features.read_text())
        changed = {
            name: {**description[name], **value} if name == "split" and isinstance(value, dict) else value
            for name, value in content.items()
        }
        content = json.dumps(description | changed)
    ready_store.features.write_text(content)
    before = state(ready_store.root)

    ended = run(command)

    assert ended.code == 5
    assert "store/features.json" in ended.error
    assert ended.hint.startswith("stargaze select-features")
    assert state(ready_store.root) == before


@pytest.mark.parametrize("content", [b"", b"PAR1", b"full_name,stars\na/b,1\n", b"PAR1" + bytes(1000) + b"PAR1"])
@pytest.mark.parametrize("command", ["select-features", "screen"])
def test_unreadable_repositories_are_one_line(run: Run, ready_store: Store, content: bytes, command: str) -> None:
    ready_store.repositories.write_bytes(content)
    before = state(ready_store.root)

    ended = run(command)

    assert ended.code == 5
    assert ended.error.startswith("store/repositories.parquet: cannot be read")
    assert ended.hint == "stargaze fetch creates it again"
    assert state(ready_store.root) == before


@pytest.mark.parametrize("column", [["x"] * 200, [[1]] * 200, [b"\xff"] * 200, [{"a": 1}] * 200])
def test_repositories_with_a_wrong_column_type_are_one_line(
    run: Run, ready_store: Store, column: list[object], make_repositories: Callable[..., pd.DataFrame]
) -> None:
    make_repositories(200).assign(forks=column).to_parquet(ready_store.repositories)

    ended = run("select-features")

    assert ended.code == 5
    assert ended.error.startswith("store/repositories.parquet: cannot be read")


def test_too_few_repositories_are_one_line(run: Run) -> None:
    Path("good.csv").write_text(GOOD)
    run("fetch", "good.csv")

    ended = run("select-features")

    assert ended.code == 3
    assert "2 repositories are too few" in ended.error
    assert "fetch more" in ended.hint


def test_status_lists_artifacts_and_the_commands_for_missing_ones(run: Run, ready_store: Store) -> None:
    rows = {row["artifact"]: row["contents"] for row in strict(run("status", "--json").out)}

    assert rows["repositories"] == "200 repositories"
    assert "features" in rows["feature set"]
    assert rows["leaderboard"] == "missing: stargaze screen"
    assert rows["release"] == "missing: stargaze deploy"


# ---- bundles, releases, the page ----------------------------------------------------------------------------------


@pytest.fixture
def project_bundle(run: Run, bundle_folder: Path) -> Path:
    """The folder of a bundle in the store that is not deployed."""
    store = Store(Path("store"))
    folder = store.bundles / bundle_folder.name
    shutil.copytree(bundle_folder, folder)
    store.latest.write_text(f"{folder.name}\n")
    return folder


def change(folder: Path, kind: str) -> None:
    """Make a bundle differ from its manifest."""
    model = next(folder.glob("model-*"))
    if kind == "a changed byte":
        model.write_bytes(model.read_bytes()[:-1] + b"X")
    elif kind == "a longer file":
        model.write_bytes(model.read_bytes() + b"X")
    elif kind == "a missing file":
        model.unlink()
    elif kind == "a file too many":
        (folder / "more.pkl").write_bytes(b"x")
    elif kind == "a broken manifest":
        (folder / "manifest.json").write_text("{")
    elif kind == "a missing manifest":
        (folder / "manifest.json").unlink()
    else:
        model.symlink_to(model.rename(folder.parent / "elsewhere").resolve())


CHANGES = ["a changed byte", "a longer file", "a missing file", "a file too many", "a broken manifest"]
CHANGES += ["a missing manifest", "a link"]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("argv", [["deploy"], ["predict", "a/b"], ["serve", "--port", "0"]])
def test_a_bundle_that_differs_from_its_manifest_is_rejected(
    run: Run, project_bundle: Path, argv: list[str], kind: str
) -> None:
    store = Store(Path("store"))
    if argv[0] != "deploy":
        store.serving.mkdir()
        store.current.symlink_to(project_bundle.resolve())
    change(project_bundle, kind)
    before = state(store.root)

    ended = run(*argv)

    assert ended.code == 5
    assert project_bundle.name in ended.error
    assert "stargaze tune" in ended.hint
    assert before.items() <= state(store.root).items()


def test_a_missing_latest_bundle_is_one_line(run: Run, project_bundle: Path) -> None:
    Store(Path("store")).latest.write_text("0" * 64)

    assert run("deploy").code == 3
    assert run("predict", "a/b").error


def test_a_port_in_use_is_one_line_that_suggests_another_port(run: Run, project_bundle: Path) -> None:
    store = Store(Path("store"))
    store.serving.mkdir()
    store.current.symlink_to(project_bundle.resolve())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        ended = run("serve", "--port", str(port))

    assert ended.code == 2
    assert ended.error == f"port {port} on 127.0.0.1 is in use"
    assert ended.hint.startswith("stargaze serve --port ")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("../etc", 2, "'../etc' is not the name of a repository"),
        ("a" * 10_000, 2, "(10,000 characters) is too long"),
        ("a/" + "b" * 200, 2, "is not the name of a repository"),
        ("https://gitlab.com/a/b", 2, "is not on github.com"),
        ("https://github.com.evil.org/a/b", 2, "is not on github.com"),
        ("file:///etc/passwd", 2, "is not on github.com"),
        ("https://github.com/../../etc", 2, "is not the name of a repository"),
        ("a/b\nc", 2, "is not the name of a repository"),
        ("\x1b[2J/b", 2, "is not the name of a repository"),
        ("", 2, "'' is not the name of a repository"),
        ("nobody/has-this", 3, "nobody/has-this: not among the 2,000 known repositories"),
    ],
)
def test_an_invalid_or_unknown_repository_is_one_line(
    run: Run, project_bundle: Path, name: str, code: int, message: str
) -> None:
    ended = run("predict", name)

    assert ended.code == code
    assert message in ended.error
    assert ended.hint


def test_a_similar_repository_name_is_suggested(run: Run, project_bundle: Path, sample: pd.DataFrame) -> None:
    name = sample["full_name"].iloc[0]

    assert run("predict", f"another/{name.partition('/')[2]}").hint == f"Did you mean {name}?"


def test_predict_prints_sentences_and_json(run: Run, project_bundle: Path, sample: pd.DataFrame) -> None:
    names = sample["full_name"].iloc[:2].tolist()

    people, programs = run("predict", *names), run("predict", "--json", *names)

    assert people.code == programs.code == 0
    answer = strict(programs.out)
    assert {prediction["full_name"] for prediction in answer["predictions"]} == set(names)
    sentences = [line for line in people.out.splitlines() if not line.startswith("  ")]
    assert sentences[:-1] == [prediction_sentence(prediction) for prediction in answer["predictions"]]
    assert sentences[-1] == f"bundle {answer['digest'][:12]}"
    assert people.out.splitlines()[1].startswith("  ")


def test_predict_answers_the_other_repositories_of_an_unknown_name(
    run: Run, project_bundle: Path, sample: pd.DataFrame
) -> None:
    name = sample["full_name"].iloc[0]

    ended = run("predict", "nobody/has-this", name)

    assert ended.code == 0
    assert ended.out.startswith(f"{name}: about ")
    assert "nobody/has-this: not among the 2,000 known repositories" in ended.error


# ---- a full disk --------------------------------------------------------------------------------------------------

SmallDisk = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def selecting_quickly(monkeypatch: pytest.MonkeyPatch, selected_features: Selected) -> None:
    """Replace the computation of ``select-features`` by its earlier result, so that it only writes."""
    other = dataclasses.replace(selected_features.selection.feature_set, scores={})
    selection = Selection(other, selected_features.selection.reasons.iloc[::-1])
    picture = (selected_features.root / "selection.svg").read_bytes()
    monkeypatch.setattr("stargaze.features.selection.select_features.select", lambda *_arguments: selection)
    monkeypatch.setattr(
        "stargaze.features.selection.select_features.draw_selection", lambda _reasons, path: path.write_bytes(picture)
    )


@pytest.mark.parametrize(
    ("command", "size"),
    [
        ("fetch", 1000),
        ("select-features", 500),
        ("select-features", 20_000),
        ("screen", 500),
    ],
)
def test_a_full_disk_is_one_line_and_existing_artifacts_stay(
    run: Run, ready_store: Store, small_disk: SmallDisk, selecting_quickly: None, command: str, size: int
) -> None:
    """The kernel's file size limit makes the first or the second write fail."""
    before = state(ready_store.root)

    with small_disk(size):
        ended = run(command)

    assert ended.code == 5
    assert "the disk is full; the previous contents are unchanged" in ended.error
    assert "df -h" in ended.hint
    assert state(ready_store.root) == before


def test_a_full_disk_leaves_no_partial_config(run: Run, small_disk: SmallDisk) -> None:
    with small_disk(100):
        ended = run("init")

    assert ended.code == 5
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("store", ["good.csv", "good.csv/below", "/dev/null/x", "n" * 300])
def test_an_invalid_store_path_is_one_line(run: Run, store: str) -> None:
    Path("good.csv").write_text(GOOD)

    ended = run("fetch", "good.csv", "--store", store)

    assert ended.code == 5
    assert "cannot be written" in ended.error
    assert Path("good.csv").read_text() == GOOD


# ---- Ctrl-C -------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_ctrl_c_during_fetch_keeps_the_repositories(run: Run) -> None:
    """Send a real signal to a real process as soon as it reports that it reads."""
    Path("good.csv").write_text(GOOD)
    run("fetch", "good.csv")
    before = state(Path("store"))
    folder = Path("many")
    folder.mkdir()
    for place in range(1500):
        (folder / f"{place}.json").write_text(json.dumps({**REST, "id": place + 1, "full_name": f"a/b{place}"}))

    process = subprocess.Popen(
        [sys.executable, "-m", "stargaze", "fetch", *map(str, folder.iterdir())],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    first = typing.cast("typing.IO[str]", process.stderr).readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert first.startswith("fetch:   0% reading")
    assert process.returncode == 130
    assert (out, err.splitlines()) == (
        "",
        [
            "interrupted: finished work is kept",
            "hint:  stargaze fetch starts this step again; cached responses of GitHub are not requested again",
        ],
    )
    assert state(Path("store")) == before


@pytest.mark.thorough
@pytest.mark.parametrize("moment", [0, 2])
def test_ctrl_c_during_select_features_keeps_the_feature_set(
    run: Run, ready_store: Store, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The signal arrives at the first or the third progress report."""
    before = state(ready_store.root)
    interrupt_at(monkeypatch, moment)

    ended = run("select-features")

    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "hint:  stargaze select-features starts this step again"
    assert state(ready_store.root) == before


@pytest.mark.real
def test_ctrl_c_during_screen_terminates_its_processes_and_keeps_all_artifacts(
    run: Run, ready_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stargaze.tuning.executors import process_executor

    before = state(ready_store.root)
    started: list[process_executor.FamilyProcess] = []
    start = process_executor.FamilyProcess
    monkeypatch.setattr(process_executor, "FamilyProcess", lambda job: started.append(start(job)) or started[-1])
    monkeypatch.setenv("STARGAZE_SCREENING_MAX_CONCURRENT", "2")
    monkeypatch.setattr("stargaze.tuning.screen.time", copy_module(time, sleep=interrupting(0)))

    ended = run("screen")

    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "hint:  stargaze screen starts this step again"
    assert [process.has_ended() for process in started] == [True, True]
    assert state(ready_store.root) == before


@pytest.mark.parametrize("command", ["fetch", "select-features", "screen", "tune", "run"])
def test_a_second_command_in_a_store_is_rejected(run: Run, ready_store: Store, command: str) -> None:
    before = state(ready_store.root)

    with lock_store(ready_store):
        ended = run(command)

    assert (ended.code, ended.hint) == (5, "wait for it, or stargaze status")
    assert ended.error == f"store: another command is using this store (process {os.getpid()})"
    assert state(ready_store.root) == before


@pytest.mark.real
@pytest.mark.parametrize(
    ("number", "code", "remaining"), [(signal.SIGTERM, 143, 0), (signal.SIGHUP, 129, 0), (signal.SIGKILL, -9, 1)]
)
def test_no_process_of_screen_survives_its_end(
    run: Run, ready_store: Store, number: signal.Signals, code: int, remaining: int, disposition: Disposition
) -> None:
    """SIGTERM, SIGHUP and SIGKILL; only the last leaves the temporary folder behind."""
    disposition(signal.SIGHUP, signal.SIG_DFL)  # the process inherits it, even if nohup started the tests
    process = subprocess.Popen([sys.executable, "-m", "stargaze", "screen"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any("run_family" in line for line in command_lines(ready_store).values()))
    started = command_lines(ready_store)

    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, "Traceback" in err) == (code, False)
    wait_for(lambda: not started.keys() & command_lines(ready_store).keys())
    assert len(list(ready_store.root.glob(".screen-*"))) == remaining


def command_lines(store: Store) -> dict[int, str]:
    """Return the process ids of the screening processes of this test."""
    lines = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cwd").resolve() == store.root.resolve().parent:
                lines[int(folder.name)] = (folder / "cmdline").read_text()
    return {number: line for number, line in lines.items() if "stargaze.tuning" in line}


@pytest.mark.parametrize(
    ("command", "of", "hint"),
    [
        ("tune", "stargaze.tuning.tune.read_dataset_and_features", "hint:  stargaze tune starts this step again"),
        ("run", "stargaze.pipeline.run.build_stages", "hint:  stargaze run continues"),
    ],
)
def test_ctrl_c_prints_how_to_continue(
    run: Run, ready_store: Store, monkeypatch: pytest.MonkeyPatch, command: str, of: str, hint: str
) -> None:
    interrupt_at(monkeypatch, 0, of=of)

    ended = run(command)

    assert (ended.code, ended.err.splitlines()[-1]) == (130, hint)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, moment: int, of: str = "stargaze.output._lines") -> None:
    """Send this process a real SIGINT when a function, or what it returns, is called."""
    called = interrupting(moment)
    monkeypatch.setattr(of, called if "_lines" not in of else lambda _name: called)


def interrupting(moment: int) -> Callable[..., None]:
    """Return a function that sends this process a real SIGINT at its n-th call."""
    calls = itertools.count()

    def interrupt(*_arguments: Any) -> None:
        if next(calls) == moment:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


# ---- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [["config"], ["status"], ["releases"], ["fetch", "good.csv"], ["select-features"]], ids=" ".join
)
def test_json_output_contains_nothing_else(
    run: Run, ready_store: Store, selecting_quickly: None, argv: list[str]
) -> None:
    Path("good.csv").write_text(GOOD)

    ended = run(*argv, "--json")

    assert ended.code == 0
    assert strict(ended.out) is not None

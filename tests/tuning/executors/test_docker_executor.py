"""The docker commands of a screening, recorded by a fake engine; the integration tests use a real one."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from stargaze.config import POLICIES, ScreeningSection
from stargaze.errors import ExternalError, UsageError
from stargaze.system.docker import DockerEngine, EngineCapacity
from stargaze.system.source_package import PACKAGE, build_context, digest_files, pack_tar
from stargaze.tuning.executors.docker_executor import (
    ContainerSpec,
    FamilyContainer,
    containers_that_fit,
    data_container_arguments,
    docker_executor,
    extract_files,
    remove_labeled,
    run_arguments,
    store_id,
)
from stargaze.tuning.executors.executor import FamilyJob

SPEC = ContainerSpec("stargaze:1", "abc", cpus=1.5, memory=2.0, time_limit=100.0)
Answer = tuple[int, bytes]


class FakeEngine(DockerEngine):
    """Returns prepared answers by the first words of a command, success without output by default; records all commands."""

    def __init__(self, answers: dict[str, Answer] | None = None) -> None:
        super().__init__()
        self.answers = answers or {}
        self.commands: list[list[str]] = []
        self.inputs: list[bytes] = []

    def try_run(
        self, arguments: Sequence[str], stdin: bytes = b"", seconds: float = 0.0
    ) -> subprocess.CompletedProcess[bytes]:
        self.commands.append(list(arguments))
        if stdin:
            self.inputs.append(stdin)
        line = " ".join(arguments)
        code, out = next((answer for start, answer in self.answers.items() if line.startswith(start)), (0, b""))
        return subprocess.CompletedProcess(list(arguments), code, out, b"" if code == 0 else b"refused")

    def start(self, arguments: Sequence[str], log: BinaryIO) -> subprocess.Popen[bytes]:
        self.commands.append(list(arguments))
        log.write(b"first\nlast\n")
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], start_new_session=True)

    def lines(self) -> list[str]:
        """Return the commands, one line each."""
        return [" ".join(arguments) for arguments in self.commands]


INFO = {"info": (0, json.dumps({"NCPU": 4, "MemTotal": 8_000_000_000}).encode())}


@pytest.fixture
def job(tmp_path: Path) -> FamilyJob:
    folder = tmp_path / "store" / ".screen-x"
    folder.mkdir(parents=True)
    for policy in POLICIES:
        (folder / f"{policy}.npz").write_bytes(policy.encode())
    return FamilyJob("ridge", folder, rows=10, seed=7, policies=POLICIES)


def test_a_family_has_limits_its_data_and_nothing_of_this_machine(job: FamilyJob) -> None:
    argv = run_arguments(SPEC, job)

    bounds = {"--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--cpus=1.5"}
    assert bounds | {"--memory=2000000000b", "--memory-swap=2000000000b", "--user=10001:10001"} <= set(argv)
    mounts = [word for word in argv if word.startswith("--mount")]
    assert all("type=volume" in mount for mount in mounts)
    assert ["readonly" in mount for mount in mounts] == [True, False]
    assert str(job.folder) not in " ".join(argv)
    assert not {"--volume", "-v", "--privileged"} & set(argv)
    program = ["-m", "stargaze.tuning.executors.run_family", "ridge", "/data", "/results"]
    assert argv[-9:] == [*program, "7", "all", "activity", "static"]


def test_the_kernel_limits_the_cpu_time(job: FamilyJob) -> None:
    """This machine may fail meanwhile."""
    assert "--ulimit=cpu=240" in run_arguments(SPEC, job)


def test_everything_has_the_label_of_its_store(job: FamilyJob) -> None:
    assert f"--label={SPEC.label}" in run_arguments(SPEC, job)
    assert f"--label={SPEC.label}" in data_container_arguments(SPEC)
    assert all(
        f"volume-label={SPEC.label}" in " ".join(argv)
        for argv in (run_arguments(SPEC, job), data_container_arguments(SPEC))
    )


def test_stores_have_different_ids(tmp_path: Path) -> None:
    assert store_id(tmp_path / "a") == store_id(tmp_path / "b" / ".." / "a")
    assert store_id(tmp_path / "a") != store_id(tmp_path / "b")


@pytest.mark.parametrize(
    ("cpus", "memory", "at_once"), [(1.0, 2.0, 4), (2.0, 2.0, 2), (0.5, 1.0, 8), (1.0, 5.0, 1), (4.0, 8.0, 1)]
)
def test_the_engine_runs_as_many_containers_as_fit(cpus: float, memory: float, at_once: int) -> None:
    assert containers_that_fit(EngineCapacity(4, 8_000_000_000), ScreeningSection(cpus=cpus, memory=memory)) == at_once


@pytest.mark.parametrize(
    ("cpus", "memory", "message"),
    [
        (5.0, 1.0, "screening.cpus is 5: the engine has 4"),
        (1.0, 9.0, r"screening.memory is 9 GB: the engine has 8\.0"),
    ],
)
def test_a_container_that_does_not_fit_is_rejected(cpus: float, memory: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        containers_that_fit(EngineCapacity(4, 8_000_000_000), ScreeningSection(cpus=cpus, memory=memory))


def test_the_data_are_copied_once_as_read_only_files(job: FamilyJob) -> None:
    engine = FakeEngine(INFO)

    with docker_executor(ScreeningSection(), job.folder, ["ridge"], print, engine) as executor:
        assert executor.max_concurrent == 4

    with tarfile.open(fileobj=io.BytesIO(engine.inputs[-1])) as archive:
        assert {item.name: item.mode for item in archive} == {f"{policy}.npz": 0o444 for policy in POLICIES}
    assert sum(line.startswith("cp -") for line in engine.lines()) == 1


def test_leftovers_are_removed_before_and_after_also_on_failure(job: FamilyJob) -> None:
    engine = FakeEngine(INFO | {"ps": (0, b"left-over\n"), "volume ls": (0, b"its-volume\n")})

    with pytest.raises(KeyboardInterrupt), docker_executor(ScreeningSection(), job.folder, ["ridge"], print, engine):
        raise KeyboardInterrupt

    lines = engine.lines()
    removals = [place for place, line in enumerate(lines) if line == "rm --force --volumes left-over"]
    created = next(place for place, line in enumerate(lines) if line.startswith("create"))
    assert len(removals) == 2
    assert removals[0] < created < removals[1]
    assert lines[-1] == "volume rm --force its-volume"


def test_only_labeled_objects_are_removed() -> None:
    engine = FakeEngine()

    remove_labeled(engine, "stargaze.store=abc")

    assert engine.lines() == [
        "ps --all --quiet --no-trunc --filter=label=stargaze.store=abc",
        "volume ls --quiet --filter=label=stargaze.store=abc",
    ]


def test_an_existing_image_is_not_built(job: FamilyJob) -> None:
    engine, messages = FakeEngine(INFO), list[str]()

    with docker_executor(ScreeningSection(), job.folder, ["ridge"], messages.append, engine):
        pass

    assert not [line for line in engine.lines() if line.startswith("build")]
    assert messages == []


def test_a_missing_image_is_built_from_dockerfile_lock_file_and_source(job: FamilyJob) -> None:
    engine, messages = FakeEngine(INFO | {"image inspect": (1, b"")}), list[str]()
    section = ScreeningSection(base_image="mirror/python:3.12", build_options=["--network=host"])

    with docker_executor(section, job.folder, ["ridge"], messages.append, engine):
        pass

    built = next(argv for argv in engine.commands if argv[0] == "build")
    assert {"--build-arg=BASE=mirror/python:3.12", "--network=host", "--force-rm"} <= set(built)
    assert built[-1] == "-"
    with tarfile.open(fileobj=io.BytesIO(engine.inputs[0])) as archive:
        assert {"Dockerfile", "requirements.lock", "stargaze/cli.py"} <= set(archive.getnames())
    assert len(messages) == 1
    assert "building the image stargaze:" in messages[0]


def test_a_failed_build_shows_the_end_of_the_log(job: FamilyJob) -> None:
    log = "\n".join(f"step {number}" for number in range(100)).encode()
    engine = FakeEngine(INFO | {"image inspect": (1, b""), "build": (1, log)})

    with (
        pytest.raises(ExternalError) as raised,
        docker_executor(ScreeningSection(), job.folder, ["ridge"], print, engine),
    ):
        pass

    assert "step 99" in raised.value.message
    assert "step 50" not in raised.value.message


def test_the_image_name_depends_on_its_content() -> None:
    files = build_context("requirements.lock")

    assert digest_files(files, "a") == digest_files(dict(reversed(files.items())), "a")
    assert digest_files(files, "a") != digest_files(files, "b")
    assert digest_files(files, "a") != digest_files(files, "a", "--platform=linux/arm64")
    assert digest_files({**files, "stargaze/cli.py": b""}, "a") != digest_files(files, "a")
    assert build_context("requirements-optional.lock")["requirements.lock"] != files["requirements.lock"]
    assert not [name for name in files if "__pycache__" in name]


def test_the_dockerfile_names_no_registry_and_runs_as_nobody() -> None:
    lines = build_context("requirements.lock")["Dockerfile"].decode().splitlines()

    froms = [line for line in lines if line.startswith("FROM")]
    assert all(line.split()[1] in ("${BASE}", "app") for line in froms)
    assert "USER 10001:10001" in lines
    assert not [line for line in lines if "://" in line]
    assert PACKAGE.name == "stargaze"


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"OOMKilled": True, "ExitCode": 137}, "out of memory (limit 2 GB)"),
        ({"OOMKilled": False, "ExitCode": 137}, "last"),
        ({"OOMKilled": False, "ExitCode": 1}, "last"),
    ],
)
def test_the_failure_reason_of_a_container(job: FamilyJob, state: dict[str, object], complaint: str) -> None:
    engine = FakeEngine({"inspect": (0, json.dumps(state).encode())})
    container = FamilyContainer(engine, SPEC, job)

    wait_for_end(container)

    assert container.failure_reason() == complaint
    assert engine.lines()[-1] == "rm --force --volumes stargaze-abc-ridge"


def test_the_rows_of_a_killed_container_are_kept(job: FamilyJob) -> None:
    rows = pack_tar({"results/ridge-all.json": b'{"rmsle": 1.0}', "results/other": b"?"})
    state = json.dumps({"OOMKilled": False, "ExitCode": 137}).encode()
    engine = FakeEngine({"inspect": (0, state), "cp": (0, rows)})
    container = FamilyContainer(engine, SPEC, job)

    container.kill()
    container.kill()

    assert job.result_path("all").read_bytes() == b'{"rmsle": 1.0}'
    assert engine.lines()[1] == "kill stargaze-abc-ridge"
    assert sum(line.startswith("kill") for line in engine.lines()) == 1
    assert container.has_ended()


def test_a_truncated_copy_of_rows_is_ignored(job: FamilyJob) -> None:
    """After a broken connection the family has a row with the reason."""
    state = json.dumps({"OOMKilled": False, "ExitCode": 0}).encode()
    half = pack_tar({"results/ridge-all.json": b'{"rmsle": 1.0}'})[:300]
    container = FamilyContainer(FakeEngine({"inspect": (0, state), "cp": (1, half)}), SPEC, job)

    container.kill()

    assert container.has_ended()
    assert not job.result_path("all").exists()


def test_a_container_that_was_not_created_has_the_reason_of_docker(job: FamilyJob) -> None:
    container = FamilyContainer(FakeEngine({"inspect": (1, b"")}), SPEC, job)

    wait_for_end(container)

    assert container.failure_reason() == "last"
    assert not job.result_path("all").exists()


def test_only_expected_regular_files_of_limited_size_are_extracted(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, size in (("results/../../evil", 3), ("results/a", 3), ("results/large", 200_000)):
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, io.BytesIO(b"x" * size))
        link = tarfile.TarInfo("results/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    extract_files(stream.getvalue(), {f"results/{name}": tmp_path / name for name in ("a", "large", "link")})

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def wait_for_end(container: FamilyContainer) -> None:
    """Poll until it has ended, as screening does."""
    limit = time.monotonic() + 60
    while not container.has_ended():
        assert time.monotonic() < limit
        time.sleep(0.01)

"""What the hooks let in, keep out and install, each by a real push from a repository of the tester's own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import lightgbm
import pytest

from stargaze.bundle.manifest import write_manifest
from stargaze.serve.release import git, record
from stargaze.serve.release import git_hooks as hook
from stargaze.serve.release import install as installation
from stargaze.serve.release import pre_receive as inspection
from stargaze.serve.release import publish as release
from stargaze.serve.release import repository as target
from stargaze.serve.release.commit_tree import RefusedError
from stargaze.serve.release.sandbox import load_in_sandbox

if TYPE_CHECKING:
    from tests.serve.conftest import Workshop

    Spoil = Callable[[dict[str, bytes]], dict[str, bytes]]

pytestmark = pytest.mark.real


def assert_refused(workshop: Workshop, reason: str, push: Callable[[], list[str]]) -> None:
    """Promise 4: one line says why, and both the branch and what serves stay as they were."""
    before = workshop.state()
    said = push()

    assert [line for line in said if line.startswith("refused: ")] == said
    assert len(said) == 1
    assert reason in said[0]
    assert workshop.state() == before


def test_a_right_push_goes_in_and_serves(workshop: Workshop) -> None:
    """The measure of every refusal below: the same push without the fault is taken."""
    digest = workshop.bundle("good")
    commit = workshop.commit(workshop.files(digest))

    assert workshop.push(commit) == []
    assert workshop.state() == (commit, digest)


def test_an_unsigned_release_is_refused(standing: Workshop) -> None:
    signed = standing.commit(standing.files(standing.bundle("good 2")))
    raw = standing.raw_git("cat-file", "commit", signed)
    unsigned = raw[: raw.index("gpgsig")] + raw[raw.index("-----END SSH SIGNATURE-----") + 28 :]
    commit = standing.raw_git("hash-object", "-t", "commit", "-w", "--stdin", stdin=unsigned.encode())

    assert_refused(standing, "is not signed by an allowed signer", lambda: standing.push(commit))


def test_a_release_signed_by_a_foreign_key_is_refused(standing: Workshop, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(foreign)], check=True)
    commit = standing.commit(standing.files(standing.bundle("good 2")), key=foreign)

    assert_refused(standing, "is not signed by an allowed signer", lambda: standing.push(commit))


def test_a_signature_over_another_commit_is_refused(standing: Workshop) -> None:
    """The right signature, but one word of what it stands under was changed."""
    signed = standing.commit(standing.files(standing.bundle("good 2")))
    forged = standing.raw_git("cat-file", "commit", signed).replace("a test", "a tesT") + "\n"
    commit = standing.raw_git("hash-object", "-t", "commit", "-w", "--stdin", stdin=forged.encode())

    assert_refused(standing, "is not signed by an allowed signer", lambda: standing.push(commit))


def test_an_unsigned_release_below_a_signed_one_is_refused(standing: Workshop) -> None:
    """Every new commit of a push is looked at, not only the newest."""
    files = standing.files(standing.bundle("good"))
    tree = standing.raw_git("rev-parse", standing.commit(files) + "^{tree}")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    unsigned = standing.raw_git(*who, "commit-tree", tree, "-p", str(standing.state()[0]), "-m", "unsigned")
    commit = standing.commit(files, parent=unsigned)

    assert_refused(standing, f"commit {unsigned[:12]} is not signed", lambda: standing.push(commit))


def test_two_releases_in_one_push_go_in(workshop: Workshop) -> None:
    first = workshop.commit(workshop.files(workshop.bundle("good 1")))
    digest = workshop.bundle("good 2")
    value = json.loads(workshop.files(digest)["release.json"]) | {"before": first}
    files = workshop.files(digest) | {"release.json": json.dumps(value).encode()}
    second = workshop.commit(files, parent=first)

    assert workshop.push(second) == []
    assert workshop.state() == (second, digest)


def changed(**values: object) -> Spoil:
    """Return what changes keys of release.json."""

    def spoil(files: dict[str, bytes]) -> dict[str, bytes]:
        return files | {"release.json": json.dumps(json.loads(files["release.json"]) | values).encode()}

    return spoil


def without(path: str) -> Spoil:
    """Return what leaves a file out."""
    return lambda files: {name: content for name, content in files.items() if name != path}


def with_file(path: str, content: bytes) -> Spoil:
    """Return what adds a file or changes one."""
    return lambda files: files | {path: content}


SPOILT = {
    "a tampered file": (with_file("bundle/model.txt", b"evil"), "model.txt: is not the file that the manifest names"),
    "a missing file": (without("bundle/model.txt"), "the manifest and the folder differ in model.txt"),
    "an extra file": (with_file("bundle/extra.txt", b"x"), "the manifest and the folder differ in extra.txt"),
    "no manifest": (without("bundle/manifest.json"), "the bundle has no manifest.json"),
    "no release.json": (without("release.json"), "this one holds 'bundle'"),
    "no bundle": (lambda files: {"release.json": files["release.json"]}, "this one holds 'release.json'"),
    "a file beside the bundle": (with_file("setup.py", b"x"), "'setup.py'"),
    "a file that is too large": (with_file("bundle/model.txt", b"x" * 1_000_001), "at most 1 MB are allowed"),
    "a file that unpacks to far too much": (
        with_file("bundle/model.txt", b"\0" * 50_000_000),
        "the bundle has 50.0 MB",
    ),
    "too many files": (
        lambda files: files | {f"bundle/{number}.txt": b"" for number in range(31)},
        "the bundle has 34 files, at most 33 are allowed",
    ),
    "a folder in the bundle": (with_file("bundle/sub/file.txt", b"x"), "'sub' is a folder"),
    "a hidden file": (with_file("bundle/.hidden", b"x"), "'.hidden' is not a plain file name"),
    "a name with a line break": (with_file("bundle/a\nb", b"x"), "is not a plain file name"),
    "a name that is an option": (with_file("bundle/-rf", b"x"), "is not a plain file name"),
    "another digest": (changed(digest="0" * 64), "release.json names bundle 000000000000, but the manifest is that of"),
    "no digest": (changed(digest="latest"), "release.json is not well-formed: digest"),
    "an unknown kind": (changed(kind="replace"), "release.json is not well-formed: kind"),
    "a time without its zone": (changed(when="2026-03-01T12:00:00"), "release.json is not well-formed: when"),
    "nobody": (changed(who=""), "release.json is not well-formed: who"),
    "a name that a terminal obeys": (changed(who="\x1b[2J"), "release.json is not well-formed: who"),
    "another release before": (changed(before="0" * 40), "names another release before this one than git does"),
    "scores that are text": (changed(scores={"all": {"rmsle": "good"}}), "release.json is not well-formed: scores"),
    "a score that no float holds": (
        changed(scores={"all": {"rmsle": 10**400}}),
        "release.json is not well-formed: scores",
    ),
    "an unknown key": (changed(run="evil"), "missing or unknown keys: run"),
    "a release.json that is none": (with_file("release.json", b"{"), "release.json is not JSON"),
    "a release.json that nests": (with_file("release.json", b"[" * 60_000), "release.json is not JSON"),
    "a release.json that is huge": (
        with_file("release.json", b" " * 64_001),
        "release.json is larger than 64000 bytes",
    ),
    "a manifest that is none": (
        lambda files: changed(digest=hashlib.sha256(b"[").hexdigest())(files | {"bundle/manifest.json": b"["}),
        "manifest.json is not well-formed",
    ),
}


@pytest.mark.parametrize(("spoil", "reason"), SPOILT.values(), ids=SPOILT.keys())
def test_a_signed_release_that_is_not_whole_is_refused(standing: Workshop, spoil: Spoil, reason: str) -> None:
    """Signed by the right key, so only the contents speak against it."""
    commit = standing.commit(spoil(standing.files(standing.bundle("good 2"))))

    assert_refused(standing, reason, lambda: standing.push(commit))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("120000 blob {blob}\tlink.txt", "'link.txt' is a symbolic link"),
        ("160000 commit {commit}\tmodule", "'module' is a submodule"),
        ("100755 blob {blob}\tprogram", "'program' is a program"),
    ],
)
def test_what_is_no_ordinary_file_is_refused(standing: Workshop, entry: str, reason: str) -> None:
    commit = git.tip(standing.repository)
    files = standing.files(standing.bundle("good 2"))
    inner = standing.raw_git("ls-tree", standing.commit(files) + ":bundle")
    blob = standing.raw_git("hash-object", "-w", "--stdin", stdin=b"/etc/passwd")
    bundle = standing.raw_git("mktree", stdin=f"{inner}\n{entry.format(blob=blob, commit=commit)}\n".encode())
    info = standing.raw_git("hash-object", "-w", "--stdin", stdin=files["release.json"])
    tree = standing.raw_git(
        "mktree", stdin=f"040000 tree {bundle}\tbundle\n100644 blob {info}\trelease.json\n".encode()
    )

    assert_refused(standing, reason, lambda: standing.push(standing.commit_tree(tree)))


def test_a_release_json_that_is_a_link_is_refused(standing: Workshop) -> None:
    files = standing.files(standing.bundle("good"))
    bundle = standing.raw_git("rev-parse", standing.commit(files) + ":bundle")
    blob = standing.raw_git("hash-object", "-w", "--stdin", stdin=b"bundle/model.txt")
    tree = standing.raw_git(
        "mktree", stdin=f"040000 tree {bundle}\tbundle\n120000 blob {blob}\trelease.json\n".encode()
    )

    assert_refused(standing, "'release.json' is a symbolic link", lambda: standing.push(standing.commit_tree(tree)))


@pytest.mark.parametrize("name", ["../escape", "..", ".git", "a/b", "manifest.json"])
def test_a_tree_that_git_itself_would_never_write_is_refused(standing: Workshop, name: str) -> None:
    """Names that leave the folder, and a name that stands there twice: git's own check of objects catches them first."""
    files = standing.files(standing.bundle("good"))
    blob = bytes.fromhex(standing.raw_git("hash-object", "-w", "--stdin", stdin=files["bundle/manifest.json"]))
    raw = b"100644 " + name.encode() + b"\0" + blob + b"100644 manifest.json\0" + blob
    bundle = standing.raw_git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
    info = standing.raw_git("hash-object", "-w", "--stdin", stdin=files["release.json"])
    tree = standing.raw_git(
        "mktree", stdin=f"040000 tree {bundle}\tbundle\n100644 blob {info}\trelease.json\n".encode()
    )
    commit = standing.commit_tree(tree)
    before = standing.state()

    assert any("error" in line or "refused" in line for line in standing.push(commit))
    assert standing.state() == before
    with pytest.raises(RefusedError, match=r"not a plain file name|names a file twice"):
        inspect(standing, commit)  # and ours catches them too


def inspect(workshop: Workshop, commit: str, **options: object) -> None:
    """Let the inspection alone look at a commit of the clone, as the hook would."""
    update = inspection.Update(git.tip(workshop.repository), commit, git.BRANCH)
    rules = target.read_rules(workshop.store.releases)
    inspection.check_push([update], workshop.clone, rules, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("ref", ["refs/heads/other", "refs/tags/v1", "refs/heads/main2", "refs/replace/" + "0" * 40])
def test_any_other_branch_is_refused(standing: Workshop, ref: str) -> None:
    commit = standing.commit(standing.files(standing.bundle("good")))

    assert_refused(standing, f"only refs/heads/main takes releases, not {ref}", lambda: standing.push(commit, ref))


def test_two_branches_in_one_push_are_refused(standing: Workshop) -> None:
    commit = standing.commit(standing.files(standing.bundle("good")))

    assert_refused(standing, "not refs/heads/z", lambda: standing.push(commit, git.BRANCH, "refs/heads/z"))


def test_a_deletion_is_refused(standing: Workshop) -> None:

    assert_refused(standing, "never deleted", lambda: standing.push(""))


def test_a_push_that_rewrites_the_record_is_refused(workshop: Workshop) -> None:
    first = workshop.deploy("good 1")
    workshop.deploy("good 2")
    value = json.loads(workshop.files(first.digest)["release.json"]) | {"before": first.commit}
    files = workshop.files(workshop.bundle("good 3")) | {"release.json": json.dumps(value).encode()}
    commit = workshop.commit(files, parent=first.commit)

    assert_refused(workshop, "not a fast-forward", lambda: workshop.push(commit, force=True))


def test_a_push_back_to_an_older_release_is_refused(workshop: Workshop) -> None:
    """That is what rollback is for: it leaves a record."""
    first = workshop.deploy("good 1")
    workshop.deploy("good 2")

    assert_refused(workshop, "not a fast-forward", lambda: workshop.push(first.commit, force=True))


def test_a_history_of_its_own_is_refused(standing: Workshop) -> None:
    commit = standing.commit(standing.files(standing.bundle("good 2")), parent=None)

    assert_refused(standing, "not a fast-forward", lambda: standing.push(commit, force=True))


def test_a_merge_is_refused(standing: Workshop) -> None:
    one = standing.commit(standing.files(standing.bundle("good 1")))
    two = standing.commit(standing.files(standing.bundle("good 2")))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    merge = standing.raw_git(*who, "commit-tree", f"{one}^{{tree}}", "-p", one, "-p", two, "-m", "merge")

    assert_refused(standing, "a merge: releases follow one another", lambda: standing.push(merge))


def test_too_many_releases_in_one_push_are_refused(workshop: Workshop) -> None:
    workshop.rules(max_releases=2)
    files = workshop.files(workshop.bundle("good"))
    commit: str | None = None
    for _ in range(3):
        commit = workshop.commit(files, parent=commit)

    assert_refused(workshop, "more than 2 releases in one push", lambda: workshop.push(str(commit)))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("crash", "the bundle does not load: it ended the process that loads it (SIGSEGV)"),
        ("swell", "the bundle does not load: MemoryError"),
        ("shout", "the bundle does not load: "),
        ("escape", "the bundle does not load: [2J  gone"),
        ("bad", "the bundle does not load: the model predicts 3.0 for the prototype row, not 4.0"),
    ],
)
def test_a_model_that_does_not_load_is_refused(standing: Workshop, model: str, reason: str) -> None:
    """Promise 5: a crafted model takes down the process that tries it, not the hook."""
    commit = standing.commit(standing.files(standing.bundle(model)))

    assert_refused(standing, reason, lambda: standing.push(commit))


def test_a_model_that_hangs_its_loader_is_refused(workshop: Workshop) -> None:
    workshop.deploy("good")
    workshop.rules(seconds=0.3)
    commit = workshop.commit(workshop.files(workshop.bundle("hang")))

    assert_refused(workshop, "the bundle did not load within 0.3 s", lambda: workshop.push(commit))


def test_nothing_is_loaded_before_the_sums_are_right(standing: Workshop) -> None:
    """Promise 5: verified before anything parses it."""
    loaded: list[Path] = []
    files = standing.files(standing.bundle("good")) | {"bundle/model.txt": b"evil"}

    with pytest.raises(RefusedError):
        inspect(standing, standing.commit(files), verify=lambda folder, _: loaded.append(folder))
    assert loaded == []


def test_the_bundle_is_loaded_once_from_a_folder_named_by_its_digest(standing: Workshop) -> None:
    loaded: list[str] = []
    digest = standing.bundle("good")

    inspect(standing, standing.commit(standing.files(digest)), verify=lambda folder, _: loaded.append(folder.name))
    assert loaded == [digest]


def test_the_environment_of_the_pusher_changes_nothing(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs and packages of the pusher's own that would call everything right."""
    foreign = tmp_path / "foreign"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(foreign)], check=True)
    commit = workshop.commit(workshop.files(workshop.bundle("good")), key=foreign)
    package = tmp_path / "evil" / "stargaze"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit(0)")
    program = tmp_path / "evil" / "ssh-keygen"
    program.write_text("#!/bin/sh\necho 'Good \"git\" signature for stargaze with ED25519 key x'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "evil"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'evil'}:{os.environ['PATH']}")

    assert_refused(workshop, "is not signed by an allowed signer", lambda: workshop.push(commit))


def test_the_pushers_git_config_cannot_switch_the_hooks_off(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[core]\n\thooksPath = /nowhere\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    commit = workshop.commit(workshop.files(workshop.bundle("bad")))

    assert_refused(workshop, "the bundle does not load", lambda: workshop.push(commit))


@pytest.mark.parametrize("missing", ["git", "ssh-keygen"])
def test_a_node_without_the_programs_refuses_and_names_them(workshop: Workshop, tmp_path: Path, missing: str) -> None:
    commit = workshop.commit(workshop.files(workshop.bundle("good")))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in {"git", "ssh-keygen"} - {missing}:
        (programs / name).symlink_to(str(shutil.which(name)))
    environment = target.command_environment() | {"PATH": str(programs)}
    environment["GIT_OBJECT_DIRECTORY"] = str(workshop.clone.path / "objects")

    done = run_hook("pre-receive", workshop, f"{'0' * 40} {commit} {git.BRANCH}\n", environment)

    assert done.stderr == f"refused: {missing} is not installed (apt install git openssh-client)\n"
    assert done.returncode == 1


def run_hook(
    command: str, workshop: Workshop, text: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program of the hooks as git does, in the bare repository."""
    argv = [sys.executable, "-P", "-m", "stargaze.serve.release.git_hooks", command]
    environment = environment or target.command_environment()
    folder = workshop.store.releases
    return subprocess.run(argv, cwd=folder, env=environment, input=text, capture_output=True, text=True, check=False)


def test_a_repository_without_rules_takes_nothing(workshop: Workshop) -> None:
    (workshop.store.releases / target.FILE).unlink()
    commit = workshop.commit(workshop.files(workshop.bundle("good")))

    assert_refused(workshop, "stargaze.json: is not complete", lambda: workshop.push(commit))


def crash_after_pre_receive(workshop: Workshop) -> str:
    """Push a right release to a node that dies before it is installed; return the bundle's digest."""
    program = workshop.store.releases / "hooks" / "post-receive"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    digest = workshop.bundle("good")
    workshop.push(workshop.commit(workshop.files(digest)))
    assert release.installed(workshop.store) is None
    return digest


def test_a_crash_before_the_installation_is_healed_by_the_hook(workshop: Workshop) -> None:
    digest = crash_after_pre_receive(workshop)

    assert run_hook("heal", workshop).returncode == 0
    assert release.installed(workshop.store) == digest


def test_a_crash_before_the_installation_is_healed_by_deploying_again(workshop: Workshop) -> None:
    digest = crash_after_pre_receive(workshop)

    assert release.deploy(workshop.section, workshop.store, now=workshop.now).changed
    assert release.installed(workshop.store) == digest


def test_what_a_crash_left_half_written_is_removed(workshop: Workshop) -> None:
    workshop.deploy("good")
    half = workshop.store.serving / "bundles" / ".making-abc"
    half.mkdir()

    assert run_hook("heal", workshop).returncode == 0
    assert not half.exists()


def test_healing_what_is_whole_changes_nothing(workshop: Workshop) -> None:
    workshop.deploy("good")
    rules = target.read_rules(workshop.store.releases)

    done = installation.install(workshop.repository, rules, now=workshop.now)

    assert done is not None
    assert not done.changed


def test_healing_before_the_first_release_does_nothing(workshop: Workshop) -> None:
    assert run_hook("heal", workshop).returncode == 0
    assert not workshop.store.current.exists()


def test_a_late_hook_installs_the_newest_release_not_its_own(workshop: Workshop) -> None:
    """Two post-receive hooks that overtake each other leave the newest release in force."""
    first = workshop.deploy("good 1")
    second = workshop.deploy("good 2")

    run_hook("post-receive", workshop, f"{'0' * 40} {first.commit} {git.BRANCH}\n")

    assert release.installed(workshop.store) == second.digest


def test_the_switch_is_one_rename(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads through the link finds a whole bundle at every moment."""
    workshop.deploy("good 1")
    seen: list[str] = []
    rename = Path.replace

    def watched(path: Path, goal: Path) -> Path:
        seen.append((workshop.store.current / "model.txt").read_text())
        done = rename(path, goal)
        seen.append((workshop.store.current / "model.txt").read_text())
        return done

    workshop.rules(keep=1)
    crashed = workshop.commit(workshop.files(workshop.bundle("good 2")))
    (workshop.store.releases / "hooks" / "post-receive").unlink()
    workshop.push(crashed)
    monkeypatch.setattr(Path, "replace", watched)
    installation.install(workshop.repository, target.read_rules(workshop.store.releases), now=workshop.now)

    assert seen == ["good 1", "good 2", "good 2", "good 2"]


def test_an_installation_that_fails_says_so_in_one_line(workshop: Workshop) -> None:
    workshop.store.current.mkdir(parents=True)
    commit = workshop.commit(workshop.files(workshop.bundle("good")))

    said = workshop.push(commit)

    assert len(said) == 1
    assert said[0].startswith("not installed: ")


def test_verifying_a_folder_that_is_no_bundle_says_so_in_one_line(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = workshop.bundle("good")

    assert hook.main(["verify", str(workshop.store.bundles / digest)]) == 1
    assert "bundle.json is not well-formed" in capsys.readouterr().err


STANDING = [
    ("deploy a", "a"),
    ("deploy a, deploy b", "ab"),
    ("deploy a, deploy b, rollback a", "a"),
    ("deploy a, deploy b, deploy c, rollback b, rollback a", "a"),
    ("deploy a, deploy b, rollback a, deploy c", "ac"),
    ("deploy a, deploy b, deploy a, rollback b", "ab"),
    ("deploy a, deploy b, rollback a, rollback b", "ab"),
]


@pytest.mark.parametrize(("line", "expected"), STANDING)
def test_what_stands_is_walked_from_the_record(line: str, expected: str) -> None:
    """A rollback takes away what stands above the bundle it returns to; forward to a lost one puts it on top."""
    draft = record.Release("", "", "", "who", "when", None, {})
    words = [step.split() for step in line.split(", ")]
    history = [replace(draft, kind=kind, digest=digest) for kind, digest in reversed(words)]

    assert "".join(standing.digest for standing in record.active_releases(history)) == expected


def test_the_confined_process_asks_every_model_of_a_real_bundle(bundle_folder: Path, tmp_path: Path) -> None:
    """The command that a hook runs: it takes the bundle as it is, and refuses it once the model of the spread was changed."""
    rules = target.HookPolicy(tmp_path, tmp_path / "signers", max_bytes=10**8)
    load_in_sandbox(bundle_folder, rules)
    changed = Path(shutil.copytree(bundle_folder, tmp_path / "changed"))
    whole = lightgbm.Booster(model_file=changed / "spread-all.txt")
    (changed / "spread-all.txt").write_text(whole.model_to_string(num_iteration=2))
    write_manifest(changed)

    with pytest.raises(RefusedError, match="policy all predicts"):
        load_in_sandbox(changed, rules)

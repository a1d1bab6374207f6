"""The hooks accept, refuse or install releases; each test pushes from a repository of its own."""

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
from stargaze.serve.release import git
from stargaze.serve.release.install import install_newest
from stargaze.serve.release.pre_receive import RefUpdate, check_push, load_in_sandbox
from stargaze.serve.release.publish import installed_release, publish_release
from stargaze.serve.release.record import Release, active_releases
from stargaze.serve.release.repository import POLICY_FILE, HookPolicy, RefusedError, read_policy
from stargaze.serve.release.sandbox import clean_environment

if TYPE_CHECKING:
    from tests.serve.conftest import ReleaseStore

    Change = Callable[[dict[str, bytes]], dict[str, bytes]]

pytestmark = pytest.mark.real


def assert_refused(release_store: ReleaseStore, reason: str, push: Callable[[], list[str]]) -> None:
    """One line has the reason, and neither the branch nor the installed bundle changes."""
    before = release_store.state()
    output = push()

    assert [line for line in output if line.startswith("refused: ")] == output
    assert len(output) == 1
    assert reason in output[0]
    assert release_store.state() == before


def test_a_valid_push_is_accepted_and_installed(release_store: ReleaseStore) -> None:
    """The same push as in the tests below, without the fault."""
    digest = release_store.add_bundle("good")
    commit = release_store.commit(release_store.release_files(digest))

    assert release_store.push(commit) == []
    assert release_store.state() == (commit, digest)


def test_an_unsigned_release_is_refused(shared_store: ReleaseStore) -> None:
    signed = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good 2")))
    raw = shared_store.raw_git("cat-file", "commit", signed)
    unsigned = raw[: raw.index("gpgsig")] + raw[raw.index("-----END SSH SIGNATURE-----") + 28 :]
    commit = shared_store.raw_git("hash-object", "-t", "commit", "-w", "--stdin", stdin=unsigned.encode())

    assert_refused(shared_store, "is not signed by an allowed signer", lambda: shared_store.push(commit))


def test_a_release_signed_by_an_unknown_key_is_refused(shared_store: ReleaseStore, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(foreign)], check=True)
    commit = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good 2")), key=foreign)

    assert_refused(shared_store, "is not signed by an allowed signer", lambda: shared_store.push(commit))


def test_a_signature_of_another_commit_is_refused(shared_store: ReleaseStore) -> None:
    """A valid signature, but one word of the commit was changed."""
    signed = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good 2")))
    forged = shared_store.raw_git("cat-file", "commit", signed).replace("a test", "a tesT") + "\n"
    commit = shared_store.raw_git("hash-object", "-t", "commit", "-w", "--stdin", stdin=forged.encode())

    assert_refused(shared_store, "is not signed by an allowed signer", lambda: shared_store.push(commit))


def test_an_unsigned_release_below_a_signed_one_is_refused(shared_store: ReleaseStore) -> None:
    """Every new commit of a push is checked, not only the newest."""
    files = shared_store.release_files(shared_store.add_bundle("good"))
    tree = shared_store.raw_git("rev-parse", shared_store.commit(files) + "^{tree}")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    unsigned = shared_store.raw_git(
        *identity, "commit-tree", tree, "-p", str(shared_store.state()[0]), "-m", "unsigned"
    )
    commit = shared_store.commit(files, parent=unsigned)

    assert_refused(shared_store, f"commit {unsigned[:12]} is not signed", lambda: shared_store.push(commit))


def test_two_releases_in_one_push_are_accepted(release_store: ReleaseStore) -> None:
    first = release_store.commit(release_store.release_files(release_store.add_bundle("good 1")))
    digest = release_store.add_bundle("good 2")
    value = json.loads(release_store.release_files(digest)["release.json"]) | {"previous": first}
    files = release_store.release_files(digest) | {"release.json": json.dumps(value).encode()}
    second = release_store.commit(files, parent=first)

    assert release_store.push(second) == []
    assert release_store.state() == (second, digest)


def with_keys(**values: object) -> Change:
    """Return a function that changes keys of release.json."""

    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        return files | {"release.json": json.dumps(json.loads(files["release.json"]) | values).encode()}

    return change


def without(path: str) -> Change:
    """Return a function that removes a file."""
    return lambda files: {name: content for name, content in files.items() if name != path}


def with_file(path: str, content: bytes) -> Change:
    """Return a function that adds or changes a file."""
    return lambda files: files | {path: content}


INVALID_CONTENT = {
    "a tampered file": (with_file("bundle/model.txt", b"evil"), "model.txt: differs from the manifest (SHA-256)"),
    "a missing file": (without("bundle/model.txt"), "the manifest and the folder differ in model.txt"),
    "an extra file": (with_file("bundle/extra.txt", b"x"), "the manifest and the folder differ in extra.txt"),
    "no manifest": (without("bundle/manifest.json"), "the bundle has no manifest.json"),
    "no release.json": (without("release.json"), "this one 'bundle'"),
    "no bundle": (lambda files: {"release.json": files["release.json"]}, "this one 'release.json'"),
    "a file outside of the bundle": (with_file("setup.py", b"x"), "'setup.py'"),
    "a file that is too large": (with_file("bundle/model.txt", b"x" * 1_000_001), "at most 1 MB are allowed"),
    "a file that unpacks to 50 MB": (
        with_file("bundle/model.txt", b"\0" * 50_000_000),
        "the bundle has 50.0 MB",
    ),
    "too many files": (
        lambda files: files | {f"bundle/{number}.txt": b"" for number in range(31)},
        "the bundle has 34 files, at most 33 are allowed",
    ),
    "a folder in the bundle": (with_file("bundle/sub/file.txt", b"x"), "'sub' is a folder"),
    "a hidden file": (with_file("bundle/.hidden", b"x"), "'.hidden' is not a plain file name"),
    "a file name with a line break": (with_file("bundle/a\nb", b"x"), "is not a plain file name"),
    "a file name that is an option": (with_file("bundle/-rf", b"x"), "is not a plain file name"),
    "another digest": (
        with_keys(digest="0" * 64),
        "release.json names bundle 000000000000, but the manifest belongs to",
    ),
    "no digest": (with_keys(digest="latest"), "release.json is malformed: digest"),
    "an unknown kind": (with_keys(kind="replace"), "release.json is malformed: kind"),
    "a time without time zone": (
        with_keys(created_at="2026-03-01T12:00:00"),
        "release.json is malformed: created_at",
    ),
    "no author": (with_keys(author=""), "release.json is malformed: author"),
    "control characters in the author": (with_keys(author="\x1b[2J"), "release.json is malformed: author"),
    "another previous release": (
        with_keys(previous="0" * 40),
        "the previous release in release.json is not the parent commit",
    ),
    "scores that are text": (with_keys(scores={"all": {"rmsle": "good"}}), "release.json is malformed: scores"),
    "a score too large for a float": (
        with_keys(scores={"all": {"rmsle": 10**400}}),
        "release.json is malformed: scores",
    ),
    "the format of another version": (with_keys(format=1), "was written by another version of stargaze"),
    "an unknown key": (with_keys(run="evil"), "missing or unknown keys: run"),
    "a release.json that is not JSON": (with_file("release.json", b"{"), "release.json is not JSON"),
    "a deeply nested release.json": (with_file("release.json", b"[" * 60_000), "release.json is not JSON"),
    "a release.json that is too large": (
        with_file("release.json", b" " * 64_001),
        "release.json is larger than 64000 bytes",
    ),
    "a manifest that is not JSON": (
        lambda files: with_keys(digest=hashlib.sha256(b"[").hexdigest())(files | {"bundle/manifest.json": b"["}),
        "manifest.json is malformed",
    ),
}


@pytest.mark.parametrize(("change", "reason"), INVALID_CONTENT.values(), ids=INVALID_CONTENT.keys())
def test_a_signed_release_with_invalid_content_is_refused(
    shared_store: ReleaseStore, change: Change, reason: str
) -> None:
    """Signed by an allowed key, so only the content is invalid."""
    commit = shared_store.commit(change(shared_store.release_files(shared_store.add_bundle("good 2"))))

    assert_refused(shared_store, reason, lambda: shared_store.push(commit))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("120000 blob {blob}\tlink.txt", "'link.txt' is a symbolic link"),
        ("160000 commit {commit}\tmodule", "'module' is a submodule"),
        ("100755 blob {blob}\tprogram", "'program' is a program"),
    ],
)
def test_an_entry_that_is_not_an_ordinary_file_is_refused(shared_store: ReleaseStore, entry: str, reason: str) -> None:
    commit = git.branch_tip(shared_store.repository)
    files = shared_store.release_files(shared_store.add_bundle("good 2"))
    inner = shared_store.raw_git("ls-tree", shared_store.commit(files) + ":bundle")
    blob = shared_store.raw_git("hash-object", "-w", "--stdin", stdin=b"/etc/passwd")
    bundle = shared_store.raw_git("mktree", stdin=f"{inner}\n{entry.format(blob=blob, commit=commit)}\n".encode())
    info = shared_store.raw_git("hash-object", "-w", "--stdin", stdin=files["release.json"])
    tree = shared_store.raw_git(
        "mktree", stdin=f"040000 tree {bundle}\tbundle\n100644 blob {info}\trelease.json\n".encode()
    )

    assert_refused(shared_store, reason, lambda: shared_store.push(shared_store.commit_tree(tree)))


def test_a_release_json_that_is_a_symbolic_link_is_refused(shared_store: ReleaseStore) -> None:
    files = shared_store.release_files(shared_store.add_bundle("good"))
    bundle = shared_store.raw_git("rev-parse", shared_store.commit(files) + ":bundle")
    blob = shared_store.raw_git("hash-object", "-w", "--stdin", stdin=b"bundle/model.txt")
    tree = shared_store.raw_git(
        "mktree", stdin=f"040000 tree {bundle}\tbundle\n120000 blob {blob}\trelease.json\n".encode()
    )

    assert_refused(
        shared_store,
        "'release.json' is a symbolic link",
        lambda: shared_store.push(shared_store.commit_tree(tree)),
    )


@pytest.mark.parametrize("name", ["../escape", "..", ".git", "a/b", "manifest.json"])
def test_a_tree_that_git_would_never_write_is_refused(shared_store: ReleaseStore, name: str) -> None:
    """Paths outside of the folder and duplicate names: git's own check of objects refuses them first."""
    files = shared_store.release_files(shared_store.add_bundle("good"))
    blob = bytes.fromhex(shared_store.raw_git("hash-object", "-w", "--stdin", stdin=files["bundle/manifest.json"]))
    raw = b"100644 " + name.encode() + b"\0" + blob + b"100644 manifest.json\0" + blob
    bundle = shared_store.raw_git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
    info = shared_store.raw_git("hash-object", "-w", "--stdin", stdin=files["release.json"])
    tree = shared_store.raw_git(
        "mktree", stdin=f"040000 tree {bundle}\tbundle\n100644 blob {info}\trelease.json\n".encode()
    )
    commit = shared_store.commit_tree(tree)
    before = shared_store.state()

    assert any("error" in line or "refused" in line for line in shared_store.push(commit))
    assert shared_store.state() == before
    with pytest.raises(RefusedError, match=r"not a plain file name|two files of the same name"):
        check_commit(shared_store, commit)  # and our check refuses them too


def check_commit(release_store: ReleaseStore, commit: str, **options: object) -> None:
    """Check a commit of the clone as the hook does."""
    update = RefUpdate(git.branch_tip(release_store.repository), commit, git.BRANCH)
    policy = read_policy(release_store.store.releases)
    check_push([update], release_store.clone, policy, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("ref", ["refs/heads/other", "refs/tags/v1", "refs/heads/main2", "refs/replace/" + "0" * 40])
def test_a_push_to_another_ref_is_refused(shared_store: ReleaseStore, ref: str) -> None:
    commit = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good")))

    assert_refused(
        shared_store,
        f"releases are pushed to refs/heads/main only, not to {ref}",
        lambda: shared_store.push(commit, ref),
    )


def test_two_refs_in_one_push_are_refused(shared_store: ReleaseStore) -> None:
    commit = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good")))

    assert_refused(
        shared_store,
        "not to refs/heads/z",
        lambda: shared_store.push(commit, git.BRANCH, "refs/heads/z"),
    )


def test_deleting_the_branch_is_refused(shared_store: ReleaseStore) -> None:

    assert_refused(shared_store, "cannot be deleted", lambda: shared_store.push(""))


def test_a_push_that_rewrites_the_history_is_refused(release_store: ReleaseStore) -> None:
    first = release_store.deploy("good 1")
    release_store.deploy("good 2")
    value = json.loads(release_store.release_files(first.digest)["release.json"]) | {"previous": first.commit}
    files = release_store.release_files(release_store.add_bundle("good 3")) | {
        "release.json": json.dumps(value).encode()
    }
    commit = release_store.commit(files, parent=first.commit)

    assert_refused(release_store, "not a fast-forward", lambda: release_store.push(commit, force=True))


def test_a_push_of_an_older_release_is_refused(release_store: ReleaseStore) -> None:
    """A rollback is a new release, so that it is recorded."""
    first = release_store.deploy("good 1")
    release_store.deploy("good 2")

    assert_refused(release_store, "not a fast-forward", lambda: release_store.push(first.commit, force=True))


def test_an_unrelated_history_is_refused(shared_store: ReleaseStore) -> None:
    commit = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good 2")), parent=None)

    assert_refused(shared_store, "not a fast-forward", lambda: shared_store.push(commit, force=True))


def test_a_merge_is_refused(shared_store: ReleaseStore) -> None:
    item = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good 1")))
    second_commit = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good 2")))
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    merge = shared_store.raw_git(
        *identity, "commit-tree", f"{item}^{{tree}}", "-p", item, "-p", second_commit, "-m", "merge"
    )

    assert_refused(shared_store, "the push contains a merge", lambda: shared_store.push(merge))


def test_too_many_releases_in_one_push_are_refused(release_store: ReleaseStore) -> None:
    release_store.set_policy(max_releases=2)
    files = release_store.release_files(release_store.add_bundle("good"))
    commit: str | None = None
    for _ in range(3):
        commit = release_store.commit(files, parent=commit)

    assert_refused(release_store, "more than 2 releases in one push", lambda: release_store.push(str(commit)))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("crash", "the bundle does not load: the process that loads it was killed by SIGSEGV"),
        ("swell", "the bundle does not load: MemoryError"),
        ("shout", "the bundle does not load: "),
        ("escape", "the bundle does not load: [2J  gone"),
        ("bad", "the bundle does not load: the model predicts 3.0 for the prototype row, not 4.0"),
    ],
)
def test_a_model_that_does_not_load_is_refused(shared_store: ReleaseStore, model: str, reason: str) -> None:
    """A malicious model kills the process that loads it, not the hook."""
    commit = shared_store.commit(shared_store.release_files(shared_store.add_bundle(model)))

    assert_refused(shared_store, reason, lambda: shared_store.push(commit))


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\u00a0", "ü", "%0a"])
def test_a_ref_with_an_unusual_character_is_refused_in_one_line(shared_store: ReleaseStore, character: str) -> None:
    commit = shared_store.commit(shared_store.release_files(shared_store.add_bundle("good")))

    assert_refused(
        shared_store,
        "releases are pushed to refs/heads/main only, not to refs/heads/x",
        lambda: shared_store.push(commit, f"refs/heads/x{character}y"),
    )


def test_a_model_whose_loading_hangs_is_refused(release_store: ReleaseStore) -> None:
    release_store.deploy("good")
    release_store.set_policy(load_timeout=0.3)
    commit = release_store.commit(release_store.release_files(release_store.add_bundle("hang")))

    assert_refused(
        release_store, "the bundle does not load: it did not end within 0.3 s", lambda: release_store.push(commit)
    )


def test_checksums_are_verified_before_the_model_is_loaded(shared_store: ReleaseStore) -> None:
    """Nothing parses a file before it is verified."""
    loaded: list[Path] = []
    files = shared_store.release_files(shared_store.add_bundle("good")) | {"bundle/model.txt": b"evil"}

    with pytest.raises(RefusedError):
        check_commit(shared_store, shared_store.commit(files), verify=lambda folder, _: loaded.append(folder))
    assert loaded == []


def test_the_bundle_is_loaded_once_from_a_folder_named_by_its_digest(shared_store: ReleaseStore) -> None:
    loaded: list[str] = []
    digest = shared_store.add_bundle("good")

    check_commit(
        shared_store,
        shared_store.commit(shared_store.release_files(digest)),
        verify=lambda folder, _: loaded.append(folder.name),
    )
    assert loaded == [digest]


def test_the_pushers_environment_changes_nothing(
    release_store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs and packages of the pusher that would accept everything."""
    foreign = tmp_path / "foreign"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(foreign)], check=True)
    commit = release_store.commit(release_store.release_files(release_store.add_bundle("good")), key=foreign)
    package = tmp_path / "evil" / "stargaze"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit(0)")
    program = tmp_path / "evil" / "ssh-keygen"
    program.write_text("#!/bin/sh\necho 'Good \"git\" signature for stargaze with ED25519 key x'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "evil"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'evil'}:{os.environ['PATH']}")

    assert_refused(release_store, "is not signed by an allowed signer", lambda: release_store.push(commit))


def test_the_pushers_git_config_cannot_disable_the_hooks(
    release_store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[core]\n\thooksPath = /nowhere\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    commit = release_store.commit(release_store.release_files(release_store.add_bundle("bad")))

    assert_refused(release_store, "the bundle does not load", lambda: release_store.push(commit))


@pytest.mark.parametrize("missing", ["git", "ssh-keygen"])
def test_a_node_without_a_program_refuses_and_names_it(
    release_store: ReleaseStore, tmp_path: Path, missing: str
) -> None:
    commit = release_store.commit(release_store.release_files(release_store.add_bundle("good")))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in {"git", "ssh-keygen"} - {missing}:
        (programs / name).symlink_to(str(shutil.which(name)))
    environment = clean_environment() | {"PATH": str(programs)}
    environment["GIT_OBJECT_DIRECTORY"] = str(release_store.clone.path / "objects")

    completed = run_hook("pre-receive", release_store, f"{'0' * 40} {commit} {git.BRANCH}\n", environment)

    assert completed.stderr == f"refused: {missing} is not installed (apt install git openssh-client)\n"
    assert completed.returncode == 1


def run_hook(
    command: str, release_store: ReleaseStore, text: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the hook program as git does, in the bare repository."""
    argv = [sys.executable, "-P", "-m", "stargaze.serve.release.git_hooks", command]
    environment = environment or clean_environment()
    folder = release_store.store.releases
    return subprocess.run(argv, cwd=folder, env=environment, input=text, capture_output=True, text=True, check=False)


def test_a_repository_without_policy_refuses_every_push(release_store: ReleaseStore) -> None:
    (release_store.store.releases / POLICY_FILE).unlink()
    commit = release_store.commit(release_store.release_files(release_store.add_bundle("good")))

    assert_refused(release_store, "stargaze.json: is incomplete", lambda: release_store.push(commit))


def crash_after_pre_receive(release_store: ReleaseStore) -> str:
    """Push a valid release to a node that crashes before installing it; return the bundle's digest."""
    program = release_store.store.releases / "hooks" / "post-receive"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    digest = release_store.add_bundle("good")
    release_store.push(release_store.commit(release_store.release_files(digest)))
    assert installed_release(release_store.store) is None
    return digest


def test_the_hook_program_installs_after_a_crash(release_store: ReleaseStore) -> None:
    digest = crash_after_pre_receive(release_store)

    assert run_hook("install", release_store).returncode == 0
    assert installed_release(release_store.store) == digest


def test_deploying_again_installs_after_a_crash(release_store: ReleaseStore) -> None:
    digest = crash_after_pre_receive(release_store)

    assert publish_release(release_store.section, release_store.store, now=release_store.now).changed
    assert installed_release(release_store.store) == digest


def test_a_half_written_bundle_is_removed(release_store: ReleaseStore) -> None:
    release_store.deploy("good")
    half = release_store.store.serving / "bundles" / ".partial-abc"
    half.mkdir()

    assert run_hook("install", release_store).returncode == 0
    assert not half.exists()


def test_installing_an_installed_release_changes_nothing(release_store: ReleaseStore) -> None:
    release_store.deploy("good")
    policy = read_policy(release_store.store.releases)

    installed = install_newest(release_store.repository, policy, now=release_store.now)

    assert installed is not None
    assert not installed.changed


def test_installing_before_the_first_release_does_nothing(release_store: ReleaseStore) -> None:
    assert run_hook("install", release_store).returncode == 0
    assert not release_store.store.current.exists()


def test_a_late_hook_installs_the_newest_release(release_store: ReleaseStore) -> None:
    """Two post-receive hooks that run in the wrong order leave the newest release installed."""
    first = release_store.deploy("good 1")
    second = release_store.deploy("good 2")

    run_hook("post-receive", release_store, f"{'0' * 40} {first.commit} {git.BRANCH}\n")

    assert installed_release(release_store.store) == second.digest


def test_the_link_is_switched_in_one_rename(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader finds a complete bundle at every moment."""
    release_store.deploy("good 1")
    contents: list[str] = []
    rename = Path.replace

    def recording_replace(path: Path, goal: Path) -> Path:
        contents.append((release_store.store.current / "model.txt").read_text())
        completed = rename(path, goal)
        contents.append((release_store.store.current / "model.txt").read_text())
        return completed

    release_store.set_policy(max_installed=1)
    crashed = release_store.commit(release_store.release_files(release_store.add_bundle("good 2")))
    (release_store.store.releases / "hooks" / "post-receive").unlink()
    release_store.push(crashed)
    monkeypatch.setattr(Path, "replace", recording_replace)
    install_newest(release_store.repository, read_policy(release_store.store.releases), now=release_store.now)

    assert contents == ["good 1", "good 2", "good 2", "good 2"]


def test_a_failed_installation_is_reported_in_one_line(release_store: ReleaseStore) -> None:
    release_store.store.current.mkdir(parents=True)
    commit = release_store.commit(release_store.release_files(release_store.add_bundle("good")))

    output = release_store.push(commit)

    assert len(output) == 1
    assert output[0].startswith("not installed: ")


def test_a_folder_that_is_not_a_bundle_is_refused_by_the_sandbox_in_one_line(release_store: ReleaseStore) -> None:
    folder = release_store.store.bundles / release_store.add_bundle("good")

    with pytest.raises(RefusedError, match=r"^the bundle does not load: .*bundle\.json is malformed.*$"):
        load_in_sandbox(folder, HookPolicy(folder, folder))


HISTORIES = [
    ("deploy a", "a"),
    ("deploy a, deploy b", "ab"),
    ("deploy a, deploy b, rollback a", "a"),
    ("deploy a, deploy b, deploy c, rollback b, rollback a", "a"),
    ("deploy a, deploy b, rollback a, deploy c", "ac"),
    ("deploy a, deploy b, deploy a, rollback b", "ab"),
    ("deploy a, deploy b, rollback a, rollback b", "ab"),
]


@pytest.mark.parametrize(("line", "expected"), HISTORIES)
def test_active_releases_are_derived_from_the_history(line: str, expected: str) -> None:
    """A rollback removes the releases above its bundle; a rollback to a removed one puts it on top."""
    draft = Release("", "", "", "who", "when", None, {})
    argv = [step.split() for step in line.split(", ")]
    history = [replace(draft, kind=kind, digest=digest) for kind, digest in reversed(argv)]

    assert "".join(release.digest for release in active_releases(history)) == expected


def test_the_sandbox_checks_every_model_of_a_real_bundle(bundle_folder: Path, tmp_path: Path) -> None:
    """The command of the hook accepts an unchanged bundle, and refuses it if the model of the interval was changed."""
    policy = HookPolicy(tmp_path, tmp_path / "signers", max_bytes=10**8)
    load_in_sandbox(bundle_folder, policy)
    changed = Path(shutil.copytree(bundle_folder, tmp_path / "changed"))
    booster = lightgbm.Booster(model_file=changed / "spread-all.txt")
    (changed / "spread-all.txt").write_text(booster.model_to_string(num_iteration=2))
    write_manifest(changed)

    with pytest.raises(RefusedError, match="policy all predicts"):
        load_in_sandbox(changed, policy)


def test_a_push_with_any_umask_leaves_nothing_that_others_can_write(release_store: ReleaseStore) -> None:
    digest = release_store.add_bundle("good")
    umask = os.umask(0)
    try:
        release_store.push(release_store.commit(release_store.release_files(digest)))
    finally:
        os.umask(umask)

    paths = [path for path in release_store.store.releases.rglob("*") if not path.is_symlink()]
    assert installed_release(release_store.store) == digest
    assert {path for path in paths if path.stat().st_mode & 0o022} == set()

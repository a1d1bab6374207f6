"""The hook is installed for one working tree: no other repository, working tree or hook is affected."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stargaze.errors import MissingInputError, UsageError
from stargaze.pipeline.commit_hook import install_hook, remove_hook
from stargaze.store import Store

pytestmark = pytest.mark.real
STARTED = "the stages start: -P -m stargaze hook start"
"""What a commit prints whose hook starts the stages, with the program of these tests."""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in place of Python, which only prints its arguments; and a git config of this test."""
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\necho "the stages start: $*"\n')
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "system-gitconfig"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository."""
    return repository(tmp_path / "work")


def repository(path: Path) -> Path:
    """Create a repository with one commit."""
    git(path.parent, "init", "--quiet", str(path))
    commit(path)
    return path


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints."""
    identity = [
        "-c",
        "user.name=a tester",
        "-c",
        "user.email=tester@stargaze.invalid",
        "-c",
        "protocol.file.allow=always",
    ]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def commit(folder: Path) -> str:
    """Commit and return what git and its hooks print."""
    return git(folder, "commit", "--quiet", "--allow-empty", "--message", "a change")


def tree_of(folder: Path) -> dict[str, bytes | str]:
    """Return everything in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else "folder or link"
        for path in folder.rglob("*")
    }


def test_a_commit_starts_the_stages(folder: Path, store: Store) -> None:
    install_hook(folder, store, None)

    assert STARTED in commit(folder)


@pytest.mark.parametrize(
    ("where", "hooks"),
    [
        *(("global", "shared hooks"), ("global", "~/none"), ("system", "shared hooks"), ("system", "")),
        *(("local", "shared hooks"), ("local", ".husky/_"), ("worktree", ".husky/_")),
    ],
)
def test_hooks_of_other_repositories_stay_as_they_are(
    folder: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, hooks: str
) -> None:
    """An unrelated repository would train and release with each commit."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = str(tmp_path / hooks) if hooks.startswith("shared") else hooks
    if where == "worktree":
        git(folder, "config", "extensions.worktreeConfig", "true")
    elif where in ("global", "system"):
        option = "--file", os.environ[f"GIT_CONFIG_{where.upper()}"]
        git(tmp_path, "config", *option, "core.hooksPath", path)
    if where in ("local", "worktree"):
        git(folder, "config", f"--{where}", "core.hooksPath", path)
    unrelated = repository(tmp_path / "unrelated")
    before = tree_of(tmp_path)

    with pytest.raises(UsageError, match=r"core\.hooksPath is .*nothing was installed") as refused:
        install_hook(folder, store, None)

    assert tree_of(tmp_path) == before
    assert STARTED not in commit(unrelated)
    assert f"config core.hooksPath {folder.resolve() / '.git' / 'hooks'}" in refused.value.hint


def test_the_hint_leads_to_a_hook_of_this_repository_only(folder: Path, store: Store, tmp_path: Path) -> None:
    git(tmp_path, "config", "--file", str(tmp_path / "gitconfig"), "core.hooksPath", str(tmp_path / "shared"))
    with pytest.raises(UsageError) as refused:
        install_hook(folder, store, None)

    subprocess.run(["sh", "-c", refused.value.hint.partition(" gives")[0]], check=True)
    install_hook(folder, store, None)

    assert STARTED in commit(folder)
    assert STARTED not in commit(repository(tmp_path / "unrelated"))
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("value", [".git/hooks", "{folder}/.git/hooks", "{folder}/.git/../.git/hooks/"])
def test_a_hooks_path_that_names_the_own_folder_is_no_obstacle(folder: Path, store: Store, value: str) -> None:
    git(folder, "config", "core.hooksPath", value.format(folder=folder))
    inner = folder / "inner"
    inner.mkdir()

    install_hook(inner, store, None)

    assert STARTED in commit(folder)


def test_a_hooks_folder_that_is_a_link_stays_as_it_is(folder: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    shutil.rmtree(folder / ".git" / "hooks")
    (folder / ".git" / "hooks").symlink_to(tmp_path / "shared")

    with pytest.raises(UsageError, match=r"is a link to .*nothing was installed"):
        install_hook(folder, store, None)

    assert list((tmp_path / "shared").iterdir()) == []


def test_linked_working_trees_share_no_hook(folder: Path, store: Store, tmp_path: Path) -> None:
    git(folder, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    path = install_hook(folder, store, None)
    before = path.read_bytes()

    assert STARTED not in commit(tmp_path / "linked")
    for call in (lambda: install_hook(tmp_path / "linked", store, None), lambda: remove_hook(tmp_path / "linked")):
        with pytest.raises(UsageError, match="runs the stages of the"):
            call()
    assert path.read_bytes() == before
    assert STARTED in commit(folder)

    remove_hook(folder)
    install_hook(tmp_path / "linked", store, None)
    assert STARTED in commit(tmp_path / "linked")
    assert STARTED not in commit(folder)

    shutil.rmtree(tmp_path / "linked")
    git(folder, "worktree", "prune")
    install_hook(folder, store, None)  # the other working tree is gone
    assert STARTED in commit(folder)


def test_a_submodule_and_its_parent_have_separate_hooks(folder: Path, store: Store, tmp_path: Path) -> None:
    git(folder, "submodule", "add", "--quiet", str(repository(tmp_path / "other")), "part")
    install_hook(folder / "part", store, None)

    assert STARTED in commit(folder / "part")
    assert STARTED not in commit(folder)


@pytest.mark.parametrize("inside", [".", ".git", ".git/refs"])
def test_a_folder_in_which_nothing_is_committed_is_an_error(
    folder: Path, store: Store, tmp_path: Path, inside: str
) -> None:
    if inside == ".":
        git(tmp_path, "init", "--quiet", "--bare", "bare.git")
        folder = tmp_path / "bare.git"

    with pytest.raises(UsageError, match="is in no working tree"):
        install_hook(folder / inside, store, None)


def test_install_without_a_repository_is_an_error(tmp_path: Path, store: Store) -> None:
    for missing in (tmp_path, tmp_path / "gone"):
        with pytest.raises(UsageError, match="is not in a git repository"):
            install_hook(missing, store, None)


@pytest.mark.parametrize("kind", ["executable", "plain", "link", "dangling link", "folder"])
def test_a_hook_of_another_program_stays(folder: Path, store: Store, tmp_path: Path, kind: str) -> None:
    path, theirs = folder / ".git" / "hooks" / "post-commit", tmp_path / "theirs"
    path.parent.mkdir(exist_ok=True)
    if kind == "folder":
        path.mkdir()
    elif "link" in kind:
        path.symlink_to(theirs)
    target = theirs if kind == "link" else path
    if kind not in ("folder", "dangling link"):
        target.write_text("#!/bin/sh\necho theirs\n")
        target.chmod(0o644 if kind == "plain" else 0o755)
    before = tree_of(tmp_path), path.lstat().st_mode

    for call in (lambda: install_hook(folder, store, None), lambda: remove_hook(folder)):
        with pytest.raises((UsageError, MissingInputError)) as refused:
            call()
        assert refused.value.hint

    assert (tree_of(tmp_path), path.lstat().st_mode) == before


@pytest.mark.parametrize("has_folder", [True, False])
def test_remove_restores_what_was_there_before(folder: Path, store: Store, has_folder: bool) -> None:
    if not has_folder:
        shutil.rmtree(folder / ".git" / "hooks")
    before = tree_of(folder)

    once = install_hook(folder, store, None).read_text()
    assert install_hook(folder, store, None).read_text() == once
    remove_hook(folder)

    assert tree_of(folder) == before
    with pytest.raises(MissingInputError, match="is not a hook of stargaze"):
        remove_hook(folder)


def test_a_hook_that_an_earlier_version_wrote_to_a_shared_folder_can_be_removed(folder: Path, tmp_path: Path) -> None:
    git(tmp_path, "config", "--file", str(tmp_path / "gitconfig"), "core.hooksPath", str(tmp_path / "shared"))
    hook = tmp_path / "shared" / "post-commit"
    hook.parent.mkdir()
    hook.write_text(
        "#!/bin/sh\n# Written by `stargaze hook install`: train, compare and release each commit.\nexec true\n"
    )

    assert remove_hook(folder) == hook
    assert not hook.exists()


@pytest.mark.parametrize("name", ["a space", "quote's", 'double"', "$HOME `id`", "é", "line\nbreak", "trailing "])
def test_unusual_names_of_folders_are_quoted(tmp_path: Path, store: Store, name: str) -> None:
    folder = repository(tmp_path / name)

    install_hook(folder, Store(folder / "store"), None)

    output = commit(folder)
    assert STARTED in output
    assert output.endswith(f"{folder.resolve() / 'store'}\n")


def test_a_copy_of_the_repository_does_not_run_the_stages(folder: Path, store: Store, tmp_path: Path) -> None:
    install_hook(folder, store, None)
    copy = shutil.copytree(folder, tmp_path / "copy")

    assert STARTED not in commit(copy)


def test_a_moved_repository_says_what_to_do(folder: Path, store: Store, tmp_path: Path) -> None:
    install_hook(folder, store, None)
    moved = folder.rename(tmp_path / "moved")

    assert "stargaze hook install" in commit(moved)
    install_hook(moved, store, None)
    assert STARTED in commit(moved)


def test_variables_of_a_git_that_calls_stargaze_select_no_other_repository(
    folder: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = repository(tmp_path / "other")
    with monkeypatch.context() as patch:
        for name, value in {"GIT_DIR": other / ".git", "GIT_WORK_TREE": other, "GIT_INDEX_FILE": other / "x"}.items():
            patch.setenv(name, str(value))
        path = install_hook(folder, store, None)

    assert path == folder.resolve() / ".git" / "hooks" / "post-commit"
    assert STARTED not in commit(other)
    assert STARTED in git(
        tmp_path, f"--git-dir={folder}/.git", f"--work-tree={folder}", "commit", "--quiet", "--allow-empty", "-mx"
    )

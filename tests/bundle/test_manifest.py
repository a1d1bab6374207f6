"""The manifest: a folder that differs from it is refused before anything parses the files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stargaze.bundle.manifest import MANIFEST, MAX_FILES, BadBundleError, read_verified, verify_files, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files and their manifest."""
    (tmp_path / "model.txt").write_text("a model")
    (tmp_path / "bundle.json").write_text("{}")
    write_manifest(tmp_path)
    return tmp_path


def rewritten(folder: Path, change: Callable[[dict], object]) -> None:
    """Change the manifest and write it back."""
    manifest = json.loads((folder / MANIFEST).read_text())
    changed = change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest if changed is None else changed))


def test_files_that_match_the_manifest_are_returned(folder: Path) -> None:
    digest, content = read_verified(folder)

    assert content == {"model.txt": b"a model", "bundle.json": b"{}"}
    assert digest == verify_files(folder)


def test_the_digest_depends_on_the_files_only(folder: Path, tmp_path: Path) -> None:
    before = write_manifest(folder)
    assert write_manifest(folder) == before

    (folder / "model.txt").write_text("a Model")

    assert write_manifest(folder) != before


def _change_a_byte(folder: Path) -> None:
    (folder / "model.txt").write_text("a nodel")


def _make_a_file_longer(folder: Path) -> None:
    (folder / "model.txt").write_text("a model and more")


def _remove_a_file(folder: Path) -> None:
    (folder / "model.txt").unlink()


def _add_a_file(folder: Path) -> None:
    (folder / "model.pkl").write_text("more")


def _add_a_hidden_file(folder: Path) -> None:
    (folder / ".hidden").write_text("more")


def _add_a_folder(folder: Path) -> None:
    (folder / "sub").mkdir()


def _replace_a_file_by_a_folder(folder: Path) -> None:
    (folder / "model.txt").unlink()
    (folder / "model.txt").mkdir()


def _replace_a_file_by_a_link(folder: Path) -> None:
    """A link to the expected bytes is refused as well, because they may change later."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.write_text("a model")
    (folder / "model.txt").unlink()
    (folder / "model.txt").symlink_to(elsewhere)


def _replace_a_file_by_a_pipe(folder: Path) -> None:
    (folder / "model.txt").unlink()
    os.mkfifo(folder / "model.txt")


def _remove_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _make_the_manifest_a_link(folder: Path) -> None:
    (folder / MANIFEST).rename(folder.parent / "elsewhere.json")
    (folder / MANIFEST).symlink_to(folder.parent / "elsewhere.json")


@pytest.mark.parametrize(
    "damage",
    [
        _change_a_byte,
        _make_a_file_longer,
        _remove_a_file,
        _add_a_file,
        _add_a_hidden_file,
        _add_a_folder,
        _replace_a_file_by_a_folder,
        _replace_a_file_by_a_link,
        _replace_a_file_by_a_pipe,
        _remove_the_manifest,
        _make_the_manifest_a_link,
    ],
)
def test_a_folder_that_differs_from_the_manifest_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    inside = tmp_path / "bundle"
    inside.mkdir()
    (inside / "model.txt").write_text("a model")
    write_manifest(inside)

    damage(inside)

    with pytest.raises(BadBundleError):
        verify_files(inside)


@pytest.mark.parametrize(
    "name", ["../model.txt", "/etc/passwd", "a/b", ".hidden", "", "a b", "a\n", "ä", "-rf", "x" * 101, "a\x00b"]
)
def test_an_unsafe_file_name_is_refused(folder: Path, name: str) -> None:
    rewritten(folder, lambda manifest: manifest["files"].update({name: manifest["files"]["model.txt"]}))

    with pytest.raises(BadBundleError, match="another format, too many files"):
        verify_files(folder)


def test_a_manifest_with_too_many_files_is_refused(folder: Path) -> None:
    item = {"size": 1, "sha256": "0" * 64}
    rewritten(folder, lambda manifest: manifest["files"].update({f"file-{n}": item for n in range(MAX_FILES)}))

    with pytest.raises(BadBundleError, match="too many files or too large"):
        verify_files(folder)


@pytest.mark.parametrize("size", [10**12, 10**30, -1, -2, True, 7.0, "7", None])
def test_an_impossible_size_is_refused(folder: Path, size: object) -> None:
    """A size of -2 would read a file of any length and offset a large one in the sum."""
    rewritten(folder, lambda manifest: manifest["files"]["model.txt"].update({"size": size}))

    with pytest.raises(BadBundleError, match=r"too many files|malformed"):
        verify_files(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[]",
        b"7",
        b'"files"',
        b"null",
        b"{}",
        b'{"format": 1}',
        b'{"format": 2, "files": {}}',
        b'{"format": 1, "files": []}',
        b'{"format": 1, "files": {"model.txt": null}}',
        b'{"format": 1, "files": {"model.txt": {"size": 7}}}',
        b'{"format": 1, "files": {"model.txt": {"size": 7, "sha256": 7}}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"files": ' * 50_000,
        b'{"format": 1, "files": {"a": {"size": ' + b"9" * 5_000 + b', "sha256": ""}}}',
    ],
)
def test_a_malformed_manifest_is_refused(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)

    with pytest.raises(BadBundleError):
        verify_files(folder)


def test_a_huge_manifest_is_refused_even_with_a_valid_start(folder: Path) -> None:
    """Otherwise only its start would be read, and two manifests would have one digest."""
    with (folder / MANIFEST).open("ab") as stream:
        stream.write(b" " * 2_000_000)

    with pytest.raises(BadBundleError, match="larger"):
        verify_files(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundleError, match="is missing"):
        verify_files(tmp_path / "nothing")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.decode().encode("utf-16"),
        lambda text: text.replace(b'"format": 1', b'"format": 1, "format": 1'),
        lambda text: text.replace(b'"format": 1', b'"format": true'),
        lambda text: text.replace(b'"format": 1', b'"format": 1.0'),
        lambda text: text.replace(b'"format": 1', b'"format": 1, "note": ""'),
        lambda text: text.replace(b'"size": 7', b'"size": 7, "mode": 1'),
        lambda text: text.replace(b" ", b""),
        lambda text: text + b"\n",
        lambda text: text.replace(b"model.txt", b"mod\\u0065l.txt"),
    ],
)
def test_a_manifest_has_one_form_so_a_bundle_has_one_digest(folder: Path, change: Callable[[bytes], bytes]) -> None:
    text = (folder / MANIFEST).read_bytes()
    assert change(text) != text
    (folder / MANIFEST).write_bytes(change(text))

    with pytest.raises(BadBundleError, match=MANIFEST):
        read_verified(folder)

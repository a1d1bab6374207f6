"""The link to the bundle that serves is followed without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.errors import MissingInputError
from stargaze.manifest import BadBundleError
from stargaze.serve.following import Following


@pytest.fixture
def link(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "one")
    return tmp_path / "current"


def test_it_is_loaded_once(link: Path) -> None:
    loaded: list[str] = []
    following = Following(link, lambda folder: loaded.append(folder.name))

    following.get()
    following.get()

    assert loaded == ["one"]


def test_a_moved_link_is_loaded_anew(link: Path) -> None:
    following = Following(link, lambda folder: folder.name)
    before = following.get()
    link.unlink()
    link.symlink_to(link.parent / "two")

    assert (before, following.get()) == ("one", "two")


def test_before_the_first_release_it_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as caught:
        Following(tmp_path / "current", str).get()

    assert caught.value.hint == "stargaze deploy"


def test_a_bundle_that_does_not_verify_is_never_returned(link: Path) -> None:
    """Not even the one before: what runs must be what is released."""

    def load(folder: Path) -> str:
        if folder.name == "two":
            raise BadBundleError("changed")
        return folder.name

    following = Following(link, load)
    following.get()
    link.unlink()
    link.symlink_to(link.parent / "two")

    with pytest.raises(BadBundleError):
        following.get()

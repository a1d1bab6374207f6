"""The link to the bundle that serves is followed without a restart."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.errors import MissingInputError
from stargaze.serve.runtime.hot_reload import HotReloaded
from tests.waiting import wait_for

LoadingAhead = Callable[[Callable[[Path], str], Callable[[str], None]], HotReloaded[str]]


@pytest.fixture
def link(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "one")
    return tmp_path / "current"


@pytest.fixture
def loading_ahead(link: Path) -> Iterator[LoadingAhead]:
    """Load from a thread of its own, which ends with the test."""
    with contextlib.ExitStack() as stack:

        def load_ahead(load: Callable[[Path], str], note: Callable[[str], None]) -> HotReloaded[str]:
            following = stack.enter_context(contextlib.closing(HotReloaded(link, load)))
            following.reload_in_background(0.01, note)
            return following

        yield load_ahead


def test_it_is_loaded_once(link: Path) -> None:
    loaded: list[str] = []
    following = HotReloaded(link, lambda folder: loaded.append(folder.name))

    following.get()
    following.get()

    assert loaded == ["one"]


def test_a_moved_link_is_loaded_anew(link: Path) -> None:
    following = HotReloaded(link, lambda folder: folder.name)
    before = following.get()
    link.unlink()
    link.symlink_to(link.parent / "two")

    assert (before, following.get()) == ("one", "two")


def test_before_the_first_release_it_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as caught:
        HotReloaded(tmp_path / "current", str).get()

    assert caught.value.hint == "stargaze deploy"


def test_a_bundle_that_does_not_verify_is_never_returned(link: Path) -> None:
    """Not even the one before: what runs must be what is released."""

    def load(folder: Path) -> str:
        if folder.name == "two":
            raise BadBundleError("changed")
        return folder.name

    following = HotReloaded(link, load)
    following.get()
    link.unlink()
    link.symlink_to(link.parent / "two")

    with pytest.raises(BadBundleError):
        following.get()


def test_loaded_ahead_the_old_answers_until_the_new_is_loaded(link: Path, loading_ahead: LoadingAhead) -> None:
    """No question waits for a release."""
    loading, go_on, told = threading.Event(), threading.Event(), []

    def load(folder: Path) -> str:
        if folder.name == "two":
            loading.set()
            assert go_on.wait(30)
        return folder.name

    following = loading_ahead(load, told.append)
    wait_for(lambda: told == ["one"])
    link.unlink()
    link.symlink_to(link.parent / "two")

    assert loading.wait(30)
    assert following.get() == "one"
    go_on.set()
    wait_for(lambda: told == ["one", "two"])
    assert following.get() == "two"


def test_loaded_ahead_what_does_not_verify_is_never_answered_with(
    link: Path, loading_ahead: LoadingAhead, caplog: pytest.LogCaptureFixture
) -> None:
    def load(folder: Path) -> str:
        if folder.name == "two":
            raise BadBundleError("the model predicts otherwise", hint="")
        return folder.name

    told: list[str] = []
    following = loading_ahead(load, told.append)
    wait_for(lambda: told == ["one"])
    link.unlink()
    link.symlink_to(link.parent / "two")

    wait_for(lambda: "predicts otherwise" in caplog.text)
    assert following.get() == "one"
    assert told == ["one"]


def test_loaded_ahead_a_release_that_fails_in_an_unforeseen_way_does_not_keep_out_the_next(
    link: Path, loading_ahead: LoadingAhead, caplog: pytest.LogCaptureFixture
) -> None:
    def load(folder: Path) -> str:
        if folder.name == "two":
            raise KeyError("full_name")
        return folder.name

    (link.parent / "three").mkdir()
    told: list[str] = []
    following = loading_ahead(load, told.append)
    wait_for(lambda: told == ["one"])
    for name, claim in {"two": "KeyError: 'full_name'", "three": ""}.items():
        link.unlink()
        link.symlink_to(link.parent / name)
        wait_for(lambda claim=claim: claim in caplog.text)

    wait_for(lambda: told == ["one", "three"])
    assert following.get() == "three"
    assert caplog.text.count("the new release is not taken: KeyError") == 1


def test_once_closed_no_thread_looks_any_more(link: Path) -> None:
    loaded: list[str] = []
    following = HotReloaded(link, lambda folder: loaded.append(folder.name))
    following.reload_in_background(600.0, str)

    following.close()

    assert not [thread for thread in threading.enumerate() if thread.name == "following"]

"""Hot reload: a changed link to the current bundle is loaded without a restart."""

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

StartReload = Callable[[Callable[[Path], str], Callable[[str], None]], HotReloaded[str]]


@pytest.fixture
def link(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "one")
    return tmp_path / "current"


@pytest.fixture
def start_reload(link: Path) -> Iterator[StartReload]:
    """Start a reload in the background, whose thread ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(load: Callable[[Path], str], on_loaded: Callable[[str], None]) -> HotReloaded[str]:
            reloaded = stack.enter_context(contextlib.closing(HotReloaded(link, load)))
            reloaded.reload_in_background(0.01, on_loaded)
            return reloaded

        yield start


def test_an_unchanged_link_is_loaded_once(link: Path) -> None:
    loaded: list[str] = []
    reloaded = HotReloaded(link, lambda folder: loaded.append(folder.name))

    reloaded.get()
    reloaded.get()

    assert loaded == ["one"]


def test_a_changed_link_is_reloaded(link: Path) -> None:
    reloaded = HotReloaded(link, lambda folder: folder.name)
    before = reloaded.get()
    link.unlink()
    link.symlink_to(link.parent / "two")

    assert (before, reloaded.get()) == ("one", "two")


def test_before_the_first_release_the_error_names_deploy(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as excinfo:
        HotReloaded(tmp_path / "current", str).get()

    assert excinfo.value.hint == "stargaze deploy"


def test_an_invalid_bundle_is_never_returned(link: Path) -> None:
    """Not even the previous one is returned: only the current release may be served."""

    def load(folder: Path) -> str:
        if folder.name == "two":
            raise BadBundleError("changed")
        return folder.name

    reloaded = HotReloaded(link, load)
    reloaded.get()
    link.unlink()
    link.symlink_to(link.parent / "two")

    with pytest.raises(BadBundleError):
        reloaded.get()


def test_in_background_the_old_object_stays_until_the_new_one_is_loaded(link: Path, start_reload: StartReload) -> None:
    """No request waits for a release."""
    loading, go_on, reported = threading.Event(), threading.Event(), []

    def load(folder: Path) -> str:
        if folder.name == "two":
            loading.set()
            assert go_on.wait(30)
        return folder.name

    reloaded = start_reload(load, reported.append)
    wait_for(lambda: reported == ["one"])
    link.unlink()
    link.symlink_to(link.parent / "two")

    assert loading.wait(30)
    assert reloaded.get() == "one"
    go_on.set()
    wait_for(lambda: reported == ["one", "two"])
    assert reloaded.get() == "two"


def test_in_background_an_invalid_bundle_is_never_used(
    link: Path, start_reload: StartReload, caplog: pytest.LogCaptureFixture
) -> None:
    def load(folder: Path) -> str:
        if folder.name == "two":
            raise BadBundleError("the model predicts another value", hint="")
        return folder.name

    reported: list[str] = []
    reloaded = start_reload(load, reported.append)
    wait_for(lambda: reported == ["one"])
    link.unlink()
    link.symlink_to(link.parent / "two")

    wait_for(lambda: "predicts another value" in caplog.text)
    assert reloaded.get() == "one"
    assert reported == ["one"]


def test_in_background_an_unexpected_error_does_not_stop_the_next_reload(
    link: Path, start_reload: StartReload, caplog: pytest.LogCaptureFixture
) -> None:
    def load(folder: Path) -> str:
        if folder.name == "two":
            raise KeyError("full_name")
        return folder.name

    (link.parent / "three").mkdir()
    reported: list[str] = []
    reloaded = start_reload(load, reported.append)
    wait_for(lambda: reported == ["one"])
    for name, text in {"two": "KeyError: 'full_name'", "three": ""}.items():
        link.unlink()
        link.symlink_to(link.parent / name)
        wait_for(lambda text=text: text in caplog.text)

    wait_for(lambda: reported == ["one", "three"])
    assert reloaded.get() == "three"
    assert caplog.text.count("the new release cannot be loaded: KeyError") == 1


def test_close_ends_the_thread(link: Path) -> None:
    loaded: list[str] = []
    reloaded = HotReloaded(link, lambda folder: loaded.append(folder.name))
    reloaded.reload_in_background(600.0, str)

    reloaded.close()

    assert not [thread for thread in threading.enumerate() if thread.name == "hot-reload"]

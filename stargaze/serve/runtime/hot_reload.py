"""Hot reload: load the current bundle once, and again when a release changes the link, without a restart."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from stargaze.errors import MissingInputError, StargazeError
from stargaze.system.progress import Notify

Loaded = TypeVar("Loaded")

EXPECTED_ERRORS = (StargazeError, ImportError, OSError, ValueError)
"""Errors of a bundle that cannot be loaded; any other error is logged with its traceback."""
log = logging.getLogger(__name__)


class HotReloaded(Generic[Loaded]):
    """An object that is loaded from the folder behind a link and reloaded when the link changes."""

    def __init__(self, link: Path, load: Callable[[Path], Loaded]) -> None:
        self._link = link
        self._load = load
        self._lock = threading.Lock()
        self._current: tuple[Path, Loaded] | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def get(self) -> Loaded:
        """Return the object of the current folder, or with background reload the one that was loaded last.

        MissingInputError if there is no release; an error of ``load`` is raised: no invalid bundle is ever returned.
        """
        current = self._current
        return current[1] if current and self._thread else self._reload()

    def reload_in_background(self, interval: float, on_loaded: Notify) -> None:
        """Check the link in a thread every ``interval`` [s], so that no request waits while a release is loaded.

        The old object stays until the new one is loaded, and if that fails. ``on_loaded`` gets the name of each folder
        as soon as it is used.
        """

        def check() -> None:
            reported = failure = ""
            while not self._closed.is_set():
                try:
                    self._reload()
                    if self._current and self._current[0].name != reported:
                        reported, failure = self._current[0].name, ""
                        on_loaded(reported)
                except Exception as error:  # whatever is wrong with one release, the next is loaded
                    reason = str(error) if isinstance(error, StargazeError) else f"{type(error).__name__}: {error}"
                    if reason != failure:  # logged once, not at every check
                        failure = reason
                        unexpected = not isinstance(error, EXPECTED_ERRORS)
                        log.warning("the new release cannot be loaded: %s", reason, exc_info=unexpected)
                self._closed.wait(interval)

        self._thread = threading.Thread(target=check, name="hot-reload", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the background thread; a release that it is loading is finished first."""
        self._closed.set()
        if self._thread:
            self._thread.join()

    def _reload(self) -> Loaded:
        folder = current_bundle_folder(self._link)
        with self._lock:
            if self._current is None or self._current[0] != folder:
                self._current = (folder, self._load(folder))
            return self._current[1]


class TtlCached(Generic[Loaded]):
    """Cache the value of a function for ``ttl`` seconds."""

    def __init__(self, compute: Callable[[], Loaded], ttl: float = 10.0) -> None:
        self._compute, self._ttl = compute, ttl
        self._cached: tuple[float, Loaded] | None = None

    def __call__(self) -> Loaded:
        """Return the cached or computed value."""
        if self._cached is None or time.monotonic() - self._cached[0] > self._ttl:
            self._cached = (time.monotonic(), self._compute())
        return self._cached[1]


def current_bundle_folder(link: Path) -> Path:
    """Return the folder of the current bundle; raise MissingInputError if there is no release."""
    try:
        return link.resolve(strict=True)
    except OSError as error:
        raise MissingInputError("no release is deployed yet", hint="stargaze deploy") from error

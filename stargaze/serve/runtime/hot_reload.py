"""A thing loaded from the bundle that serves: loaded once, and again when ``deploy`` or ``rollback`` moves the link."""

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

FORESEEN = (StargazeError, ImportError, OSError, ValueError)
"""What a bundle that cannot be loaded raises; where anything else is raised, the log says from where."""
log = logging.getLogger(__name__)


class HotReloaded(Generic[Loaded]):
    """Follow a link to a bundle folder, so neither page nor worker needs a restart after a release."""

    def __init__(self, link: Path, load: Callable[[Path], Loaded]) -> None:
        self._link = link
        self._load = load
        self._lock = threading.Lock()
        self._held: tuple[Path, Loaded] | None = None
        self._ahead: threading.Thread | None = None
        self._closed = threading.Event()

    def get(self) -> Loaded:
        """Return what the link's target holds now; once it is loaded ahead, what was loaded last.

        Raises
        ------
        MissingInputError
            If nothing was deployed yet.
        StargazeError
            Whatever ``load`` raises for a bundle that does not verify; nothing unverified is ever returned.
        """
        held = self._held
        return held[1] if held and self._ahead else self._current()

    def reload_in_background(self, every: float, note: Notify) -> None:
        """Look at the link from a thread from now on, so that no question waits while a new release is loaded.

        What was loaded answers until what is new has been loaded beside it, and stays where that fails. ``note`` is told the
        name of each folder from the moment on in which it answers; ``every`` [s] is the pause between two looks.
        """

        def look() -> None:
            told = refused = ""
            while not self._closed.is_set():
                try:
                    self._current()
                    if self._held and self._held[0].name != told:
                        told, refused = self._held[0].name, ""
                        note(told)
                except Exception as error:  # whatever is wrong with one release, the next is taken
                    why = str(error) if isinstance(error, StargazeError) else f"{type(error).__name__}: {error}"
                    if why != refused:  # said once, not every second
                        refused = why
                        log.warning("the new release is not taken: %s", why, exc_info=not isinstance(error, FORESEEN))
                self._closed.wait(every)

        self._ahead = threading.Thread(target=look, name="following", daemon=True)
        self._ahead.start()

    def close(self) -> None:
        """End the thread that loads ahead, after the release that it is loading."""
        self._closed.set()
        if self._ahead:
            self._ahead.join()

    def _current(self) -> Loaded:
        folder = current_bundle_folder(self._link)
        with self._lock:
            if self._held is None or self._held[0] != folder:
                self._held = (folder, self._load(folder))
            return self._held[1]


class TtlCached(Generic[Loaded]):
    """What was told a moment ago is told again: nobody sees ten seconds in a sum over months."""

    def __init__(self, tell: Callable[[], Loaded], seconds: float = 10.0) -> None:
        self._tell, self._seconds = tell, seconds
        self._told: tuple[float, Loaded] | None = None

    def __call__(self) -> Loaded:
        """Return it."""
        if self._told is None or time.monotonic() - self._told[0] > self._seconds:
            self._told = (time.monotonic(), self._tell())
        return self._told[1]


def current_bundle_folder(link: Path) -> Path:
    """Return the folder that serves, or say how to get one."""
    try:
        return link.resolve(strict=True)
    except OSError as error:
        raise MissingInputError("no release is deployed yet", hint="stargaze deploy") from error

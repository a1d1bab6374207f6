"""The hypervisor as tests control it: set the behavior of the servers of a project, and read events."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAUSE = 0.05
"""Time between two reads of the folder [s]."""


@dataclass(frozen=True)
class Hypervisor:
    """The servers of one project."""

    folder: Path
    project: str

    def set_behavior(self, name: str = "*", **what: Any) -> None:
        """Set the behavior of servers whose name matches, from their next start on.

        ``fail="why"``     the server goes to ERROR with this text in its fault
        ``delay=2.0``      the server starts later [s]
        ``hold=True``      the server stays in BUILD until ``reset``
        ``console="…"``    output of its console, unless ``write_console`` was called for this server
        """
        self._write([*self._orders(), {"name": name, **what}])

    def reset(self) -> None:
        """Restore the normal behavior."""
        self._write([])

    def write_console(self, server: str, text: str) -> None:
        """Set the console output of a server, by its id."""
        _replace(self.folder / "consoles" / f"{server}.log", text)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events: spawn, destroy, reboot, power_on, power_off of servers, floating for a floating IP."""
        return [
            event for name in self._names() if (event := self._read(name)) and (not kinds or event["event"] in kinds)
        ]

    @contextlib.contextmanager
    def watch(self, react: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Call a function with each new event, in order, in a thread; raise its error at the end."""
        over, failed = threading.Event(), []
        known = set(self._names())  # all of them, not only the last: two services write

        def watch() -> None:
            ends = False
            while not ends:
                ends = over.wait(PAUSE)  # then read once more
                for name in self._names():
                    if name not in known:
                        known.add(name)
                        if event := self._read(name):
                            react(event)

        def watch_or_fail() -> None:
            try:
                watch()
            except Exception as error:  # noqa: BLE001 - raised where the block ends
                failed.append(error)

        thread = threading.Thread(target=watch_or_fail, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failed:
            raise failed[0]

    def _names(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "events").glob("[0-9]*.json"))

    def _read(self, name: str) -> dict[str, Any] | None:
        event = json.loads((self.folder / "events" / name).read_text(encoding="utf-8"))
        return event if event["project_id"] == self.project else None

    def _orders(self) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            return list(json.loads(self._path.read_text(encoding="utf-8")))
        return []

    @property
    def _path(self) -> Path:
        return self.folder / "orders" / f"{self.project}.json"

    def _write(self, orders: list[dict[str, Any]]) -> None:
        _replace(self._path, json.dumps(orders))


def console_with_host_keys(public_keys: Sequence[str], host: str = "host") -> str:
    """Return the console output in which cloud-init prints the ssh keys of a host, among other lines."""
    lines = [
        "[    0.000000] Linux version 6.1.0-25-cloud-amd64",
        "-----BEGIN SSH HOST KEY FINGERPRINTS-----",
        "256 SHA256:of-no-use-here root@host (ED25519)",
        "-----END SSH HOST KEY FINGERPRINTS-----",
        "-----BEGIN SSH HOST KEY KEYS-----",
        *(f"{' '.join(key.split()[:2])} root@{host}" for key in public_keys),
        "-----END SSH HOST KEY KEYS-----",
        "[   12.345678] cloud-init[512]: Cloud-init v. 22.4.2 finished",
        f"{host} login: ",
    ]
    return "\n".join(lines)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_text(text, encoding="utf-8")
    draft.rename(path)

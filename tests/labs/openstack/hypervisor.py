"""The tests' side of the lab's hypervisor: order what happens to a project's servers, and read what happened."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAUSE = 0.05
"""Between two looks into the folder [s]."""


@dataclass(frozen=True)
class Hypervisor:
    """The servers of one project; orders of one do not reach another's."""

    folder: Path
    project: str

    def order(self, name: str = "*", **what: Any) -> None:
        """Add an order for servers whose name matches, from their next start on.

        ``fail="why"``     the server goes to ERROR with these words in its fault
        ``delay=2.0``      the server starts later [s]
        ``hold=True``      the server stays in BUILD until ``withdraw``
        ``console="…"``    what its console says, unless ``say`` gave words to this very server
        """
        self._write([*self._orders(), {"name": name, **what}])

    def withdraw(self) -> None:
        """Take all orders back."""
        self._write([])

    def say(self, server: str, text: str) -> None:
        """Let the console of a server, by its id, say this."""
        _replace(self.folder / "consoles" / f"{server}.log", text)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return what happened: spawn, destroy, reboot, power_on, power_off of servers, floating for a floating IP."""
        return [
            event for name in self._names() if (event := self._read(name)) and (not kinds or event["event"] in kinds)
        ]

    @contextlib.contextmanager
    def watched(self, react: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Call a function with each event from now on, in their order, from a thread of its own; raise its error at the end."""
        over, failed = threading.Event(), []
        seen = set(self._names())  # not the last of them: two services write, each at its own pace

        def watch() -> None:
            ends = False
            while not ends:
                ends = over.wait(PAUSE)  # and look once more
                for name in self._names():
                    if name not in seen:
                        seen.add(name)
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


def host_keys(public_keys: Sequence[str], host: str = "host") -> str:
    """Return what cloud-init prints on the console about a host's ssh keys, amid other lines."""
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

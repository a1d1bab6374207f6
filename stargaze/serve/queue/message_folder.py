"""The messages of a machine without a broker: one file each, which waits, is taken by a consumer, and is then removed.

``messages/`` holds the waiting ones, ``taken/CONSUMER/`` those of a consumer, which holds a lock there as long as it lives:
another consumer returns the messages of a dead one. ``dead-letter/`` holds what is not a message or ended its consumers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

MAX_DEATHS = 3
"""A message whose consumers ended so often becomes a dead letter."""
MAX_SIZE = 2_000_000
"""A larger file is not a message [bytes]; a request has 64 kB at most."""
MAX_WARNINGS = 1000
"""A process logs at most so many different warnings."""
STALE = 60.0
"""An unfinished file of this age belongs to a process that died [s]."""
NAME = re.compile(r"(\d{1,20})_(\d{1,4})_(\d{1,4})_([0-9A-Za-z-]{1,64})\.([A-Za-z0-9._-]{1,200})\.msg")
"""Time, how often it was returned, how many consumers died with it, id, queue."""
LOCK, UNFINISHED = ".lock", ".unfinished."
MAINTENANCE = "the folder of messages cannot be maintained"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MessageName:
    """The parts of a file's name."""

    sent_at: str
    returns: int
    deaths: int
    id: str
    queue: str

    def __str__(self) -> str:
        return f"{self.sent_at}_{self.returns}_{self.deaths}_{self.id}.{self.queue}.msg"

    @classmethod
    def parse(cls, name: str) -> MessageName | None:
        """Return the parts; None if a file of this name is not a message."""
        match = NAME.fullmatch(name)
        return cls(match[1], int(match[2]), int(match[3]), match[4], match[5]) if match else None


class MessageFolder:
    """The messages below a folder, for a process that adds them or takes them.

    Nothing needs free disk space except adding. Every part of the folder may be deleted at any time.
    """

    def __init__(self, root: Path, on_dead_letter: Callable[[str], None] = lambda _id: None) -> None:
        self._waiting, self._taken, self._dead = root / "messages", root / "taken", root / "dead-letter"
        self._wake_up = root / "wake-up"
        self._on_dead_letter = on_dead_letter
        self._own: Path | None = None
        self._lock = -1
        self._stuck = set[str]()
        """Names of waiting files that can neither be taken nor moved aside."""
        self._unreturned = set[MessageName]()
        self._warnings = set[str]()

    def add(self, queue: str, message_id: str, text: str) -> None:
        """Add a message with the present time, and wake a consumer; raises OSError."""
        message_id = message_id if re.fullmatch(r"[0-9A-Za-z-]{1,64}", message_id) else str(uuid.uuid4())
        name = str(MessageName(f"{time.time_ns():020d}", 0, 0, message_id, queue))
        with self._unfinished(text) as path:
            path.rename(self._waiting / name)
        self.wake()

    def check(self) -> None:
        """Raise OSError if no message can be added."""
        self.prepare()
        with self._unfinished("1"):
            pass

    def wake(self) -> None:
        """Wake a consumer that waits at the pipe; without one, nothing happens."""
        with contextlib.suppress(OSError):  # nobody reads it, or it is full
            pipe = os.open(self._wake_up, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                if stat.S_ISFIFO(os.fstat(pipe).st_mode):
                    os.write(pipe, b"1")
            finally:
                os.close(pipe)

    def open_wake_up(self, pipe: int = -1) -> int:
        """Return the pipe that becomes readable when a message is added: the given one if it is still the one in the folder."""
        with contextlib.suppress(OSError):
            if pipe >= 0 and os.path.samestat(os.fstat(pipe), self._wake_up.lstat()):
                return pipe
        try:
            if not stat.S_ISFIFO(self._wake_up.lstat().st_mode):
                self._move_aside(self._wake_up)
        except FileNotFoundError:
            self._wake_up.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._wake_up, 0o600)
        # For writing too: otherwise it would be at its end as soon as no process adds messages.
        return os.open(self._wake_up, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)

    def count(self, queue: str) -> int:
        """Return the number of waiting messages."""
        return sum(
            parsed is not None and parsed.queue == queue for parsed in map(MessageName.parse, _list(self._waiting))
        )

    def take(self, queue: str) -> MessageName | None:
        """Take the oldest message; whatever is not a message is moved aside. None if no message waits."""
        for name in sorted(_list(self._waiting)):
            if name in self._stuck or name.startswith(UNFINISHED):
                continue
            parsed = MessageName.parse(name)
            if parsed is None:
                log.warning("%s is not a message", name)
                self._move_aside(self._waiting / name)
            elif parsed.queue == queue and self._rename_to_own(name, parsed):
                return parsed
        return None

    def read(self, name: MessageName) -> bytes:
        """Read a taken message; raises OSError or ValueError if it is not a file of a plausible size."""
        file = os.open(self._own_path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SIZE:
                raise ValueError(f"not a file of at most {MAX_SIZE} bytes")
            return stream.read(MAX_SIZE)

    def remove(self, name: MessageName) -> None:
        """Remove a taken message: it was answered."""
        with self._log_errors(f"{name} cannot be removed"):
            self._own_path(name).unlink()

    def give_back(self, name: MessageName) -> None:
        """Let a taken message wait again."""
        self._unreturned.discard(name)
        try:
            self._own_path(name).rename(self._waiting / str(replace(name, returns=name.returns + 1)))
        except OSError as error:
            if self._own_path(name).exists():  # else it was deleted
                self._warn(f"{name} cannot be returned now: {error}")
                self._unreturned.add(name)

    def reject(self, name: MessageName, reason: object) -> None:
        """Make a taken message a dead letter."""
        log.warning("%s is a dead letter: %s", name, reason)
        self._move_aside(self._own_path(name))

    def maintain(self) -> None:
        """Create missing folders, return the messages of dead consumers, remove unfinished files; call it every second or so."""
        with self._log_errors(MAINTENANCE):
            self.prepare()
        for unreturned in list(self._unreturned):
            self.give_back(unreturned)
        for consumer in _list(self._taken):
            if self._own is None or consumer != self._own.name:
                with self._log_errors(MAINTENANCE):
                    self._return_messages(self._taken / consumer)
        waiting = _list(self._waiting)
        for path in (self._waiting / name for name in waiting if name.startswith(UNFINISHED)):
            with self._log_errors(MAINTENANCE):
                if abs(time.time() - path.lstat().st_mtime) > STALE:
                    path.unlink()
        self._stuck &= set(waiting)

    def prepare(self) -> None:
        """Create missing folders."""
        for folder in (self._waiting, self._taken, self._dead):
            if folder.exists() and not folder.is_dir():
                self._move_aside(folder)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def close(self) -> None:
        """Let all taken messages wait again."""
        if self._own is None:
            return
        for name in map(MessageName.parse, _list(self._own)):
            if name:
                self.give_back(name)
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # child processes have inherited it
        os.close(self._lock)
        with contextlib.suppress(OSError):
            (self._own / LOCK).unlink()
            self._own.rmdir()
        self._own, self._lock = None, -1

    def _own_path(self, name: MessageName) -> Path:
        return (self._own or self._taken) / str(name)

    @contextlib.contextmanager
    def _unfinished(self, text: str) -> Iterator[Path]:
        """Write a file whose name no consumer takes; it is removed if the block does not rename it."""
        path = self._waiting / f"{UNFINISHED}{uuid.uuid4()}"
        try:
            _write(path, text)
            yield path
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _rename_to_own(self, name: str, parsed: MessageName) -> bool:
        try:
            if self._own is None or not self._own.is_dir():
                self._create_own()
            (self._waiting / name).rename(self._own_path(parsed))
        except FileNotFoundError:  # another consumer was faster
            return False
        except OSError as error:
            self._warn(f"{name} cannot be taken: {error}")
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                self._stuck.add(name)
            return False
        return True

    def _create_own(self) -> None:
        """Create the folder of this consumer; it gets its name when it is locked."""
        if self._lock >= 0:  # the folder was deleted, or could not be created
            os.close(self._lock)
        self._own, self._lock = None, -1
        unlocked = self._taken / f".{uuid.uuid4()}"
        unlocked.mkdir(parents=True, mode=0o700)
        self._lock = os.open(unlocked / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        own = self._taken / unlocked.name.removeprefix(".")
        unlocked.rename(own)
        self._own = own

    def _return_messages(self, folder: Path) -> None:
        """Return the messages of a consumer if it is dead."""
        if folder.name.startswith("."):
            return
        if not folder.is_dir():
            self._move_aside(folder)
            return
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            for path in list(folder.iterdir()):
                if path.name != LOCK:
                    self._return_message(path)
            (folder / LOCK).unlink()
            folder.rmdir()
        finally:
            os.close(lock)

    def _return_message(self, path: Path) -> None:
        name = MessageName.parse(path.name)
        if name is None or name.deaths + 1 >= MAX_DEATHS:
            log.warning("%s is a dead letter: its workers ended", path.name)
            self._move_aside(path)
            if name:
                self._on_dead_letter(name.id)
            return
        path.rename(self._waiting / str(replace(name, deaths=name.deaths + 1)))

    def _move_aside(self, path: Path) -> None:
        """Move a file or folder to the dead letters; one that cannot be moved is ignored from now on."""
        try:
            self._dead.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.rename(self._dead / f"{path.name[:180]}.{uuid.uuid4().hex[:8]}")
        except OSError as error:
            self._warn(f"{path} cannot be moved aside: {error}")
            self._stuck.add(path.name)

    @contextlib.contextmanager
    def _log_errors(self, message: str) -> Iterator[None]:
        """Log the error of a disk; what does not exist any more was removed by another process."""
        try:
            yield
        except FileNotFoundError:
            pass
        except OSError as error:
            self._warn(f"{message}: {error}")

    def _warn(self, text: str) -> None:
        """Log a warning once: the same happens every second on a full disk."""
        if text not in self._warnings and len(self._warnings) < MAX_WARNINGS:
            self._warnings.add(text)
            log.warning("%s", text)


def _write(path: Path, text: str) -> None:
    """Write a new private file; a missing folder is created."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        file = os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, flags, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        stream.write(text)


def _list(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - names are all that is needed
    return []

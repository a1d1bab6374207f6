"""The trial journal: one JSON line for each trial that has ended, flushed to disk; a stopped tuning resumes from it.

The first line identifies the tuning. Trials have numbers, and equal tunings have equal trials, so journals of one tuning can be
merged. A journal that another tuning replaces is kept next to it as ``trials-<key>.jsonl``, one for each tuning.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.errors import MissingInputError
from stargaze.system.files import atomic_write, convert_disk_errors

RECORDED = frozenset({"lookahead"})
"""Entries of the first line that are read from the journal when a tuning is resumed, not compared."""
Line = dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """The journal file of the current tuning, and the kept journals of others next to it."""

    path: Path

    def begin(self, header: Mapping[str, Any]) -> None:
        """Start a new journal without trials; the trials of the previous one are kept."""
        self.set_aside()
        self.add(header)

    def add(self, trial: Mapping[str, Any]) -> None:
        """Append a line and flush it to disk."""
        with convert_disk_errors(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(trial, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def resume(self, header: Mapping[str, Any]) -> tuple[Line, list[Line]]:
        """Return the first line and the ended trials of the same tuning, from the current and the kept journal.

        Raise MissingInputError if there is none, and change nothing then.
        """
        journals = {path: _read_lines(path) for path in [self.path, *self._kept()]}
        same = {path: lines for path, lines in journals.items() if lines and _identity(lines[0]) == _identity(header)}
        if not same:
            if not any(len(lines) > 1 for lines in journals.values()):
                raise MissingInputError("there is no stopped tuning to resume", hint="stargaze tune")
            raise MissingInputError(
                f"{self.path} belongs to another feature set, finalists or seed, or to another version, and cannot be resumed",
                hint="stargaze tune starts a new one and keeps it",
            )
        longest = max(same.values(), key=len)
        merged = _merge(*(lines for lines in same.values() if lines[0] == longest[0]))
        if self.path not in same:
            self.set_aside()
        _write_lines(self.path, merged)
        for path, lines in same.items():
            if path != self.path and lines[0] == longest[0]:
                path.unlink()
        return merged[0], merged[1:]

    def adopt(self, other: Path) -> None:
        """Move another journal to this place: merge it with one of the same tuning, keep the trials of any other."""
        current, lines = _read_lines(self.path), _read_lines(other)
        if current and lines and current[0] == lines[0]:
            _write_lines(self.path, _merge(current, lines))
            other.unlink()
        else:
            self.set_aside()
            with convert_disk_errors(self.path):
                other.replace(self.path)

    def set_aside(self) -> None:
        """Move the trials of this journal to the kept journal of the same tuning."""
        lines = _read_lines(self.path)
        if len(lines) > 1:
            kept = self._kept_path(lines[0])
            _write_lines(kept, _merge(_read_lines(kept) or lines[:1], lines))
        if lines or not self.path.exists() or not self.path.stat().st_size:
            self.path.unlink(missing_ok=True)
        else:
            self.path.replace(self.path.with_name(f"{self.path.stem}-unreadable{self.path.suffix}"))

    def finish(self) -> None:
        """Delete the journal of a finished tuning, and the kept journal unless it has further trials."""
        lines = _read_lines(self.path)
        if lines:
            kept = self._kept_path(lines[0])
            if len(_merge(lines, _read_lines(kept))) == len(lines):
                kept.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _kept(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.stem}-*{self.path.suffix}"))

    def _kept_path(self, header: Line) -> Path:
        key = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:12]
        return self.path.with_name(f"{self.path.stem}-{key}{self.path.suffix}")


def _identity(header: Mapping[str, Any]) -> Line:
    return {name: value for name, value in header.items() if name not in RECORDED}


def _merge(*journals: list[Line]) -> list[Line]:
    """Return the first line, and each trial once, in the order of the files."""
    lines = [line for journal in journals for line in journal[1:]]
    trials = {str(line.get("number", position)): line for position, line in reversed(list(enumerate(lines)))}
    order = {id(line): position for position, line in enumerate(lines)}
    return [journals[0][0], *sorted(trials.values(), key=lambda line: order[id(line)])]


def _read_lines(path: Path) -> list[Line]:
    """Return the complete lines; a killed process may leave an incomplete last line. Without a first line there are none."""
    lines: list[Line] = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else ()):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and line.endswith(b"\n"):
            lines.append(value)
        elif number == 0:
            return []
    return lines


def _write_lines(path: Path, lines: list[Line]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines), encoding="utf-8")

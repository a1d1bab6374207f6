"""A program whose output is read line by line while its input is written, with limits of silence and memory."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import IO, Any, Self

from stargaze.infra.jobs.framing import MAX_LINE

CHUNK = 1 << 16
"""Size of one read or write [byte]."""
KEPT_STDERR = 10_000
"""Last part of stderr that is kept [byte]."""


class Connection:
    """An ssh process; it is killed at the end of the block, with the ssh of a jump host, which keeps the pipes open."""

    def __init__(self, argv: list[str], stdin: Iterable[bytes]) -> None:
        self.stderr = b""
        self.reason = ""
        """Why reading ended before the program did: silence, or a line without end."""
        self.exit_code: int | None = None
        self._argv = argv
        self._input = iter(stdin)
        self._unsent = memoryview(b"")
        self._selector = selectors.DefaultSelector()
        self._stdin: IO[bytes]
        self._stdout: IO[bytes]
        self._stderr: IO[bytes]

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, bufsize=0
        )
        process: Any = self._process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        for stream in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(stream.fileno(), False)
            event = selectors.EVENT_WRITE if stream is self._stdin else selectors.EVENT_READ
            self._selector.register(stream, event)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        for stream in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(OSError):
                stream.close()

    def lines(self, seconds: float, mark: bytes) -> Iterator[bytes]:
        """Yield the complete lines of stdout; end after ``seconds`` without input or a line that contains the mark."""
        rest = bytearray()
        deadline = time.monotonic() + seconds
        while self._stdout in {key.fileobj for key in self._selector.get_map().values()}:
            ready = self._selector.select(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                self.reason = f"no output for {seconds:g} s"
                return
            for key, _ in ready:
                if key.fileobj is self._stdin:
                    deadline = time.monotonic() + seconds if self._write() else deadline
                elif key.fileobj is self._stderr:
                    self.stderr = (self.stderr + self._read(self._stderr))[-KEPT_STDERR:]
                else:
                    rest += self._read(self._stdout)
            *complete, tail = rest.split(b"\n") if b"\n" in rest else [rest]
            rest = bytearray(tail)
            for line in complete:
                if mark in line:
                    deadline = time.monotonic() + seconds
                yield bytes(line)
            if len(rest) > MAX_LINE:
                self.reason = f"a line of more than {MAX_LINE} bytes"
                return
        self._end(deadline)

    def _end(self, deadline: float) -> None:
        """Read the rest of stderr and the exit code of a program that has closed its stdout."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.exit_code = self._process.wait(max(0.1, min(10.0, deadline - time.monotonic())))
        with contextlib.suppress(BlockingIOError, ValueError):
            self.stderr = (self.stderr + (self._stderr.read(KEPT_STDERR) or b""))[-KEPT_STDERR:]

    def _write(self) -> bool:
        """Send a part of the input; close the pipe at its end. Return whether something was sent."""
        while not self._unsent:
            chunk = next(self._input, None)
            if chunk is None:
                self._close(self._stdin)
                return False
            self._unsent = memoryview(chunk)
        try:
            self._unsent = self._unsent[os.write(self._stdin.fileno(), self._unsent[:CHUNK]) :]
        except BlockingIOError:
            return False
        except OSError:  # the program has ended, or does not read
            self._close(self._stdin)
            return False
        return True

    def _read(self, stream: IO[bytes]) -> bytes:
        data = stream.read(CHUNK)
        if data == b"":
            self._close(stream)
        return data or b""

    def _close(self, stream: IO[bytes]) -> None:
        self._selector.unregister(stream)
        stream.close()

"""Where an HTTP/1.1 request ends: its bytes are collected until it is complete, in linear time."""

from __future__ import annotations

from stargaze.serve.runtime.settings import MAX_BODY

END_OF_HEAD = b"\r\n\r\n"
MAX_HEAD = 32 * 1024
"""Largest request line and headers [byte]."""
MAX_CHUNK_LINE = 1024
MAX_BUFFER = MAX_HEAD + 2 * MAX_BODY
"""More than any valid request; a chunked body is longer than its content [byte]."""
MAX_CHUNKS = 1_000
"""More chunks cost more time than their content is worth."""


class RequestBuffer:
    """Bytes of a connection that belong to requests which were not handled yet."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._expects = False
        self._reset()

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        """Add received bytes."""
        self._data += data

    def pop_request(self) -> bytes | None:
        """Remove and return the first request if it is complete.

        What can never become a valid request is returned as it is: gunicorn or the application refuse it.
        """
        end = self._find_end()
        if end is None:
            if len(self._data) <= MAX_BUFFER:
                return None
            end = len(self._data)
        request = bytes(self._data[:end])
        del self._data[:end]
        self._reset()
        return request

    def is_expecting(self) -> bool:
        """Return once whether the client waits for ``100 Continue`` before it sends the body."""
        self._find_end()
        is_expecting, self._expects = self._expects, False
        return is_expecting

    def _reset(self) -> None:
        self._searched = 0
        self._body = 0
        """Where the body starts; 0 while the headers are incomplete."""
        self._length: int | None = None
        """Length of the body; None if it is chunked."""
        self._next_chunk = self._chunks = 0
        self._expects = False

    def _find_end(self) -> int | None:
        if not self._body:
            position = self._data.find(END_OF_HEAD, self._searched)
            if position < 0:
                self._searched = max(0, len(self._data) - len(END_OF_HEAD) + 1)
                return len(self._data) if len(self._data) > MAX_HEAD else None
            self._body = self._next_chunk = position + len(END_OF_HEAD)
            self._read_head(bytes(self._data[:position]))
        if self._length is None:
            return self._find_last_chunk()
        if self._length > MAX_BODY:
            return len(self._data)  # refused without its body
        end = self._body + self._length
        return end if len(self._data) >= end else None

    def _read_head(self, head: bytes) -> None:
        self._length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip().lower()
            if name == b"content-length" and value.isdigit() and len(value) < 16 and self._length is not None:
                self._length = int(value)
            elif name == b"content-length" and self._length is not None:
                self._length = MAX_BODY + 1  # invalid
            elif name == b"transfer-encoding" and value.endswith(b"chunked"):
                self._length = None
            elif name == b"expect" and value == b"100-continue":
                self._expects = True
        self._expects &= self._length is None or 0 < self._length <= MAX_BODY

    def _find_last_chunk(self) -> int | None:
        """Return the end of a chunked body with its trailer; ``_next_chunk`` is where the search continues."""
        while True:
            end_of_line = self._data.find(b"\r\n", self._next_chunk)
            if end_of_line < 0:
                return len(self._data) if len(self._data) - self._next_chunk > MAX_CHUNK_LINE else None
            try:
                size = int(bytes(self._data[self._next_chunk : end_of_line]).partition(b";")[0].strip(), 16)
            except ValueError:
                size = -1
            if not 0 <= size <= MAX_BODY:
                return len(self._data)  # invalid
            if size == 0:
                break
            following = end_of_line + 2 + size + 2
            if following > len(self._data):
                return None
            self._next_chunk = following
            self._chunks += 1
            if self._chunks > MAX_CHUNKS:
                return len(self._data)
        # The last chunk and the trailer end with an empty line.
        position = self._data.find(END_OF_HEAD, max(self._next_chunk, self._searched))
        if position < 0:
            self._searched = len(self._data) - len(END_OF_HEAD) + 1
            return None
        return position + len(END_OF_HEAD)

"""Split words into the pieces of a vocabulary, and count the pieces of texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from stargaze.features.encoding.tokens import CsrMatrix
from stargaze.system.text import find_words

START = "▁"
"""The mark of a piece that begins a word."""
MAX_PIECES = 40_000
MAX_PIECE_LENGTH = 64
"""Largest vocabulary [pieces], and longest piece [characters]; the vocabulary of WordLlama has 22,690 of up to 16."""
MAX_WORD_LENGTH = 40
"""A longer word is cut: nobody writes one [characters]."""
MAX_REMEMBERED = 100_000
"""Words whose pieces are remembered: frequent words occur in most texts."""
_PIECE = re.compile(rf"{START}?[^\W_]+")


def is_word_piece(piece: str) -> bool:
    """Return whether a piece can occur in a word: letters and digits, in lower case.

    >>> [is_word_piece(piece) for piece in ("▁web", "server", "▁Web", ".", "▁")]
    [True, True, False, False, False]
    """
    return _PIECE.fullmatch(piece) is not None and piece == piece.lower()


@dataclass(frozen=True)
class Vocabulary:
    """Pieces of words, the frequent ones first: the rank of a piece is its position."""

    pieces: tuple[str, ...]
    _remembered: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def split(self, word: str) -> tuple[int, ...]:
        """Return the positions of a word's pieces: from its start, always the longest piece that fits; others are left out.

        Wu et al., Google's neural machine translation system, 2016 (WordPiece).

        Examples
        --------
        >>> Vocabulary(("▁web", "server", "s")).split("webservers")
        (0, 1, 2)
        """
        known = self._remembered.get(word)
        if known is None:
            known = tuple(self._find_pieces(f"{START}{word[:MAX_WORD_LENGTH]}"))
            if len(self._remembered) < MAX_REMEMBERED:
                self._remembered[word] = known
        return known

    def _find_pieces(self, text: str) -> Iterable[int]:
        start = 0
        while start < len(text):
            for end in range(min(len(text), start + self._longest), start, -1):
                position = self._positions.get(text[start:end])
                if position is not None:
                    yield position
                    break
            start = max(end, start + 1)

    def count(self, texts: Sequence[str]) -> CsrMatrix:
        """Return how often each piece occurs in each text; shape (n_texts, n_pieces), float32."""
        rows = [[piece for word in find_words(text) for piece in self.split(word)] for text in texts]
        columns = np.fromiter((piece for row in rows for piece in row), dtype="int64")
        numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        ones = np.ones(len(columns), dtype="float32")
        return CsrMatrix.from_coordinates(ones, columns, numbers, (len(rows), len(self.pieces)))

    def to_array(self) -> np.ndarray:
        """Return the array that :meth:`from_array` reads: one piece per line, in UTF-8."""
        return np.frombuffer("\n".join(self.pieces).encode(), dtype="uint8")

    @classmethod
    def from_array(cls, array: np.ndarray) -> Vocabulary:
        """Read an untrusted array; raise ValueError if :meth:`to_array` cannot have returned it."""
        if array.dtype != np.uint8 or array.ndim != 1 or len(array) > 4 * MAX_PIECES * MAX_PIECE_LENGTH:
            raise ValueError("vocabulary: an array of a wrong shape or type")
        pieces = tuple(array.tobytes().decode("utf-8").split("\n"))
        is_valid = all(len(piece) <= MAX_PIECE_LENGTH and is_word_piece(piece) for piece in pieces)
        if not is_valid or len(pieces) > MAX_PIECES or len(set(pieces)) != len(pieces):
            raise ValueError("vocabulary: pieces that are no parts of words, or too many")
        return cls(pieces)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {piece: position for position, piece in enumerate(self.pieces)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.pieces), default=0)

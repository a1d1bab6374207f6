"""Texts as numbers that are the same on every machine and in every year, many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def murmur3(texts: Sequence[str]) -> np.ndarray:
    """Hash texts as scikit-learn's FeatureHasher does, without scikit-learn, which costs a worker 65 MB.

    Parameters
    ----------
    texts : sequence of str, length n
        Hashed as UTF-8.

    Returns
    -------
    array of int32, shape (n,)

    References
    ----------
    Appleby, MurmurHash3, x86, 32 bits, seed 0; in the public domain.

    Examples
    --------
    >>> murmur3(["", "flask", "stars"]).tolist()
    [0, 548690082, -1655965037]
    """
    encoded = [text.encode("utf-8") for text in texts]
    lengths = np.fromiter(map(len, encoded), dtype="int64", count=len(encoded))
    words = (lengths + 3) // 4
    hashed = np.zeros(len(encoded), dtype="uint32")
    for n_words in np.unique(words):
        rows = np.flatnonzero(words == n_words)
        padded = b"".join(encoded[row].ljust(4 * n_words, b"\0") for row in rows)
        blocks = np.frombuffer(padded, dtype="<u4").reshape(len(rows), n_words)
        hashed[rows] = _finished(_mixed(blocks, lengths[rows] % 4 == 0), lengths[rows].astype("uint32"))
    return hashed.view("int32")


def _mixed(blocks: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Stir in four bytes at a time; ``whole`` tells of each row whether its last four are text to the end."""
    state = np.zeros(len(blocks), dtype="uint32")
    for place, word in enumerate(blocks.T):
        stirred = state ^ (_turned(word * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593))
        after = _turned(stirred, 13) * np.uint32(5) + np.uint32(0xE6546B64)
        state = after if place + 1 < blocks.shape[1] else np.where(whole, after, stirred)
    return state


def _finished(state: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    state = state ^ lengths
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = (state ^ (state >> np.uint32(shift))) * np.uint32(factor)
    finished: np.ndarray = state ^ (state >> np.uint32(16))
    return finished


def _turned(values: np.ndarray, by: int) -> np.ndarray:
    turned: np.ndarray = (values << np.uint32(by)) | (values >> np.uint32(32 - by))
    return turned

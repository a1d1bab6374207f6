"""Words are split into the longest known pieces, and a vocabulary from outside is checked."""

from __future__ import annotations

import numpy as np
import pytest

from stargaze.features.encoding.word_pieces import MAX_PIECES, MAX_WORD_LENGTH, Vocabulary

VOCABULARY = Vocabulary(("▁a", "▁web", "▁webs", "server", "er", "s", "網"))


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("web", ["▁web"]),
        ("webserver", ["▁webs", "er", "er"]),  # the longest piece first, even if what remains has no longer ones
        ("server", ["server"]),
        ("網", ["網"]),
        ("é", []),
        ("", []),
    ],
)
def test_a_word_is_split_into_the_longest_known_pieces(word: str, pieces: list[str]) -> None:
    found = [VOCABULARY.pieces[piece] for piece in VOCABULARY.split(word)]

    assert found == pieces


def test_pieces_of_a_text_are_counted() -> None:
    counts = VOCABULARY.count(["web web-server!", "", "?"])

    assert counts.shape == (3, 7)
    assert dict(zip(counts.indices.tolist(), counts.data.tolist(), strict=True)) == {1: 2.0, 3: 1.0}
    assert counts.indptr.tolist() == [0, 2, 2, 2]


def test_a_word_without_end_is_cut() -> None:
    assert len(VOCABULARY.split("s" * 1_000_000)) == MAX_WORD_LENGTH


def test_a_vocabulary_survives_serialization() -> None:
    assert Vocabulary.from_array(VOCABULARY.to_array()) == VOCABULARY


@pytest.mark.parametrize(
    "array",
    [
        np.frombuffer(b"\xff\xfe", dtype="uint8"),
        np.frombuffer(b"", dtype="uint8"),
        np.frombuffer(b"twice\ntwice", dtype="uint8"),
        np.frombuffer(b"two words", dtype="uint8"),
        np.frombuffer(b"x" * 65, dtype="uint8"),
        np.frombuffer("\n".join(f"x{i}" for i in range(MAX_PIECES + 1)).encode(), dtype="uint8"),
        np.zeros(4),
        np.zeros((2, 2), dtype="uint8"),
        np.array({"pieces": 1}, dtype=object),
    ],
)
def test_an_array_that_is_no_vocabulary_is_rejected(array: np.ndarray) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of UTF-8 or of a check
        Vocabulary.from_array(array)

"""The word vectors of WordLlama, an optional package: its files are read, it is not imported, and nothing is downloaded."""

from __future__ import annotations

import functools
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stargaze.errors import ExternalError, MissingInputError
from stargaze.features.encoding.word_pieces import Vocabulary, is_word_piece

PACKAGE, EXTRA = "wordllama", "text"
DEPENDENCIES = ("huggingface-hub", "safetensors", "tokenizers", "toml")
"""Packages that the extra installs beside those that stargaze needs anyway; they are never imported."""
INSTALL = f"pip install 'stargaze[{EXTRA}]'"
ON_CLUSTER = "on a cluster: stargaze infra configure --tags ray"
DIMENSIONS = 256
_VECTORS = Path("weights") / f"l2_supercat_{DIMENSIONS}.safetensors"
_TOKENIZER = Path("tokenizers") / "l2_supercat_tokenizer_config.json"
_MAX_HEADER = 10_000
"""Largest header of a file of vectors [byte]."""


@dataclass(frozen=True)
class WordVectors:
    """A vocabulary of n pieces, and a vector of each; shape (n, DIMENSIONS), float16."""

    vocabulary: Vocabulary
    vectors: np.ndarray


def is_installed() -> bool:
    """Return whether the package is installed; nothing is imported."""
    return importlib.util.find_spec(PACKAGE) is not None


@functools.cache
def read_word_vectors() -> WordVectors:
    """Read the vectors of all pieces of words; raise MissingInputError if the package is not installed.

    The package's own loader looks for its tokenizer in a folder that the package does not have, and then downloads it.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        hint = f'{INSTALL}, {ON_CLUSTER}, or without it: features.text_embeddings = "off" and stargaze select-features'
        raise MissingInputError(f"{PACKAGE} is not installed, which text embeddings need", hint=hint)
    folder = Path(spec.submodule_search_locations[0])
    try:
        return _select_words(_read_pieces(folder / _TOKENIZER), _read_matrix(folder / _VECTORS))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{folder}: has no word vectors that can be read: {error!r}"
        raise ExternalError(message, hint=f"{INSTALL} --force-reinstall") from error


def _select_words(pieces: dict[str, int], matrix: np.ndarray) -> WordVectors:
    """Return the pieces that occur in words, in the order of their numbers: bytes, punctuation and capitals do not."""
    words = {piece: row for piece, row in sorted(pieces.items(), key=lambda item: item[1]) if is_word_piece(piece)}
    return WordVectors(Vocabulary(tuple(words)), matrix[np.fromiter(words.values(), dtype="int64")])


def _read_pieces(path: Path) -> dict[str, int]:
    pieces: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
    return pieces


def _read_matrix(path: Path) -> np.ndarray:
    """Read the only matrix of a file in the format of safetensors: length of the header, header in JSON, numbers."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(min(length, _MAX_HEADER)))
        entry = header["embedding.weight"]
        if entry["dtype"] != "F16" or entry["shape"][1] != DIMENSIONS or entry["data_offsets"][0] != 0:
            raise ValueError(f"{path.name}: {entry['dtype']} {entry['shape']}")
        return np.fromfile(stream, dtype="<f2", count=entry["shape"][0] * DIMENSIONS).reshape(entry["shape"])

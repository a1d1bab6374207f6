"""The files of WordLlama are read without importing it; without the package, or with other files, the error says what to type."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stargaze.errors import ExternalError, MissingInputError
from stargaze.features.encoding.word_vectors import (
    DEPENDENCIES,
    DIMENSIONS,
    PACKAGE,
    is_installed,
    read_word_vectors,
)

PIECES = {"<unk>": 0, "<0x0A>": 1, ".": 2, "▁parser": 3, "er": 4}


@pytest.fixture(autouse=True)
def unread() -> Iterator[None]:
    """Let each test read the files."""
    read_word_vectors.cache_clear()
    yield
    read_word_vectors.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the same files, of five pieces."""
    folder = tmp_path / PACKAGE
    for name in ("weights", "tokenizers"):
        (folder / name).mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    write_vectors(folder, np.arange(5 * DIMENSIONS, dtype="<f2").reshape(5, DIMENSIONS))
    write_pieces(folder, {"model": {"vocab": PIECES}})
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def write_vectors(folder: Path, matrix: np.ndarray, dtype: str = "F16") -> None:
    """Write a matrix as safetensors does."""
    entry = {"dtype": dtype, "shape": list(matrix.shape), "data_offsets": [0, matrix.nbytes]}
    header = json.dumps({"embedding.weight": entry}).encode()
    content = len(header).to_bytes(8, "little") + header + matrix.tobytes()
    (folder / "weights" / "l2_supercat_256.safetensors").write_bytes(content)


def write_pieces(folder: Path, content: object) -> None:
    """Write a tokenizer."""
    (folder / "tokenizers" / "l2_supercat_tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")


def test_the_installed_package_has_vectors_of_words() -> None:
    words = read_word_vectors()
    position = {piece: number for number, piece in enumerate(words.vocabulary.pieces)}

    def cosine(first: str, second: str) -> float:
        one, two = (words.vectors[position[f"▁{word}"]].astype("float64") for word in (first, second))
        return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))

    assert words.vectors.shape == (22_690, DIMENSIONS)
    assert cosine("database", "storage") > cosine("database", "music") + 0.1
    assert is_installed()


def test_neither_the_package_nor_a_dependency_is_imported() -> None:
    """Imports would cost a worker 40 MB, and the package's loader downloads its tokenizer."""
    modules = [PACKAGE, *(name.replace("-", "_") for name in DEPENDENCIES)]
    program = (
        "import sys; from stargaze.features.encoding.word_vectors import read_word_vectors; read_word_vectors();"
        f"print([name for name in {modules} if name in sys.modules])"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "[]"


def test_only_pieces_of_words_are_read(package: Path) -> None:
    words = read_word_vectors()

    assert words.vocabulary.pieces == ("▁parser", "er")
    assert words.vectors[:, 0].tolist() == [3 * DIMENSIONS, 4 * DIMENSIONS]


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)

    assert not is_installed()
    with pytest.raises(MissingInputError, match="wordllama is not installed") as excinfo:
        read_word_vectors()
    assert excinfo.value.hint.startswith(
        "pip install 'stargaze[text]', on a cluster: stargaze infra configure --tags ray"
    )


def test_files_of_another_form_are_refused(package: Path) -> None:
    matrix = np.zeros((5, DIMENSIONS), dtype="<f2")
    damages = [
        lambda: write_vectors(package, matrix, dtype="F32"),
        lambda: write_vectors(package, matrix[:, :64]),
        lambda: write_vectors(package, matrix[:4]),
        lambda: (package / "weights" / "l2_supercat_256.safetensors").write_bytes(b"\xff" * 100),
        (package / "weights" / "l2_supercat_256.safetensors").unlink,
    ]
    for damage in damages:
        damage()
        with pytest.raises(ExternalError, match="no word vectors that can be read"):
            read_word_vectors()
    write_vectors(package, matrix)
    for content in ([], {"model": {}}, {"model": {"vocab": {"▁a": "b"}}}, {"model": {"vocab": {"▁a": 5}}}):
        write_pieces(package, content)
        with pytest.raises(ExternalError, match="no word vectors that can be read"):
            read_word_vectors()

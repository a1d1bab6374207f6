"""Embeddings are used where the meaning of the words predicts the stars, and the reasons say so."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.features.encoding.encoder import EMBEDDED, EMBEDDING_COMPONENTS
from stargaze.features.encoding.word_vectors import PACKAGE, read_word_vectors
from stargaze.features.selection.embedding_choice import MIN_TEXTS
from stargaze.store import Store
from stargaze.system.files import read_json
from tests.conftest import Ended

pytestmark = pytest.mark.thorough

MakeRepositories = Callable[..., pd.DataFrame]
Run = Callable[..., Ended]
N = 600
FAST = "features.folds=3", "features.importance_repeats=1"


@pytest.fixture(scope="module")
def repositories(make_repositories: MakeRepositories) -> pd.DataFrame:
    """Repositories about two subjects, each described by two of many words; those about music have more stars."""
    random, subjects = np.random.default_rng(5), [nearest("database", 250), nearest("music", 250)]
    subject = random.integers(0, 2, N)
    texts = [" ".join(random.choice(subjects[i], 2)) for i in subject]
    stars = np.floor(np.exp(3.0 + 2.0 * subject + random.normal(0.0, 0.3, N)))
    names = [f"owner{i}/r{i}" for i in range(N)]
    return make_repositories(N).assign(full_name=names, description=texts, topics=None, stars=stars)


def nearest(word: str, n: int) -> list[str]:
    """Return the words with the most similar vectors."""
    words = read_word_vectors()
    vectors = words.vectors.astype("float32")
    similarity = vectors @ vectors[words.vocabulary.pieces.index(f"▁{word}")] / np.linalg.norm(vectors, axis=1)
    pieces = [words.vocabulary.pieces[i] for i in np.argsort(-similarity)]
    return [piece[1:] for piece in pieces if piece.startswith("▁") and len(piece) > 3][:n]


@pytest.fixture
def select(run: Run, tmp_path: Path) -> Callable[..., tuple[Ended, Store]]:
    """Return a function that selects the features of repositories with keys of the config."""

    def select(repositories: pd.DataFrame, *keys: str) -> tuple[Ended, Store]:
        store = Store(tmp_path / "store")
        store.root.mkdir(exist_ok=True)
        repositories.to_parquet(store.repositories)
        lines = [line.replace("features.", "").replace("=", " = ") for line in (*FAST, *keys)]
        (tmp_path / "stargaze.toml").write_text("[features]\n" + "\n".join(lines) + "\n")
        return run("select-features"), store

    return select


Select = Callable[..., tuple[Ended, Store]]


def reasons_of(store: Store) -> dict[str, str]:
    """Return the reason for each feature under policy static."""
    return dict(pd.read_csv(store.selection).set_index("feature")["static"])


def test_embeddings_are_used_where_they_help(select: Select, repositories: pd.DataFrame) -> None:
    ended, store = select(repositories)

    reasons, selected = reasons_of(store), read_json(store.features, "")["selected"]
    assert ended.code == 0
    for names in selected.values():
        assert set(EMBEDDED) & set(names)
        assert "text_score" not in names or "embedding_score" not in names
    assert re.fullmatch(
        r"replaced by embedding_score: out of fold, the squared error of text_score is higher by 0\.\d+ ± 0\.\d+ nat²",
        reasons["text_score"],
    )


def test_embeddings_are_not_used_where_the_stars_do_not_depend_on_the_text(
    select: Select, repositories: pd.DataFrame
) -> None:
    shuffled = repositories.assign(stars=np.random.default_rng(0).permutation(repositories["stars"]))

    store = select(shuffled)[1]

    reasons = reasons_of(store)
    assert reasons["embedding_score"].startswith("no better than text_score: out of fold, the squared error of ")
    assert all(reasons[name].startswith("no help: without the components") for name in EMBEDDING_COMPONENTS)
    assert all(set(EMBEDDED).isdisjoint(names) for names in read_json(store.features, "")["selected"].values())
    assert not reasons["text_score"].startswith("replaced")


def test_they_can_be_turned_off_and_on(select: Select, repositories: pd.DataFrame) -> None:
    off = reasons_of(select(repositories, 'features.text_embeddings="off"')[1])
    shuffled = repositories.assign(stars=np.random.default_rng(0).permutation(repositories["stars"]))
    on = reasons_of(select(shuffled, 'features.text_embeddings="on"')[1])

    assert {off[name] for name in EMBEDDED} == {'not computed: features.text_embeddings = "off"'}
    assert on["text_score"].startswith("replaced by embedding_score")
    assert not any(on[name].startswith("no help") for name in EMBEDDING_COMPONENTS)


def test_without_the_extra_nothing_is_computed_unless_it_is_required(
    select: Select, repositories: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_word_vectors.cache_clear()
    monkeypatch.setitem(sys.modules, PACKAGE, None)

    automatic = select(repositories)
    required = select(repositories, 'features.text_embeddings="on"')

    assert automatic[0].code == 0
    assert {reasons_of(automatic[1])[name] for name in EMBEDDED} == {"not computed: pip install 'stargaze[text]'"}
    assert required[0].code != 0
    assert "wordllama is not installed" in required[0].err
    assert "pip install 'stargaze[text]'" in required[0].err


def test_few_descriptions_are_not_compared(select: Select, repositories: pd.DataFrame) -> None:
    few = repositories.assign(description=repositories["description"].where(repositories.index < MIN_TEXTS))

    reasons = reasons_of(select(few)[1])

    assert all("have a description or README, fewer than 100" in reasons[name] for name in EMBEDDED)


def test_equal_runs_select_equally(select: Select, repositories: pd.DataFrame) -> None:
    first = select(repositories)[1].features.read_bytes()
    read_word_vectors.cache_clear()

    assert select(repositories)[1].features.read_bytes() == first


def test_an_included_feature_is_neither_replaced_nor_left_out(select: Select, repositories: pd.DataFrame) -> None:
    reasons = reasons_of(select(repositories, 'features.include=["text_score", "embedding_component_1"]')[1])

    assert reasons["text_score"] == reasons["embedding_component_1"] == "selected"


def test_embeddings_are_compared_with_the_mean_if_the_words_are_excluded(
    select: Select, repositories: pd.DataFrame
) -> None:
    reasons = reasons_of(select(repositories, 'features.exclude=["text_score"]')[1])

    assert reasons["embedding_score"] == "selected"
    assert reasons["text_score"] == "excluded by features.exclude"

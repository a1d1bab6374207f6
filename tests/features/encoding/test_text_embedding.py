"""Texts with similar words have similar embeddings, computed by the encoder alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.features import schema
from stargaze.features.encoding.text_embedding import N_DIMENSIONS, TextEmbedding, fit_text_embedding
from stargaze.features.encoding.word_vectors import read_word_vectors

SUBJECTS = {
    "database": ("fast key value storage engine", "replication for SQL servers", "embedded transactional tables"),
    "music": ("plays songs and albums", "audio synthesizer with drum samples", "guitar chords and melodies"),
}


def records(**columns: object) -> pd.DataFrame:
    """Return repositories of the given columns."""
    return schema.conform(pd.DataFrame(columns))


@pytest.fixture(scope="module")
def repositories() -> pd.DataFrame:
    """Repositories about two subjects, in descriptions without common words."""
    texts = [text for subject in SUBJECTS.values() for text in subject] * 20
    return records(full_name=[f"owner{i}/r{i}" for i in range(len(texts))], description=texts)


@pytest.fixture(scope="module")
def embedding(repositories: pd.DataFrame) -> TextEmbedding:
    """An embedding with the installed word vectors."""
    return fit_text_embedding(repositories, read_word_vectors())


def test_a_text_without_a_known_word_is_closer_to_its_subject(embedding: TextEmbedding) -> None:
    texts = ["queries a relational store", "listens to radio tunes"]

    new = embedding.transform(records(full_name=["a/x", "a/x"], description=texts))

    old = embedding.transform(
        records(full_name=["a/x"] * 6, description=[text for item in SUBJECTS.values() for text in item])
    )
    distance = np.linalg.norm(new[:, None] - old[None], axis=2)
    assert distance[0, :3].mean() < distance[0, 3:].mean()
    assert distance[1, 3:].mean() < distance[1, :3].mean()


def test_without_a_description_there_is_no_embedding(embedding: TextEmbedding) -> None:
    texts = [None, "", "  ", "!!!", "a database"]

    rows = embedding.transform(records(full_name=["a/database"] * 5, description=texts, topics=[["sql"]] * 5))

    assert np.isnan(rows).all(axis=1).tolist() == [True, True, True, False, False]


def test_training_rows_have_a_mean_of_zero_and_a_mean_length_of_one(
    embedding: TextEmbedding, repositories: pd.DataFrame
) -> None:
    rows = embedding.transform(repositories)

    assert rows.shape == (len(repositories), N_DIMENSIONS)
    assert rows.mean(axis=0) == pytest.approx(0.0, abs=2e-3)
    assert np.mean(np.sum(rows**2, axis=1)) == pytest.approx(1.0, abs=5e-3)


def test_a_readme_is_embedded_with_or_without_a_description(embedding: TextEmbedding) -> None:
    columns = {"full_name": ["a/x"] * 3, "description": [None, "a tool", "a tool"]}

    rows = embedding.transform(records(**columns, readme=["stores tables", "stores tables", None]))

    assert np.isfinite(rows).all()
    assert not np.allclose(rows[1], rows[2], atol=0.05)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_rows_give_finite_embeddings(n: int, repositories: pd.DataFrame) -> None:
    fitted = fit_text_embedding(repositories.head(n), read_word_vectors())

    assert np.isfinite(fitted.transform(repositories.head(5))).all()


def test_rows_are_embedded_as_in_any_other_table(
    embedding: TextEmbedding, repositories: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embedding.transform(repositories)
    monkeypatch.setattr("stargaze.features.encoding.text_embedding.BATCH_ROWS", 7)

    assert embedding.transform(repositories).tolist() == whole.tolist()
    assert embedding.transform(repositories.iloc[[5]])[0] == pytest.approx(whole[5], abs=1e-6)
    assert embedding.transform(repositories.head(0)).shape == (0, N_DIMENSIONS)

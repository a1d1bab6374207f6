"""An encoder is deterministic, survives serialization without pickle, and rejects other bytes."""

from __future__ import annotations

import dataclasses
import io
import sys
import zipfile
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from stargaze.features import schema
from stargaze.features.encoding.encoder import (
    EMBEDDED,
    EMBEDDING_COMPONENTS,
    OWNER_ENCODED,
    Encoder,
    needs_encoder,
)
from stargaze.features.encoding.text_embedding import N_DIMENSIONS, fit_text_embedding
from stargaze.features.encoding.tokens import tokenize
from stargaze.features.encoding.word_vectors import PACKAGE, read_word_vectors
from stargaze.features.matrix import CATALOG

MakeRepositories = Callable[..., pd.DataFrame]
SUBJECTS = ("parser for json", "web framework", "deep learning models", "terminal game")


@pytest.fixture(scope="module")
def repositories(make_repositories: MakeRepositories) -> pd.DataFrame:
    """Return synthetic repositories whose subject determines their stars."""
    frame = make_repositories(200)
    subject = np.arange(200) % 4
    stars = np.floor(np.exp(subject + 1.0))
    topics = [["json", "cli"] if place == 0 else ["Web"] if place == 1 else None for place in subject]
    return frame.assign(description=[SUBJECTS[place] for place in subject], stars=stars, topics=topics)


@pytest.fixture(scope="module")
def encoder(repositories: pd.DataFrame) -> Encoder:
    """Return an encoder that is fitted on the first 150."""
    first = repositories.head(150)
    return Encoder.fit(tokenize(first), np.log1p(first["stars"].to_numpy()), seed=0, owners=True)


@pytest.fixture(scope="module")
def embedding_encoder(repositories: pd.DataFrame) -> Encoder:
    """Return an encoder with embeddings, fitted on the same rows."""
    first = repositories.head(150)
    embedding = fit_text_embedding(first, read_word_vectors())
    text = dataclasses.replace(tokenize(first), embedding=embedding.transform(first))
    return Encoder.fit(text, np.log1p(first["stars"].to_numpy()), seed=0, owners=True, text_embedding=embedding)


def test_words_predict_the_stars_of_unseen_repositories(encoder: Encoder, repositories: pd.DataFrame) -> None:
    encoded = encoder.transform(repositories.tail(50))

    assert np.corrcoef(encoded["text_score"], np.log1p(repositories["stars"].tail(50)))[0, 1] > 0.95
    assert list(encoded) == list(encoder.columns)
    assert set(encoded.dtypes) == {np.dtype("float32")}


def test_a_single_row_is_encoded_as_in_a_table(encoder: Encoder, repositories: pd.DataFrame) -> None:
    whole = encoder.transform(repositories)

    for row in (3, 170):
        single = encoder.transform(repositories.iloc[[row]])
        assert_frame_equal(single, whole.iloc[[row]], rtol=1e-5, atol=1e-6)


def test_a_row_is_encoded_without_its_own_stars(encoder: Encoder, repositories: pd.DataFrame) -> None:
    other = repositories.assign(stars=7.0, watchers=7.0, forks=1e6)

    assert_frame_equal(encoder.transform(other), encoder.transform(repositories))


def test_topics_are_case_insensitive(encoder: Encoder, repositories: pd.DataFrame) -> None:
    repository = repositories.head(1).assign(topics=[["web"]])
    upper = repositories.head(1).assign(topics=[["WEB"]])

    assert encoder.transform(repository)["topics_stars"].tolist() == encoder.transform(upper)["topics_stars"].tolist()


def test_an_unknown_repository_has_default_encodings(encoder: Encoder) -> None:
    bare = schema.conform(pd.DataFrame({"full_name": ["nobody/nothing"]}))

    encoded = encoder.transform(bare).iloc[0]

    assert encoded["owner_repositories"] == 0.0
    assert np.isfinite(encoded[["text_score", "owner_stars"]]).all()
    assert encoded[["language_stars", "topics_stars", "owner_stars_max"]].isna().all()


@pytest.mark.parametrize("rows", [0, 1])
def test_empty_rows_are_encoded(encoder: Encoder, rows: int) -> None:
    assert encoder.transform(schema.empty(rows)).shape == (rows, len(encoder.columns))


def test_an_encoder_survives_serialization(encoder: Encoder, repositories: pd.DataFrame) -> None:
    data = encoder.to_bytes()

    assert_frame_equal(Encoder.from_bytes(data).transform(repositories), encoder.transform(repositories))
    assert data == encoder.to_bytes()
    assert len(data) < 1_000_000


def test_the_same_rows_and_seed_give_the_same_bytes(encoder: Encoder, repositories: pd.DataFrame) -> None:
    first = repositories.head(150)

    again = Encoder.fit(tokenize(first), np.log1p(first["stars"].to_numpy()), seed=0, owners=True)

    assert again.to_bytes() == encoder.to_bytes()


def test_without_owners_no_owner_is_stored(repositories: pd.DataFrame) -> None:
    without_owners = Encoder.fit(
        tokenize(repositories), np.log1p(repositories["stars"].to_numpy()), seed=0, owners=False
    )

    assert not set(OWNER_ENCODED) & set(Encoder.from_bytes(without_owners.to_bytes()).columns)


def _packed(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def _changed(encoder: Encoder, **changes: np.ndarray | None) -> bytes:
    with np.load(io.BytesIO(encoder.to_bytes())) as archive:
        arrays = {name: archive[name] for name in archive.files}
    changed = {**arrays, **{name.replace("__", "."): value for name, value in changes.items()}}
    return _packed(**{name: value for name, value in changed.items() if value is not None})


@pytest.mark.parametrize(
    "damage",
    [
        lambda _encoder: b"",
        lambda _encoder: b"PK no archive",
        lambda encoder: encoder.to_bytes()[:5000],
        lambda _encoder: _packed(text_ridge=np.zeros(3)),
        lambda encoder: _changed(encoder, text_ridge__coefficients=None),
        lambda encoder: _changed(encoder, language__keys=None),
        lambda encoder: _changed(encoder, text_ridge__coefficients=np.zeros(5)),
        lambda encoder: _changed(encoder, text_components__components=np.full((2**14, 8), np.nan)),
        lambda encoder: _changed(encoder, text_ridge__intercept=np.array({"a": 1}, dtype=object)),
    ],
)
def test_bytes_that_are_not_an_encoder_are_rejected(encoder: Encoder, damage: Callable[[Encoder], bytes]) -> None:
    with pytest.raises((ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile)):
        Encoder.from_bytes(damage(encoder))


def test_bytes_that_decompress_to_too_much_are_rejected_before_decompression(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargaze.features.encoding.encoder.MAX_BYTES", 10_000)

    with pytest.raises(ValueError, match="more than 10,000 bytes"):
        Encoder.from_bytes(encoder.to_bytes())


def test_every_learned_feature_is_in_the_catalog(embedding_encoder: Encoder) -> None:
    columns = embedding_encoder.columns

    assert [name for name in CATALOG if CATALOG[name].learned] == sorted(columns, key=list(CATALOG).index)


def test_embeddings_add_columns_and_change_no_other(
    encoder: Encoder, embedding_encoder: Encoder, repositories: pd.DataFrame
) -> None:
    encoded = embedding_encoder.transform(repositories)

    assert set(encoded) - set(encoder.columns) == set(EMBEDDED)
    assert_frame_equal(encoded[list(encoder.columns)], encoder.transform(repositories))
    assert np.corrcoef(encoded["embedding_score"].tail(50), np.log1p(repositories["stars"].tail(50)))[0, 1] > 0.95


def test_without_a_description_the_score_of_the_embeddings_is_that_of_the_words(embedding_encoder: Encoder) -> None:
    bare = schema.conform(pd.DataFrame({"full_name": ["nobody/parser"], "topics": [["json"]]}))

    encoded = embedding_encoder.transform(bare).iloc[0]

    assert encoded["embedding_score"] == encoded["text_score"]
    assert encoded[list(EMBEDDING_COMPONENTS)].isna().all()


def test_an_encoder_with_embeddings_survives_serialization(
    embedding_encoder: Encoder, repositories: pd.DataFrame
) -> None:
    data = embedding_encoder.to_bytes()

    assert_frame_equal(Encoder.from_bytes(data).transform(repositories), embedding_encoder.transform(repositories))
    assert data == embedding_encoder.to_bytes()
    assert len(data) < 4_000_000


def test_serving_embeds_without_the_optional_package(
    embedding_encoder: Encoder, repositories: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    read_word_vectors.cache_clear()

    served = Encoder.from_bytes(embedding_encoder.to_bytes()).transform(repositories)

    assert_frame_equal(served, embedding_encoder.transform(repositories))


@pytest.mark.parametrize(
    "changes",
    [
        {"text_embedding__pieces": None},
        {"text_embedding__pieces": np.frombuffer(b"one\ntwo", dtype="uint8")},
        {"text_embedding__vectors": np.zeros((5, N_DIMENSIONS), dtype="float16")},
        {"text_embedding__vectors": np.full((22_690, N_DIMENSIONS), np.inf, dtype="float16")},
        {"text_embedding__mean": np.zeros(3)},
        {"embedding_ridge__landmarks": np.zeros((2, N_DIMENSIONS))},
        {
            "embedding_ridge__landmarks": np.zeros((600, N_DIMENSIONS)),
            "embedding_ridge__kernel_coefficients": np.zeros(600),
        },
        {"embedding_ridge__kernel_coefficients": np.array({"a": 1}, dtype=object)},
        {"embedding_ridge__intercept": np.array(np.nan)},
        {"embedding_ridge__landmarks": None},
    ],
)
def test_changed_embeddings_are_rejected(embedding_encoder: Encoder, changes: dict[str, np.ndarray | None]) -> None:
    with pytest.raises((ValueError, KeyError)):
        Encoder.from_bytes(_changed(embedding_encoder, **changes))
    assert needs_encoder(["age", "text_score"])
    assert not needs_encoder(["age", "moon_phase"])

"""The encoder: learned columns of any repository, fitted on training rows, stored as plain arrays."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.encoding.embedding_ridge import EmbeddingRidge
from stargaze.features.encoding.target_encoding import TargetEncoder
from stargaze.features.encoding.text_embedding import TextEmbedding
from stargaze.features.encoding.text_models import N_COMPONENTS, TextComponents, TextRidge
from stargaze.features.encoding.tokens import TokenizedText, tokenize
from stargaze.features.registry import Registry

LEARNED = Registry()
"""The features of this module."""
TEXT_FIELDS = ("full_name", "description", "description_tokens", "topics")
LOG_STARS = "log1p(stars)"
N_EMBEDDING_COMPONENTS = 16
"""Dimensions of the embeddings that are columns; the score uses all of them."""


def _learned(name: str, unit: str, meaning: str, *source: str, group: str = "") -> str:
    return LEARNED.add_learned(name, "static", unit, meaning, *source, group=group)


TARGET_ENCODED = (
    _learned("text_score", LOG_STARS, "stars predicted from the words of name, description and topics", *TEXT_FIELDS),
    _learned("language_stars", LOG_STARS, "mean of the repositories in its language", "language"),
    _learned("topics_stars", LOG_STARS, "mean over its topics of their repositories' mean", "topics"),
    _learned("topics_stars_max", LOG_STARS, "mean of the repositories of its most starred topic", "topics"),
)
OWNER_ENCODED = (
    _learned("owner_repositories", "repositories", "known repositories of its owner", "full_name"),
    _learned("owner_stars", LOG_STARS, "mean of the known repositories of its owner", "full_name"),
    _learned("owner_stars_max", LOG_STARS, "stars of its owner's most starred known repository", "full_name"),
)
"""Out-of-fold in training and evaluation, so a row's own stars are not in them. In serving, a repository of the training data
is among its owner's; the answer then says that the model was trained on it."""
TEXT_COMPONENTS = tuple(
    _learned(f"text_component_{i}", "share", f"component {i} of the text", *TEXT_FIELDS, group="text_component")
    for i in range(1, N_COMPONENTS + 1)
)
EMBEDDED_FIELDS = (*TEXT_FIELDS, "readme")
EMBEDDING_SCORE = _learned(
    "embedding_score",
    LOG_STARS,
    "stars predicted from the words and the meaning of name, description, topics and README",
    *EMBEDDED_FIELDS,
)
"""Equal to the text score without description and README, and used in its place."""
EMBEDDING_COMPONENTS = tuple(
    _learned(
        f"embedding_component_{i}",
        "length",
        f"component {i} of the text's meaning",
        *EMBEDDED_FIELDS,
        group="embedding_component",
    )
    for i in range(1, N_EMBEDDING_COMPONENTS + 1)
)
"""Missing without description and README."""
EMBEDDED = (EMBEDDING_SCORE, *EMBEDDING_COMPONENTS)
"""The columns that are computed with word vectors, which are part of the encoder."""
SMOOTHING = {"language": 20.0, "topics": 20.0, "owner": 1.0}
"""Weight of the overall mean in each key's mean [rows]; the best of 1 to 50 on curated lists."""
MAX_BYTES = 64_000_000
"""Uncompressed size of an encoder at most [byte]; one of 100,000 owners has 4 MB."""


@dataclass(frozen=True)
class TargetEncodings:
    """Everything that is fitted on the stars: the text ridge, target encoders, and maybe a ridge of embeddings.

    The target encoders are those of languages, topics and maybe owners.
    """

    text_ridge: TextRidge
    encoders: Mapping[str, TargetEncoder]
    embedding_ridge: EmbeddingRidge | None = None

    @classmethod
    def fit(cls, text: TokenizedText, target: np.ndarray, *, owners: bool) -> TargetEncodings:
        """Fit on n rows, with embeddings of their texts or without, and their log1p(stars) [nat]."""
        names = ("language", "topics", "owner") if owners else ("language", "topics")
        encoders = {name: TargetEncoder.fit(getattr(text, name), target, SMOOTHING[name]) for name in names}
        embedding_ridge = None if text.embedding is None else EmbeddingRidge.fit(text.words, text.embedding, target)
        return cls(TextRidge.fit(text.words, target), encoders, embedding_ridge)

    def transform(self, text: TokenizedText) -> np.ndarray:
        """Return the columns :data:`TARGET_ENCODED`, and those of owners and embeddings if they are fitted; (n, 4 to 8)."""
        language, topics = (self.encoders[name].transform(getattr(text, name)) for name in ("language", "topics"))
        columns = [self.text_ridge.transform(text.words), language["mean"], topics["mean"], topics["largest_mean"]]
        if "owner" in self.encoders:
            owner = self.encoders["owner"].transform(text.owner)
            columns += [owner["count"], owner["mean"], owner["maximum"]]
        if self.embedding_ridge is not None and text.embedding is not None:
            embedded = self.embedding_ridge.transform(text.words, text.embedding)
            columns.append(np.where(np.isnan(embedded), columns[0], embedded))
        return np.column_stack(columns).astype("float32")


@dataclass(frozen=True)
class Encoder:
    """All encodings, fitted on the same rows."""

    target_encodings: TargetEncodings
    text_components: TextComponents
    text_embedding: TextEmbedding | None = None

    @classmethod
    def fit(
        cls,
        text: TokenizedText,
        target: np.ndarray,
        *,
        seed: int,
        owners: bool,
        text_embedding: TextEmbedding | None = None,
    ) -> Encoder:
        """Fit on n training rows and their log1p(stars) [nat], shape (n,).

        ``owners``: whether to encode owners, which is useful only if an owner's other repositories are known at prediction time.
        ``text_embedding``: what computed the embeddings of the texts, if they have any.
        """
        encodings = TargetEncodings.fit(text, target, owners=owners)
        return cls(encodings, TextComponents.fit(text.words, seed), text_embedding)

    def transform(self, repositories: pd.DataFrame) -> pd.DataFrame:
        """Return the learned columns; shape (n_repositories, n_learned), float32."""
        text = tokenize(repositories)
        if self.text_embedding is not None:
            text = dataclasses.replace(text, embedding=self.text_embedding.transform(repositories))
        values = np.hstack([self.components(text), self.target_encodings.transform(text)])
        return pd.DataFrame(values, index=repositories.index, columns=list(self.columns))

    def components(self, text: TokenizedText) -> np.ndarray:
        """Return the columns that do not depend on the stars: those of the words, and maybe of the embeddings."""
        words = self.text_components.transform(text.words)
        return words if text.embedding is None else np.hstack([words, text.embedding[:, :N_EMBEDDING_COMPONENTS]])

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the learned columns, in order."""
        owners = "owner" in self.target_encodings.encoders
        return encoded_columns(owners=owners, embeddings=self.text_embedding is not None)

    def to_bytes(self) -> bytes:
        """Serialize as .npz without pickle."""
        parts = {"text_ridge": self.target_encodings.text_ridge.to_arrays()}
        parts["text_components"] = self.text_components.to_arrays()
        if self.text_embedding is not None and self.target_encodings.embedding_ridge is not None:
            parts["text_embedding"] = self.text_embedding.to_arrays()
            parts["embedding_ridge"] = self.target_encodings.embedding_ridge.to_arrays()
        parts |= {name: item.to_arrays() for name, item in self.target_encodings.encoders.items()}
        arrays = {f"{part}.{name}": array for part, items in parts.items() for name, array in items.items()}
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Encoder:
        """Read untrusted bytes; raise an error of zipfile, NumPy, ValueError or KeyError for bytes of another origin or size."""
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"an encoder of more than {MAX_BYTES:,} bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            parts: dict[str, dict[str, np.ndarray]] = {}
            for key in archive.files:
                part, _, name = key.partition(".")
                parts.setdefault(part, {})[name] = archive[key]
        encoders = {name: TargetEncoder.from_arrays(parts[name]) for name in SMOOTHING if name in parts}
        if not {"language", "topics"} <= set(encoders):
            raise ValueError("an encoder without target encoders")
        embedding = TextEmbedding.from_arrays(parts["text_embedding"]) if "text_embedding" in parts else None
        embedding_ridge = EmbeddingRidge.from_arrays(parts["embedding_ridge"]) if embedding else None
        encodings = TargetEncodings(TextRidge.from_arrays(parts["text_ridge"]), encoders, embedding_ridge)
        return cls(encodings, TextComponents.from_arrays(parts["text_components"]), embedding)


def encoded_columns(*, owners: bool, embeddings: bool) -> tuple[str, ...]:
    """Return the names of the learned columns, in the encoder's order."""
    encoded = (*TARGET_ENCODED, *(OWNER_ENCODED if owners else ()), *((EMBEDDING_SCORE,) if embeddings else ()))
    return (*component_columns(embeddings=embeddings), *encoded)


def component_columns(*, embeddings: bool) -> tuple[str, ...]:
    """Return the names of the first learned columns, which do not depend on the stars."""
    return (*TEXT_COMPONENTS, *(EMBEDDING_COMPONENTS if embeddings else ()))


def needs_encoder(names: Sequence[str]) -> bool:
    """Return whether any of the features is learned."""
    return not LEARNED.keys().isdisjoint(names)


def needs_embeddings(names: Iterable[str]) -> bool:
    """Return whether any of the features is computed from embeddings of the texts."""
    return not set(EMBEDDED).isdisjoint(names)

"""Columns that other rows teach: fitted on training rows, told to a row only by rows that have not seen its stars."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.encoding.target_encoding import TargetEncoder
from stargaze.features.encoding.text_models import N_COMPONENTS, TextComponents, TextRidge
from stargaze.features.encoding.tokens import TokenizedText, tokenize
from stargaze.features.registry import Registry

LEARNED = Registry()
"""The features of this module."""
learned = LEARNED.learned
TEXT_FIELDS = ("full_name", "description", "topics")
LOG_STARS = "log1p(stars)"
TARGET_ENCODED = (
    learned(
        "text_score",
        "static",
        LOG_STARS,
        "the stars that the words of name, description and topics suggest",
        *TEXT_FIELDS,
    ),
    learned("language_stars", "static", LOG_STARS, "mean of the repositories in its language", "language"),
    learned("topics_stars", "static", LOG_STARS, "mean over its topics of their repositories' mean", "topics"),
    learned("topics_stars_most", "static", LOG_STARS, "mean of the repositories of its most starred topic", "topics"),
)
OWNER_ENCODED = (
    learned("owner_repositories", "static", "repositories", "known repositories of its owner", "full_name"),
    learned("owner_stars", "static", LOG_STARS, "mean of the known repositories of its owner", "full_name"),
    learned("owner_best", "static", LOG_STARS, "the most starred of the known repositories of its owner", "full_name"),
)
"""Static: the owner's name is the maintainer's. While models are fitted and judged, no star of the repository itself is in them;
one that they were fitted on is served with itself among its owner's, and its answer says that it was learned from."""
TEXT_COMPONENTS = tuple(
    learned(
        f"text_direction_{place}",
        "static",
        "share",
        f"what it is about, direction {place} of the words",
        *TEXT_FIELDS,
        group="text_direction",
    )
    for place in range(1, N_COMPONENTS + 1)
)
SMOOTHING = {"language": 20.0, "topics": 20.0, "owner": 1.0}
"""How many rows at the overall mean stand beside each key's own [rows]; the best of 1 to 50 on the best-of lists."""
MAX_BYTES = 64_000_000
"""What an encoder may unpack to; one of 100,000 owners has 4 MB [byte]."""


@dataclass(frozen=True)
class TargetEncodings:
    """What is fitted on stars: the score of the words, and the means of languages, topics and, if they may be known, owners."""

    score: TextRidge
    means: Mapping[str, TargetEncoder]

    @classmethod
    def fit(cls, known: TokenizedText, target: np.ndarray, *, owners: bool) -> TargetEncodings:
        """Fit on n rows and their log1p(stars) [nat]."""
        keys = ("language", "topics", "owner") if owners else ("language", "topics")
        means = {name: TargetEncoder.fit(getattr(known, name), target, SMOOTHING[name]) for name in keys}
        return cls(TextRidge.fit(known.words, target), means)

    def values(self, known: TokenizedText) -> np.ndarray:
        """Return the columns :data:`TARGET_ENCODED` and, where owners were learned, :data:`OWNER_ENCODED`; shape (n, 4 or 7)."""
        language, topics = (self.means[name].transform(getattr(known, name)) for name in ("language", "topics"))
        columns = [self.score.transform(known.words), language["mean"], topics["mean"], topics["largest"]]
        if "owner" in self.means:
            owner = self.means["owner"].transform(known.owner)
            columns += [owner["count"], owner["mean"], owner["best"]]
        return np.column_stack(columns).astype("float32")


@dataclass(frozen=True)
class Encoder:
    """The learned columns of any repository, as the rows it was fitted on teach them."""

    taught: TargetEncodings
    directions: TextComponents

    @classmethod
    def fit(cls, repositories: pd.DataFrame, target: np.ndarray, *, seed: int, owners: bool) -> Encoder:
        """Fit on training rows alone.

        Parameters
        ----------
        repositories : DataFrame, shape (n_training, n_fields)
            Columns of :mod:`stargaze.features.schema`.
        target : array, shape (n_training,)
            log1p(stars) [nat].
        seed : int
            Fixes the directions.
        owners : bool
            Whether an owner's other repositories may be known where this is used.
        """
        return cls.of(tokenize(repositories), target, seed=seed, owners=owners)

    @classmethod
    def of(cls, known: TokenizedText, target: np.ndarray, *, seed: int, owners: bool) -> Encoder:
        """Fit on what was hashed before."""
        return cls(TargetEncodings.fit(known, target, owners=owners), TextComponents.fit(known.words, seed))

    def transform(self, repositories: pd.DataFrame) -> pd.DataFrame:
        """Return the learned columns; shape (n_repositories, n_learned), float32."""
        return pd.DataFrame(self.values(tokenize(repositories)), index=repositories.index, columns=list(self.names))

    def values(self, known: TokenizedText) -> np.ndarray:
        """Return the same without names, of what was hashed before."""
        return np.hstack([self.directions.transform(known.words), self.taught.values(known)])

    @property
    def names(self) -> tuple[str, ...]:
        """The learned columns in their order."""
        return encoded_columns(owners="owner" in self.taught.means)

    def to_bytes(self) -> bytes:
        """Write arrays of numbers as .npz; nothing that could run."""
        parts = {"score": self.taught.score.arrays(), "directions": self.directions.arrays()}
        parts |= {name: item.arrays() for name, item in self.taught.means.items()}
        arrays = {f"{part}.{name}": array for part, own in parts.items() for name, array in own.items()}
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Encoder:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        ValueError, KeyError, zipfile.BadZipFile
            And what else NumPy raises, if they are not an encoder of this version, or unpack to too much.
        """
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"an encoder of more than {MAX_BYTES:,} bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            parts: dict[str, dict[str, np.ndarray]] = {}
            for name in archive.files:
                part, _, own = name.partition(".")
                parts.setdefault(part, {})[own] = archive[name]
        means: dict[str, TargetEncoder] = {name: TargetEncoder.read(parts[name]) for name in SMOOTHING if name in parts}
        if not {"language", "topics"} <= set(means):
            raise ValueError("an encoder without its means")
        return cls(TargetEncodings(TextRidge.read(parts["score"]), means), TextComponents.read(parts["directions"]))


def encoded_columns(*, owners: bool) -> tuple[str, ...]:
    """Return the columns that are learned, in the encoder's order."""
    return (*TEXT_COMPONENTS, *TARGET_ENCODED, *(OWNER_ENCODED if owners else ()))


def needs_encoder(chosen: Sequence[str]) -> bool:
    """Tell whether any of these features is learned."""
    return not LEARNED.keys().isdisjoint(chosen)

"""Columns that other rows teach: fitted on training rows, told to a row only by rows that have not seen its stars."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.encoding.target_encoding import Means
from stargaze.features.encoding.text_models import N_DIRECTIONS, Directions, Score
from stargaze.features.encoding.tokens import TokenizedText, said
from stargaze.features.registry import Registry

LEARNED = Registry()
"""The features of this module."""
learned = LEARNED.learned
WORDS = ("full_name", "description", "topics")
NAT = "log1p(stars)"
TAUGHT = (
    learned("text_score", "static", NAT, "the stars that the words of name, description and topics suggest", *WORDS),
    learned("language_stars", "static", NAT, "mean of the repositories in its language", "language"),
    learned("topics_stars", "static", NAT, "mean over its topics of their repositories' mean", "topics"),
    learned("topics_stars_most", "static", NAT, "mean of the repositories of its most starred topic", "topics"),
)
BY_OWNER = (
    learned("owner_repositories", "static", "repositories", "known repositories of its owner", "full_name"),
    learned("owner_stars", "static", NAT, "mean of the known repositories of its owner", "full_name"),
    learned("owner_best", "static", NAT, "the most starred of the known repositories of its owner", "full_name"),
)
"""Static: the owner's name is the maintainer's. While models are fitted and judged, no star of the repository itself is in them;
one that they were fitted on is served with itself among its owner's, and its answer says that it was learned from."""
DIRECTIONS = tuple(
    learned(
        f"text_direction_{place}",
        "static",
        "share",
        f"what it is about, direction {place} of the words",
        *WORDS,
        group="text_direction",
    )
    for place in range(1, N_DIRECTIONS + 1)
)
WEIGHTS = {"language": 20.0, "topics": 20.0, "owner": 1.0}
"""How many rows at the overall mean stand beside each key's own [rows]; the best of 1 to 50 on the best-of lists."""
MOST_BYTES = 64_000_000
"""What an encoder may unpack to; one of 100,000 owners has 4 MB [byte]."""


@dataclass(frozen=True)
class Taught:
    """What is fitted on stars: the score of the words, and the means of languages, topics and, if they may be known, owners."""

    score: Score
    means: Mapping[str, Means]

    @classmethod
    def fit(cls, known: TokenizedText, target: np.ndarray, *, owners: bool) -> Taught:
        """Fit on n rows and their log1p(stars) [nat]."""
        keys = ("language", "topics", "owner") if owners else ("language", "topics")
        means = {name: Means.fit(getattr(known, name), target, WEIGHTS[name]) for name in keys}
        return cls(Score.fit(known.words, target), means)

    def values(self, known: TokenizedText) -> np.ndarray:
        """Return the columns :data:`TAUGHT` and, where owners were learned, :data:`BY_OWNER`; shape (n, 4 or 7)."""
        language, topics = (self.means[name].transform(getattr(known, name)) for name in ("language", "topics"))
        columns = [self.score.transform(known.words), language["mean"], topics["mean"], topics["largest"]]
        if "owner" in self.means:
            owner = self.means["owner"].transform(known.owner)
            columns += [owner["count"], owner["mean"], owner["best"]]
        return np.column_stack(columns).astype("float32")


@dataclass(frozen=True)
class Encoder:
    """The learned columns of any repository, as the rows it was fitted on teach them."""

    taught: Taught
    directions: Directions

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
        return cls.of(said(repositories), target, seed=seed, owners=owners)

    @classmethod
    def of(cls, known: TokenizedText, target: np.ndarray, *, seed: int, owners: bool) -> Encoder:
        """Fit on what was hashed before."""
        return cls(Taught.fit(known, target, owners=owners), Directions.fit(known.words, seed))

    def transform(self, repositories: pd.DataFrame) -> pd.DataFrame:
        """Return the learned columns; shape (n_repositories, n_learned), float32."""
        return pd.DataFrame(self.values(said(repositories)), index=repositories.index, columns=list(self.names))

    def values(self, known: TokenizedText) -> np.ndarray:
        """Return the same without names, of what was hashed before."""
        return np.hstack([self.directions.transform(known.words), self.taught.values(known)])

    @property
    def names(self) -> tuple[str, ...]:
        """The learned columns in their order."""
        return names(owners="owner" in self.taught.means)

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
            if sum(item.file_size for item in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"an encoder of more than {MOST_BYTES:,} bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            parts: dict[str, dict[str, np.ndarray]] = {}
            for name in archive.files:
                part, _, own = name.partition(".")
                parts.setdefault(part, {})[own] = archive[name]
        means: dict[str, Means] = {name: Means.read(parts[name]) for name in WEIGHTS if name in parts}
        if not {"language", "topics"} <= set(means):
            raise ValueError("an encoder without its means")
        return cls(Taught(Score.read(parts["score"]), means), Directions.read(parts["directions"]))


def names(*, owners: bool) -> tuple[str, ...]:
    """Return the columns that are learned, in the encoder's order."""
    return (*DIRECTIONS, *TAUGHT, *(BY_OWNER if owners else ()))


def needed(chosen: Sequence[str]) -> bool:
    """Tell whether any of these features is learned."""
    return not LEARNED.keys().isdisjoint(chosen)

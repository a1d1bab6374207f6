"""Learned columns of a whole table: each row's as rows outside its fold teach them, so that a fit sees no row's own stars."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from stargaze.features.encoding.encoder import (
    TARGET_ENCODED,
    TEXT_COMPONENTS,
    Encoder,
    TargetEncodings,
    encoded_columns,
)
from stargaze.features.encoding.text_models import TextComponents
from stargaze.features.encoding.tokens import TokenizedText, tokenize


@dataclass(frozen=True)
class OutOfFoldEncodings:
    """What the training rows of a table taught.

    ``values`` (n, q): a training row's as the other folds teach them, any other's as all training rows do. ``without``
    (n_folds, n, q): the same for whoever has not seen a fold. ``encoder`` has seen all training rows.
    """

    encoder: Encoder
    values: pd.DataFrame
    without: np.ndarray

    def unseen(self, fold: int) -> pd.DataFrame:
        """Return all rows' columns as they are known without a fold."""
        return pd.DataFrame(self.without[fold], columns=self.values.columns)


def fit_out_of_fold(
    repositories: pd.DataFrame, target: np.ndarray, side: np.ndarray, *, seed: int, owners: bool
) -> OutOfFoldEncodings:
    """Learn the columns of all rows, for the whole training part and for it without each of its folds.

    Parameters
    ----------
    repositories : DataFrame, shape (n, n_fields)
        Columns of :mod:`stargaze.features.schema`.
    target : array, shape (n,)
        log1p(stars) [nat]; of rows outside the training folds nothing is read.
    side : array of int, shape (n,)
        0 … n_folds - 1 for the training folds, less for rows that are not trained on.
    seed : int
        Fixes the directions.
    owners : bool
        Whether an owner's repositories may stand on two sides, so that they can tell of each other.

    Returns
    -------
    OutOfFoldEncodings

    Notes
    -----
    A row of one fold, told to a model that has not seen another, is told by the rows of neither: K(K + 1) / 2 + 1 fits.
    The directions look at no star, so one fit without each fold is enough.

    References
    ----------
    Wolpert, Stacked generalization, 1992 (out-of-fold values); Micci-Barreca, A preprocessing scheme for high-cardinality
    categorical attributes, 2001 (smoothed means).
    """
    known, folds = tokenize(repositories), np.unique(side[side >= 0]).tolist()
    training = side >= 0
    encoder = Encoder.of(known.of(np.flatnonzero(training)), target[training], seed=seed, owners=owners)
    columns = list(encoded_columns(owners=owners))
    told = np.zeros((2 + max(folds), len(target), len(columns)), dtype="float32")
    told[0, :, : len(TEXT_COMPONENTS)] = encoder.directions.transform(known.words)
    for fold in folds:
        seen = np.flatnonzero(training & (side != fold))
        told[1 + fold, :, : len(TEXT_COMPONENTS)] = TextComponents.fit(known.words[seen], seed).transform(known.words)
    for left_out in ((), *combinations(folds, 1), *combinations(folds, 2)):
        _tell(told[:, :, len(TEXT_COMPONENTS) :], known, target, side, left_out)
    return OutOfFoldEncodings(encoder, pd.DataFrame(told[0], index=repositories.index, columns=columns), told[1:])


def _tell(
    told: np.ndarray, known: TokenizedText, target: np.ndarray, side: np.ndarray, left_out: tuple[int, ...]
) -> None:
    """Fit without some folds and write into ``told`` (1 + n_folds, n, q) what that teaches, where just these may not be seen."""
    seen = np.flatnonzero((side >= 0) & ~np.isin(side, left_out))
    rows = np.flatnonzero((side < 0) | np.isin(side, left_out))
    if not len(seen):  # of two folds both are left out: nobody is there to tell
        for outer in left_out:
            told[1 + outer, (side >= 0) & (side != outer)] = np.nan
        return
    owners = told.shape[2] > len(TARGET_ENCODED)
    values = TargetEncodings.fit(known.of(seen), target[seen], owners=owners).values(known.of(rows))
    for reader in (None, *left_out):
        own = [fold for fold in left_out if fold != reader]
        if len(own) > 1:
            continue
        mine = np.isin(side[rows], own) if own else (side[rows] < 0) | np.isin(side[rows], left_out)
        told[0 if reader is None else 1 + reader, rows[mine]] = values[mine]

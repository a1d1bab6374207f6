"""Out-of-fold encodings: each training row is encoded without its own fold, so that no fit sees a row's own stars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from stargaze.features.encoding.encoder import (
    TEXT_COMPONENTS,
    Encoder,
    TargetEncodings,
    component_columns,
    encoded_columns,
)
from stargaze.features.encoding.text_embedding import fit_text_embedding
from stargaze.features.encoding.text_models import TextComponents
from stargaze.features.encoding.tokens import TokenizedText, tokenize
from stargaze.features.encoding.word_vectors import WordVectors


@dataclass(frozen=True)
class OutOfFoldEncodings:
    """The learned columns of a table of n rows.

    ``values`` (n, q): a training row is encoded without its own fold, any other row by all training rows.
    ``by_excluded_fold`` (n_folds, n, q): the same without one more fold, for models that must not see that fold.
    ``encoder`` is fitted on all training rows.
    """

    encoder: Encoder
    values: pd.DataFrame
    by_excluded_fold: np.ndarray

    def excluding_fold(self, fold: int) -> pd.DataFrame:
        """Return the columns of all rows, computed without a fold; shape (n, q)."""
        return pd.DataFrame(self.by_excluded_fold[fold], columns=self.values.columns)


def fit_out_of_fold(
    repositories: pd.DataFrame,
    target: np.ndarray,
    folds: np.ndarray,
    *,
    seed: int,
    owners: bool,
    word_vectors: WordVectors | None = None,
    copies: tuple[pd.DataFrame, np.ndarray] | None = None,
) -> OutOfFoldEncodings:
    """Compute the learned columns of all rows, with the whole training data and without each of its folds.

    Parameters
    ----------
    repositories : DataFrame, shape (n, n_fields)
        Columns of :mod:`stargaze.features.schema`.
    target : array, shape (n,)
        log1p(stars) [nat]; only values of training rows are read.
    folds : array of int, shape (n,)
        0 … n_folds - 1 for the training folds, negative for other rows.
    seed, owners : int, bool
        As in :meth:`Encoder.fit`.
    word_vectors : WordVectors, optional
        With them, there are also the columns of embeddings.
    copies : DataFrame, shape (n_copies, n_fields), and array, shape (n_copies,), optional
        Copies with missing values and their folds: they are encoded instead, by encoders that were fitted on ``repositories``.

    Notes
    -----
    The row of one fold, encoded for a model without another fold, needs an encoder without both: K(K + 1) / 2 + 1 fits.
    The text components do not use the stars, so one fit without each fold is enough; for the axes of the embeddings, one fit
    on all training rows.

    References
    ----------
    Wolpert, Stacked generalization, 1992.
    """
    text, fold_numbers = tokenize(repositories), np.unique(folds[folds >= 0]).tolist()
    encoded, encoded_folds = (text, folds) if copies is None else (tokenize(copies[0]), copies[1])
    training, embedding = folds >= 0, None
    if word_vectors is not None:
        embedding = fit_text_embedding(repositories.iloc[np.flatnonzero(training)], word_vectors)
        text = replace(text, embedding=embedding.transform(repositories))
        encoded = text if copies is None else replace(encoded, embedding=embedding.transform(copies[0]))
    training_text = text.take(np.flatnonzero(training))
    encoder = Encoder.fit(training_text, target[training], seed=seed, owners=owners, text_embedding=embedding)
    columns = list(encoded_columns(owners=owners, embeddings=embedding is not None))
    values = np.zeros((2 + max(fold_numbers), len(encoded_folds), len(columns)), dtype="float32")
    n_components = len(component_columns(embeddings=embedding is not None))
    values[:, :, :n_components] = encoder.components(encoded)
    for fold in fold_numbers:
        training_rows = np.flatnonzero(training & (folds != fold))
        components = TextComponents.fit(text.words[training_rows], seed)
        values[1 + fold, :, : len(TEXT_COMPONENTS)] = components.transform(encoded.words)
    for excluded in ((), *combinations(fold_numbers, 1), *combinations(fold_numbers, 2)):
        training_rows = np.flatnonzero(training & ~np.isin(folds, excluded))
        fitted = (
            TargetEncodings.fit(text.take(training_rows), target[training_rows], owners=owners)
            if len(training_rows)
            else None  # there are only two folds, and both are excluded
        )
        _encode_excluding(values[:, :, n_components:], fitted, encoded, encoded_folds, excluded)
    index = repositories.index if copies is None else copies[0].index
    return OutOfFoldEncodings(encoder, pd.DataFrame(values[0], index=index, columns=columns), values[1:])


def _encode_excluding(
    values: np.ndarray,
    fitted: TargetEncodings | None,
    text: TokenizedText,
    folds: np.ndarray,
    excluded: tuple[int, ...],
) -> None:
    """Write the rows that need the encoder that was fitted without some folds into ``values`` (1 + n_folds, n, q)."""
    rows = np.flatnonzero((folds < 0) | np.isin(folds, excluded))
    if fitted is None:
        for fold in excluded:
            values[1 + fold, (folds >= 0) & (folds != fold)] = np.nan
        return
    encoded = fitted.transform(text.take(rows))
    for model_fold in (None, *excluded):  # the fold that the model does not see
        row_folds = [fold for fold in excluded if fold != model_fold]
        if len(row_folds) > 1:
            continue
        needed = np.isin(folds[rows], row_folds) if row_folds else np.full(len(rows), True)
        values[0 if model_fold is None else 1 + model_fold, rows[needed]] = encoded[needed]

"""Whether embeddings of the texts are used: always, never, or where they lower the error by more than noise."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from stargaze.config import FeaturesSection
from stargaze.features.dataset import Dataset
from stargaze.features.encoding.encoder import EMBEDDED, EMBEDDING_COMPONENTS, EMBEDDING_SCORE
from stargaze.features.encoding.word_vectors import INSTALL, is_installed
from stargaze.features.selection.permutation_importance import TrainingRows, fold_errors
from stargaze.features.selection.stability import ErrorIncrease

MIN_TEXTS = 100
"""Training rows with a description or a README; a regression on fewer says nothing."""
NOISE = 1.0
"""Embeddings are used if the error is higher without them by more than this [standard errors of the paired folds]."""
TEXT_SCORE = "text_score"


def explain_no_embeddings(dataset: Dataset, section: FeaturesSection, excluded: Collection[str]) -> str:
    """Return why embeddings are not computed; empty if they are.

    With ``features.text_embeddings = "on"``, they are computed without the extra too, which raises MissingInputError.
    """
    if set(EMBEDDED) <= set(excluded):
        return "not computed: excluded"
    if section.text_embeddings == "off":
        return 'not computed: features.text_embeddings = "off"'
    training = dataset.repositories.iloc[dataset.training]
    n_texts = int(training[["description", "readme"]].notna().any(axis=1).sum())
    if n_texts < MIN_TEXTS:
        return f"not computed: {n_texts:,} training repositories have a description or README, fewer than {MIN_TEXTS}"
    if section.text_embeddings == "auto" and not is_installed():
        return f"not computed: {INSTALL}"
    return ""


def choose_embeddings(
    training: TrainingRows, candidates: Sequence[str], section: FeaturesSection, included: Collection[str]
) -> dict[str, str]:
    """Return the features against which the choice is, each with the reason: those of embeddings, or what they replace.

    The score of the embeddings replaces that of the words if its own out-of-fold error is smaller beyond noise. Then the
    components stay if models of all ``candidates``, those of policy ``static``, have a smaller error with them beyond noise.
    """
    embedded = [name for name in EMBEDDED if name in candidates]
    is_forced = section.text_embeddings == "on" or not set(embedded).isdisjoint(included)
    dropped: dict[str, str] = {}
    if EMBEDDING_SCORE in candidates:
        increase = compare_scores(training)
        squared = f"out of fold, the squared error of {TEXT_SCORE} is higher by {increase.as_text()} nat²"
        if is_forced or increase.exceeds(NOISE):
            dropped[TEXT_SCORE] = f"replaced by {EMBEDDING_SCORE}: {squared}"
        else:
            dropped[EMBEDDING_SCORE] = f"no better than {TEXT_SCORE}: {squared}"
    components = [name for name in EMBEDDING_COMPONENTS if name in candidates]
    if components and not is_forced:
        using = [name for name in candidates if name not in dropped]
        without = [name for name in using if name not in components]
        differences = fold_errors(training, without, section) - fold_errors(training, using, section)
        increase = ErrorIncrease.from_differences(differences)
        if not increase.exceeds(NOISE):
            reason = f"no help: without the components the error is higher by {increase.as_text()} nat"
            dropped |= dict.fromkeys(components, reason)
    return {name: reason for name, reason in dropped.items() if name in candidates and name not in included}


def compare_scores(training: TrainingRows) -> ErrorIncrease:
    """Return by how much the squared error [nat²] of the score of the words is higher than that of the embeddings."""
    words, embeddings = (_squared_errors(training, name) for name in (TEXT_SCORE, EMBEDDING_SCORE))
    return ErrorIncrease.from_differences(words - embeddings)


def _squared_errors(training: TrainingRows, name: str) -> np.ndarray:
    """Return the mean squared error of an out-of-fold score in each fold, of the mean if there is no such score; (n_folds,)."""
    target, scores = training.target, training.inputs.get(name, training.target.mean())
    squared = (np.asarray(scores, dtype="float64") - target) ** 2
    return np.array([squared[training.folds == fold].mean() for fold in np.unique(training.folds)])

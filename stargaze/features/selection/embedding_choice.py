"""Whether embeddings of the texts are used: always, never, or where they lower the error by more than noise."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from stargaze.config import FeaturesSection
from stargaze.features.dataset import Dataset
from stargaze.features.encoding.encoder import EMBEDDED, EMBEDDING_COMPONENTS, EMBEDDING_SCORE
from stargaze.features.encoding.word_vectors import INSTALL, is_installed
from stargaze.features.selection.permutation_importance import TrainingRows, fold_errors
from stargaze.features.selection.stability import ErrorIncrease

MIN_TEXTS = 100
"""Training rows with a description or a README; a regression on fewer says nothing."""
WITHOUT = "embeddings do not help"
NOISE = 1.0
"""Embeddings are used if the error is higher without them by more than this [standard errors of the paired folds]."""


def explain_no_embeddings(dataset: Dataset, section: FeaturesSection, excluded: Collection[str]) -> str:
    """Return why embeddings are not computed; empty if they are.

    With ``features.text_embeddings = "on"``, they are computed in any case: MissingInputError follows if the extra is missing.
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
    """Return the features against which the choice is, each with the reason: those of embeddings, or those they replace.

    ``candidates`` are the features of policy ``static``, under which texts matter most.
    """
    if not set(EMBEDDED) & set(candidates):
        return {}
    ways = list_ways(candidates, included)
    errors = {way: fold_errors(training, names, section) for way, names in ways.items()}
    without = errors.pop(WITHOUT)
    best = min(errors, key=lambda way: float(errors[way].mean()))
    increase = ErrorIncrease.from_differences(without - errors[best])
    is_forced = section.text_embeddings == "on" or not set(EMBEDDED).isdisjoint(included)
    chosen = best if is_forced or increase.exceeds(NOISE) else WITHOUT
    reason = (
        f"{chosen}: without embeddings the error changes by {increase.mean:+.4f} ± {increase.standard_error:.4f} nat"
    )
    return {name: reason for name in candidates if name not in ways[chosen]}


def list_ways(candidates: Sequence[str], included: Collection[str]) -> dict[str, list[str]]:
    """Return the candidates of each way to use the texts."""
    dropped = {
        WITHOUT: EMBEDDED,
        "the score of the embeddings is used": ("text_score", *EMBEDDING_COMPONENTS),
        "the components of the embeddings are used": (EMBEDDING_SCORE,),
        "the embeddings are used": ("text_score",),
    }
    return {
        way: [name for name in candidates if name not in names or name in included] for way, names in dropped.items()
    }

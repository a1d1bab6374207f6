"""Assign repositories to training folds, validation and test; all repositories of an owner get the same assignment."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection

TEST = -1
VALIDATION = -2


def assign_folds(full_name: pd.Series, section: FeaturesSection) -> np.ndarray:
    """Assign every repository to a training fold, to validation or to test.

    The assignment depends only on the owner's name and the seed. It does not change when other repositories are added or
    removed, so two fetches are comparable and a held-out repository is never trained on later.

    Parameters
    ----------
    full_name : Series of str, shape (n_repositories,)
        owner/name; case-insensitive, as on GitHub.
    section : FeaturesSection
        Fractions of test and validation, number of folds, seed, and the grouping (``split_by``).

    Returns
    -------
    array of int, shape (n_repositories,)
        0 … folds - 1 for training, :data:`TEST` or :data:`VALIDATION`.

    Examples
    --------
    >>> folds = assign_folds(pd.Series(["a/x", "A/y", "b/z"]), FeaturesSection())
    >>> bool(folds[0] == folds[1])
    True
    """
    lower = full_name.str.lower()
    group = lower.str.replace(r"/.*", "", regex=True) if section.split_by == "owner" else lower
    codes, groups = pd.factorize(group)
    salt = f"stargaze-{np.base_repr(section.seed, 36):0>7}"  # hash_array needs 16 characters; unique for every seed
    uniform = pd.util.hash_array(np.asarray(groups, dtype="object"), hash_key=salt).astype("float64") / 2.0**64
    held_out = section.test_size + section.validation_size
    fold = ((uniform - held_out) / (1.0 - held_out) * section.folds).astype("int64")
    training = np.clip(fold, 0, section.folds - 1)
    assigned = np.where(uniform < section.test_size, TEST, np.where(uniform < held_out, VALIDATION, training))
    return assigned[codes]

"""Which repositories train, which calibrate and which are only looked at in the end; no owner stands on two sides."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection

TEST = -1
VALIDATION = -2


def assign_folds(full_name: pd.Series, section: FeaturesSection) -> np.ndarray:
    """Assign every repository to a training fold, to validation or to test.

    The side is a function of the owner's name and the seed alone: it does not change when other repositories come or go,
    so figures of two fetches can be compared and nothing that was held out is ever trained on later.

    Parameters
    ----------
    full_name : Series of str, shape (n_repositories,)
        owner/name; case does not matter, as on GitHub.
    section : FeaturesSection
        Shares of test and validation, number of folds, seed, and what must stay together.

    Returns
    -------
    array of int, shape (n_repositories,)
        0 … folds - 1 for training, :data:`TEST` or :data:`VALIDATION`.

    Examples
    --------
    >>> names = pd.Series(["a/x", "A/y", "b/z"])
    >>> side = assign_folds(names, FeaturesSection())
    >>> bool(side[0] == side[1])
    True
    """
    lower = full_name.str.lower()
    group = lower.str.replace(r"/.*", "", regex=True) if section.split_by == "owner" else lower
    codes, owners = pd.factorize(group)
    salt = f"stargaze-{np.base_repr(section.seed, 36):0>7}"  # 16 characters for every seed, none like another's
    place = pd.util.hash_array(np.asarray(owners, dtype="object"), hash_key=salt).astype("float64") / 2.0**64
    held_out = section.test_size + section.validation_size
    fold = ((place - held_out) / (1.0 - held_out) * section.folds).astype("int64")
    side = np.where(
        place < section.test_size, TEST, np.where(place < held_out, VALIDATION, np.clip(fold, 0, section.folds - 1))
    )
    return side[codes]

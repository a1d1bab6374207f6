"""The rows of one policy: complete ones, copies with missing values, and the test rows of each pattern of missing values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.masking import apply_pattern
from stargaze.features.matrix import is_any_known, own_features
from stargaze.tuning.cross_validation import Arrays, policy_arrays

MASKED_WEIGHT = 0.5
"""The weight of a copy with missing values in the fit; a complete row has 1."""
MEASURED = ("live with token", "live without token", "five typed metrics")
"""The patterns that are scored on the test rows."""


@dataclass(frozen=True)
class PolicyRows:
    """The arrays of one policy for all complete rows and their masked copies, and the row numbers of each set.

    ``answered`` tells which masked copies this policy answers: one of its own features is known. ``measured`` are the inputs
    of the test rows under each measured pattern, and which of them it answers.
    """

    complete: Arrays
    masked: Arrays
    answered: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    measured: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, table: Dataset, masked: Dataset, feature_set: FeatureSet, policy: str) -> PolicyRows:
        """Return the arrays of a data set and of its masked copies."""
        rows, own = np.arange(len(table.target)), own_features(feature_set.selected[policy], policy)
        complete, copies = (policy_arrays(item, feature_set, policy, rows) for item in (table, masked))
        repositories, measured = table.repositories.iloc[table.test], {}
        for name in MEASURED:
            partial = apply_pattern(repositories, name, feature_set.split.seed)
            inputs = table.serving_inputs(feature_set, policy, partial).to_numpy()
            measured[name] = (inputs, is_any_known(inputs, own))
        return cls(
            complete, copies, is_any_known(copies.inputs, own), table.training, table.validation, table.test, measured
        )

    def with_copies(self, rows: np.ndarray) -> Arrays:
        """Return complete rows and, after them, their masked copies that this policy answers."""
        return self.complete.take(rows).stack(self.masked.take(rows[self.answered[rows]]), MASKED_WEIGHT)

"""The rows of one policy: complete ones, copies with missing values, and the test rows of each pattern of missing values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stargaze.capacity import interpolate, share_of_many
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.masking import Copies, apply_pattern, maskable_fields, remove_fields
from stargaze.features.matrix import is_any_known
from stargaze.features.own_columns import OwnColumn
from stargaze.tuning.cross_validation import Arrays, policy_arrays

MAX_CHECKED, MAX_NESTED, ORDERS = 2_000, 400, 15
"""Validation rows of which single fields are removed, and of which all fields are, in this number of random orders."""
COPY_WEIGHTS, LARGEST_WEIGHT = (0.1, 0.3), 0.25
"""The weight of a copy relative to the complete row, of few rows and of many: a model has too few leaves to describe both.
The second one is that of a copy which keeps one of the largest counts, relative to other copies."""
LEAST_ANSWERED = 0.5
"""The least share of rows that the policy answers after a removal in a random order: another policy answers the others."""
MEASURED = ("live with token", "live without token", "five typed metrics", "one typed metric")
"""The patterns that are scored on the test rows."""


@dataclass(frozen=True)
class RemovalOrder:
    """Inputs of complete validation rows, and of the same rows after the removal of each field and of all before it."""

    complete: np.ndarray
    steps: tuple[tuple[str, np.ndarray], ...]


@dataclass(frozen=True)
class PolicyRows:
    """The arrays of one policy for all complete rows and their masked copies, and the row numbers of each set.

    ``copied`` are the rows of the copies, weighted by :func:`copy_weight`. ``answered`` tells which of them this policy answers:
    one of its own features is known. ``measured`` are the inputs of the test rows under each measured pattern, and which of
    them it answers.
    """

    complete: Arrays
    masked: Arrays
    copied: np.ndarray
    answered: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    measured: dict[str, tuple[np.ndarray, np.ndarray]]
    checked: np.ndarray
    """Validation rows of which one field at a time is removed; ``without_field`` are their inputs."""
    without_field: dict[str, np.ndarray]
    orders: tuple[RemovalOrder, ...]
    names: tuple[str, ...]
    """The selected features."""
    own_columns: tuple[OwnColumn, ...] = ()
    """The own columns among them are defined by these; other processes compute the catalog again."""

    @classmethod
    def of(cls, table: Dataset, masked: Dataset, copies: Copies, feature_set: FeatureSet, policy: str) -> PolicyRows:
        """Return the arrays of a data set and of its masked copies."""
        weights = copy_weight(len(table.training)) * np.where(copies.are_drawn, 1.0, LARGEST_WEIGHT)
        own = feature_set.answering_features(policy)
        complete, partial = (
            policy_arrays(item, feature_set, policy, np.arange(len(item.target))) for item in (table, masked)
        )
        repositories, measured = table.repositories.iloc[table.test], {}
        for name in MEASURED:
            incomplete = apply_pattern(repositories, name, feature_set.split.seed)
            inputs = table.serving_inputs(feature_set, policy, incomplete).to_numpy()
            measured[name] = (inputs, is_any_known(inputs, own))
        checked = _spaced(table.validation, MAX_CHECKED)
        return cls(
            complete,
            replace(partial, weights=weights),
            copies.rows,
            is_any_known(partial.inputs, own),
            table.training,
            table.validation,
            table.test,
            measured,
            checked,
            _remove_each_field(table, feature_set, policy, checked),
            tuple(_remove_in_random_orders(table, feature_set, policy)),
            tuple(feature_set.selected[policy]),
            feature_set.own_columns,
        )

    def with_copies(self, rows: np.ndarray, *, once: bool = False) -> Arrays:
        """Return complete rows and, after them, their masked copies that this policy answers; ``once``: the first of each."""
        chosen = np.flatnonzero(self.answered & np.isin(self.copied, rows))
        chosen = chosen[chosen < len(self.complete.target)] if once else chosen
        return self.complete.take(rows).stack(self.masked.take(chosen))


def copy_weight(rows: int) -> float:
    """Return the weight of a copy for a number of training rows.

    Examples
    --------
    >>> [round(copy_weight(rows), 2) for rows in (300, 1_000, 10_000)]
    [0.1, 0.15, 0.3]
    """
    return interpolate(*COPY_WEIGHTS, share_of_many(rows))


def _remove_each_field(table: Dataset, feature_set: FeatureSet, policy: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs of some rows without each record field that a selected feature reads."""
    repositories, selected, catalog = table.repositories.iloc[rows], feature_set.selected[policy], feature_set.catalog
    complete = table.serving_inputs(feature_set, policy, repositories)
    result = {}
    for field in maskable_fields(repositories):
        names = [name for name in selected if field in catalog[name].source]
        if names:
            partial = remove_fields(repositories, [field], np.zeros((len(rows), 1), dtype=bool))
            changed = table.compute_features(feature_set, names, partial)
            result[field] = complete.assign(**{name: changed[name] for name in names}).to_numpy()
    return result


def _remove_in_random_orders(table: Dataset, feature_set: FeatureSet, policy: str) -> Iterator[RemovalOrder]:
    """Yield the inputs of some rows while all fields that a selected feature reads are removed, one after the other."""
    random, selected = np.random.default_rng(feature_set.split.seed), feature_set.selected[policy]
    catalog = feature_set.catalog
    rows, own = _spaced(table.validation, MAX_NESTED), feature_set.answering_features(policy)
    repositories = table.repositories.iloc[rows]
    complete = table.serving_inputs(feature_set, policy, repositories)
    sources = {field for name in selected for field in catalog[name].source}
    fields = [field for field in maskable_fields(repositories) if field in sources]
    for _ in range(ORDERS):
        partial, inputs, steps = repositories, complete, []
        for field in random.permutation(fields).tolist():
            partial = remove_fields(partial, [field], np.zeros((len(rows), 1), dtype=bool))
            names = [name for name in selected if field in catalog[name].source]
            changed = table.compute_features(feature_set, names, partial)
            inputs = inputs.assign(**{name: changed[name] for name in names})
            if is_any_known(inputs.to_numpy(), own).mean() < LEAST_ANSWERED:
                break
            steps.append((field, inputs.to_numpy()))
        yield RemovalOrder(complete.to_numpy(), tuple(steps))


def _spaced(rows: np.ndarray, count: int) -> np.ndarray:
    """Return at most so many of the rows, evenly spaced."""
    places = np.linspace(0, len(rows) - 1, min(len(rows), count)).astype("int64")
    return np.asarray(rows[places])

"""Training folds, validation set and test set of the repositories: settings of a split, and the set of each name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES, FeaturesSection, parse_section
from stargaze.features.ingest.parsing.repository_names import FULL_NAME, MAX_LISTED, read_name_list

TEST = -1
VALIDATION = -2
LEFT_OUT = -3
"""Repositories of owners that are in the test set by name, if the split is by owner: they are neither trained on nor tested."""
TEST_NAMES, POLICIES_KEY = "test_names", "policies"


@dataclass(frozen=True)
class Split(FeaturesSection):
    """The settings of a feature set, with the names of the test set in place of the file that lists them."""

    test_names: tuple[str, ...] = ()
    """In lower case and in order."""


def parse_split(value: Mapping[str, Any], source: str) -> FeaturesSection:
    """Return stored settings; raise ConfigError or ValueError if they are not valid."""
    names = value.get(TEST_NAMES, [])
    if not isinstance(names, list) or len(names) > MAX_LISTED or not all(map(_is_lower_name, names)):
        raise ValueError(f"{source}.{TEST_NAMES} is not a list of names")
    section: FeaturesSection = parse_section(
        "features", {name: item for name, item in value.items() if name != TEST_NAMES}, source=source
    )
    return _with_names(section, names) if names else section


def read_split(section: FeaturesSection) -> FeaturesSection:
    """Return the settings of a section, with the names in the file of its test set if there is one."""
    path = section.test_repositories
    return _with_names(section, read_name_list(Path(path))) if path else section


def split_to_json(split: FeaturesSection) -> dict[str, Any]:
    """Return the plain values that :func:`parse_split` reads."""
    value = dataclasses.asdict(split)
    if split.policies == list(POLICIES):  # as in files of earlier versions
        del value[POLICIES_KEY]
    return {**value, TEST_NAMES: list(split.test_names)} if isinstance(split, Split) else value


def _with_names(section: FeaturesSection, test_names: Sequence[str]) -> Split:
    """Return the settings of a section with names in place of the path."""
    values = {item.name: getattr(section, item.name) for item in dataclasses.fields(section)}
    return Split(**{**values, "test_repositories": "", TEST_NAMES: tuple(test_names)})


def _is_lower_name(text: object) -> bool:
    return isinstance(text, str) and text == text.lower() and FULL_NAME.fullmatch(text) is not None


def assign_folds(full_name: pd.Series, section: FeaturesSection) -> np.ndarray:
    """Assign every repository to a training fold (0 … folds - 1), to :data:`VALIDATION` or to :data:`TEST`; shape (n,).

    The assignment depends only on the owner's name (case-insensitive) and the seed. It does not change when other repositories
    are added or removed, so two fetches are comparable and a held-out repository is never trained on later. If the section is a
    :class:`Split` with the names of the test set, only these are in it, and others of their owners are :data:`LEFT_OUT`.

    Examples
    --------
    >>> folds = assign_folds(pd.Series(["a/x", "A/y", "b/z"]), FeaturesSection())
    >>> bool(folds[0] == folds[1])
    True
    """
    test_names = section.test_names if isinstance(section, Split) else ()
    test_size = 0.0 if test_names else section.test_size
    lower = full_name.str.lower()
    group = lower.str.replace(r"/.*", "", regex=True) if section.split_by == "owner" else lower
    codes, groups = pd.factorize(group)
    salt = f"stargaze-{np.base_repr(section.seed, 36):0>7}"  # hash_array needs 16 characters; unique for every seed
    uniform = pd.util.hash_array(np.asarray(groups, dtype="object"), hash_key=salt).astype("float64") / 2.0**64
    held_out = test_size + section.validation_size
    fold = ((uniform - held_out) / (1.0 - held_out) * section.folds).astype("int64")
    training = np.clip(fold, 0, section.folds - 1)
    assigned = np.where(uniform < test_size, TEST, np.where(uniform < held_out, VALIDATION, training))[codes]
    if test_names:
        owners = {name.partition("/")[0] for name in test_names} if section.split_by == "owner" else set()
        assigned[group.isin(owners)] = LEFT_OUT
        assigned[lower.isin(test_names)] = TEST
    return assigned

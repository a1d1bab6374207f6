"""Missing values as live look-ups, entered figures and tables have them: copies of repositories without some record fields.

Fields of the record are removed, not features: several features are computed from the same field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.github.api.field_sets import graphql_fields, rest_fields
from stargaze.features.ingest.user_input import USUAL_FIELDS
from stargaze.features.schema import DESCRIPTION_FACTS, FIELD_BY_NAME

ALWAYS_KNOWN = frozenset({"id", "node_id", "fetched_at", "stars", "watchers"})
"""Fields that every request has, or that no feature reads."""
CONTRIBUTORS = frozenset({"contributors"})
"""What a live look-up requests beside the repository."""
LARGEST_COUNTS = (
    *("contributors", "commits", "open_issues", "closed_issues", "pull_requests", "forks", "subscribers", "downloads"),
)
"""Fields whose largest values have further copies in which little else is known: with one copy of a row there are hardly any."""
LARGEST_SHARE, LARGEST_COPIES = 0.02, 3
"""The share of the repositories that have further copies for one of these fields, and the number of these copies."""
Draw = Callable[[np.random.Generator, int, Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Pattern:
    """A kind of missing values: its share of the masked copies, and which fields n rows keep, shape (n, n_fields)."""

    name: str
    share: float
    draw: Draw
    has_own_columns: bool = False
    """Whether rows may keep own columns: GitHub does not know them, and nobody enters them."""
    is_entered: bool = False
    """Whether a person enters the fields."""

    def draw_kept(self, random: np.random.Generator, n: int, names: Sequence[str]) -> np.ndarray:
        """Return which of the columns n rows keep, shape (n, n_names)."""
        fields = np.array([self.has_own_columns or name in FIELD_BY_NAME for name in names], dtype=bool)
        kept = np.zeros((n, len(names)), dtype=bool)
        kept[:, fields] = self.draw(random, n, [name for name, is_field in zip(names, fields, strict=True) if is_field])
        return kept


@dataclass(frozen=True)
class Copies:
    """The row of each masked copy, and the field that it keeps in any case, or None; shapes (n,)."""

    rows: np.ndarray
    keeps: np.ndarray

    @property
    def are_drawn(self) -> np.ndarray:
        """Whether any field may be missing; shape (n,)."""
        return np.array([field is None for field in self.keeps], dtype=bool)


def _keep(find_fields: Callable[[], Collection[str]]) -> Draw:
    """Keep the fields of a source."""

    def draw(_random: np.random.Generator, n: int, names: Sequence[str]) -> np.ndarray:
        known = find_fields()
        return np.tile([name in known for name in names], (n, 1))

    return draw


def _keep_share(low: float, high: float) -> Draw:
    """Keep each field with a probability that is drawn for each row."""

    def draw(random: np.random.Generator, n: int, names: Sequence[str]) -> np.ndarray:
        return random.random((n, len(names))) < random.uniform(low, high, (n, 1))

    return draw


def _keep_usual(count: int) -> Draw:
    """Keep so many of the fields that a visitor is likely to know."""

    def draw(random: np.random.Generator, n: int, names: Sequence[str]) -> np.ndarray:
        order = random.random((n, len(names))) + np.array([name not in USUAL_FIELDS for name in names], dtype="float64")
        kept: np.ndarray = np.argsort(np.argsort(order, axis=1), axis=1) < count
        return kept

    return draw


def _remove_one(random: np.random.Generator, n: int, names: Sequence[str]) -> np.ndarray:
    kept: np.ndarray = random.integers(0, len(names), n)[:, None] != np.arange(len(names))
    return kept


PATTERNS: dict[str, Pattern] = {
    pattern.name: pattern
    for pattern in (
        Pattern("live with token", 0.1, _keep(lambda: graphql_fields() | CONTRIBUTORS)),
        Pattern("live without token", 0.12, _keep(lambda: rest_fields() | CONTRIBUTORS)),
        Pattern("live without contributors", 0.06, _keep(rest_fields)),
        Pattern("typed metrics", 0.1, _keep_share(0.0, 1.0), is_entered=True),
        Pattern("five typed metrics", 0.2, _keep_usual(5), is_entered=True),
        Pattern("one typed metric", 0.3, _keep_usual(1), is_entered=True),
        Pattern("table", 0.06, _keep_share(0.6, 1.0), has_own_columns=True),
        Pattern("one field missing", 0.06, _remove_one, has_own_columns=True),
    )
}


def maskable_fields(repositories: pd.DataFrame) -> list[str]:
    """Return the fields and own columns that some repository has and a request may lack.

    A description is known if its text or its stored facts are.
    """
    known = {str(name) for name in repositories if repositories[name].notna().any()}
    known |= {"description"} if known.intersection(DESCRIPTION_FACTS) else set()
    return [name for name in map(str, repositories) if name in known.difference(ALWAYS_KNOWN, DESCRIPTION_FACTS)]


def remove_fields(repositories: pd.DataFrame, names: Iterable[str], kept: np.ndarray) -> pd.DataFrame:
    """Return the repositories, columns of the schema, with a field only where ``kept`` is true, shape (n, n_names).

    The stored facts of a description are removed with its text.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> records = schema.conform(pd.DataFrame({"full_name": ["a/b", "c/d"], "forks": [3.0, 4.0]}))
    >>> remove_fields(records, ["forks"], np.array([[True], [False]]))["forks"].tolist()
    [3.0, nan]
    """
    columns = {name: repositories[name].where(column) for name, column in zip(names, kept.T, strict=True)}
    if "description" in columns:
        known = kept[:, list(columns).index("description")]
        columns |= {name: repositories[name].where(known) for name in DESCRIPTION_FACTS if name in repositories}
    return repositories.assign(**columns)


def apply_pattern(repositories: pd.DataFrame, name: str, seed: int) -> pd.DataFrame:
    """Return the repositories with the missing values of one pattern."""
    names = maskable_fields(repositories)
    kept = PATTERNS[name].draw_kept(np.random.default_rng(seed), len(repositories), names)
    return remove_fields(repositories, names, kept)


def choose_copies(repositories: pd.DataFrame, folds: np.ndarray) -> Copies:
    """Return one copy of every repository in order, then copies that keep a count which is among the largest.

    The largest are chosen in each set: ``folds`` are numbered as in :func:`~stargaze.features.split.assign_folds`. The choice
    does not depend on stars, which would bias the estimates of repositories of which little is known.

    Examples
    --------
    >>> forks = pd.DataFrame({"forks": np.arange(1.0, 101.0)})
    >>> choose_copies(forks, np.zeros(100)).rows.tolist()[99:]
    [99, 98, 99, 98, 99, 98, 99]
    """
    sets = np.minimum(folds, 0)
    rows, keeps = [np.arange(len(folds))], [np.full(len(folds), None, dtype=object)]
    for number in np.unique(sets)[::-1]:
        for field in (name for name in LARGEST_COUNTS if name in repositories):
            values = repositories[field].to_numpy(dtype="float64")
            known = np.flatnonzero((sets == number) & (values > 0))
            largest = np.sort(known[np.argsort(-values[known], kind="stable")][: int(LARGEST_SHARE * len(known))])
            rows.append(np.tile(largest, LARGEST_COPIES))
            keeps.append(np.full(LARGEST_COPIES * len(largest), field, dtype=object))
    return Copies(np.concatenate(rows), np.concatenate(keeps))


def mask_repositories(repositories: pd.DataFrame, seed: int, keeps: np.ndarray | None = None) -> pd.DataFrame:
    """Return one copy of each repository, with the missing values of a pattern that is drawn for it.

    ``keeps`` are the fields that copies keep, shape (n,), or None; such a copy has one of the patterns of entered metrics.
    """
    random, names, patterns = np.random.default_rng(seed), maskable_fields(repositories), list(PATTERNS.values())
    shares = np.array([pattern.share for pattern in patterns])
    chosen = random.choice(len(patterns), len(repositories), p=shares / shares.sum())
    fields = np.full(len(repositories), None, dtype=object) if keeps is None else keeps
    keeping = np.flatnonzero(np.isin(fields, names))
    entered = np.array([pattern.is_entered for pattern in patterns])
    chosen[keeping] = random.choice(len(patterns), len(keeping), p=shares * entered / (shares * entered).sum())
    kept = np.zeros((len(repositories), len(names)), dtype=bool)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(chosen == number)
        kept[rows] = pattern.draw_kept(random, len(rows), names)
    kept[keeping[chosen[keeping] == list(PATTERNS).index("one typed metric")]] = False
    kept[keeping, [names.index(field) for field in fields[keeping]]] = True
    return remove_fields(repositories, names, kept)

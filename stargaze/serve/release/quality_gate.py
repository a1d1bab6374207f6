"""Whether a bundle may follow the one in production: not where it predicts held-out repositories worse, beyond noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from stargaze.bundle.star_bundle import Bundle, Estimate
from stargaze.config import FeaturesSection
from stargaze.errors import DifferenceFoundError, StargazeError
from stargaze.features import schema
from stargaze.features.split import TEST, assign_folds
from stargaze.store import Store

NOISE = 2.0
"""How many standard errors a difference may be worse [1]."""
LEAST = 30
"""With fewer owners the error of a difference says nothing."""


class Predictor(Protocol):
    """What is compared: a bundle."""

    @property
    def split(self) -> FeaturesSection:
        """The rule by which repositories were parted when it was fitted."""

    def answer(self, repositories: pd.DataFrame) -> Estimate:
        """Predict log1p(stars) [nat]."""


@dataclass(frozen=True)
class Verdict:
    """How the challenger did beside the champion, on repositories that neither was fitted on.

    ``difference`` is the mean squared logarithmic error of the challenger less that of the champion, ``error`` its standard
    error with an owner's repositories taken together [nat²].
    """

    repositories: int
    owners: int
    challenger: float
    """RMSLE [nat]."""
    champion: float
    """RMSLE [nat]."""
    difference: float
    error: float

    @property
    def is_worse(self) -> bool:
        """Notify whether the challenger is worse by more than chance would have it, or by what is no number."""
        return not self.difference <= NOISE * self.error

    def as_text(self) -> str:
        """Return one line for people."""
        return (
            f"RMSLE {self.challenger:.3f} to {self.champion:.3f} in production, on the same {self.repositories:,} held-out "
            f"repositories (squared errors {self.difference:+.4f} ± {self.error:.4f} nat²)"
        )


def check(challenger: Path, champion: Path, store: Store) -> Verdict:
    """Compare two bundles on the repositories of the store, or those that travel with the challenger.

    Raises
    ------
    DifferenceFoundError
        If the challenger is worse, or the two cannot be compared.
    """
    new = Bundle.load(challenger)
    try:
        verdict = compare(new, Bundle.load(champion), _repositories(store, new))
    except StargazeError as error:
        raise DifferenceFoundError(
            f"it cannot be compared with {champion.name[:12]}, which is in production: {error.message}", hint=HINT
        ) from error
    if verdict.is_worse:
        raise DifferenceFoundError(
            f"{challenger.name[:12]} predicts worse than {champion.name[:12]}: {verdict.as_text()}",
            hint=f"{HINT}; stargaze tune --trials with more of them may find a better one",
        )
    return verdict


HINT = 'stargaze deploy --force "why it shall be so"'


def compare(challenger: Predictor, champion: Predictor, repositories: pd.DataFrame) -> Verdict:
    """Let both predict the repositories that both had held out.

    Parameters
    ----------
    repositories : DataFrame, columns of the schema
        With or without those that were trained on; only what both splits call a test is looked at.

    Raises
    ------
    DifferenceFoundError
        If fewer than :data:`LEAST` owners are left to judge by, or one of the two predicts what is no finite number.
    """
    there = repositories[repositories["stars"].notna() & repositories["full_name"].notna()]
    for one in (challenger, champion):
        there = there[assign_folds(there["full_name"], one.split) == TEST]
    owners = there["full_name"].str.lower().str.replace(r"/.*", "", regex=True)
    if owners.nunique() < LEAST:
        raise DifferenceFoundError(
            f"only {len(there)} repositories of {owners.nunique()} owners were held out from both",
            hint="stargaze fetch",
        )
    there = there.reset_index(drop=True)
    truth = np.log1p(there["stars"].to_numpy(dtype="float64"))
    new, old = challenger.answer(there).predicted, champion.answer(there).predicted
    for name, predicted in (("the bundle", new), ("the one in production", old)):
        if unknown := len(there) - int(np.isfinite(predicted).sum()):
            raise DifferenceFoundError(f"{name} predicts no finite number for {unknown} of {len(there)} repositories")
    return judge(truth, new, old, owners.to_numpy())


@np.errstate(over="ignore", invalid="ignore")  # what is no number comes out as worse
def judge(truth: np.ndarray, challenger: np.ndarray, champion: np.ndarray, owners: np.ndarray) -> Verdict:
    """Compare two predictions of the same repositories, pair by pair.

    Parameters
    ----------
    truth, challenger, champion : array of float, shape (n,)
        log1p(stars) [nat].
    owners : array of str, shape (n,)
        Whose repositories are drawn together: they are alike, and so are the errors on them.

    Examples
    --------
    >>> truth = np.array([1.0, 2.0, 3.0])
    >>> judge(truth, truth + 0.5, truth, np.array(["a", "b", "c"])).is_worse
    True
    """
    new, old = (truth - challenger) ** 2, (truth - champion) ** 2
    gaps = new - old
    _, group = np.unique(owners, return_inverse=True)
    sums = np.bincount(group, weights=gaps - gaps.mean())
    of_few = len(sums) / max(1, len(sums) - 1)
    error = float(np.sqrt(of_few * np.sum(sums**2)) / len(gaps))
    return Verdict(
        len(gaps), len(sums), float(np.sqrt(new.mean())), float(np.sqrt(old.mean())), float(gaps.mean()), error
    )


def _repositories(store: Store, challenger: Bundle) -> pd.DataFrame:
    if store.repositories.is_file():
        return schema.conform(pd.read_parquet(store.repositories))
    return challenger.known

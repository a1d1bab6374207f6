"""The quality gate: refuse a bundle that predicts held-out repositories worse than the one in production, beyond noise."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import DifferenceFoundError, StargazeError
from stargaze.features.dataset import read_repositories
from stargaze.features.split import TEST, assign_folds
from stargaze.serve.release.sandbox import SandboxError, run_in_sandbox
from stargaze.store import Store

MAX_STANDARD_ERRORS = 2.0
"""Number of standard errors up to which a difference counts as noise [1]."""
MIN_OWNERS = 30
"""With fewer owners the standard error of a difference is unreliable."""
PROGRAM = (sys.executable, "-P", "-m", "stargaze.serve.release.quality_gate")
MAX_SECONDS = 600.0
"""Time limit of a comparison [s]; one of 10,000 repositories takes 5."""
MAX_MEGABYTES = 8192
"""Address space of a comparison [MB]; the libraries alone reserve about 1800."""
HINT = 'stargaze deploy --force "the reason"'


@dataclass(frozen=True)
class QualityComparison:
    """Errors of challenger and champion on repositories that neither was fitted on.

    RMSLE [nat], or RMSE [stars] if that is the metric of the challenger. ``difference`` is the mean squared error of the
    challenger minus that of the champion, ``standard_error`` its standard error with the repositories of an owner as one cluster.
    """

    repositories: int
    owners: int
    challenger_error: float
    champion_error: float
    difference: float
    standard_error: float
    metric: str = "rmsle"

    @property
    def is_worse(self) -> bool:
        """Return whether the challenger is worse beyond noise, or the difference is not a number."""
        return not self.difference <= MAX_STANDARD_ERRORS * self.standard_error

    def as_text(self) -> str:
        """Return one line for people."""
        if self.metric == "rmse":
            return (
                f"RMSE {self.challenger_error:,.0f} stars, in production {self.champion_error:,.0f}, on the same "
                f"{self.repositories:,} held-out repositories (squared errors {self.difference:+.3g} ± {self.standard_error:.3g})"
            )
        return (
            f"RMSLE {self.challenger_error:.3f}, in production {self.champion_error:.3f}, on the same "
            f"{self.repositories:,} held-out repositories (squared errors {self.difference:+.4f} ± "
            f"{self.standard_error:.4f} nat²)"
        )


def check_quality(challenger: Path, champion: Path, store: Store) -> QualityComparison:
    """Compare two bundles on the repositories of the store (of the challenger if it has none), in a sandbox.

    A challenger that is worse, or that cannot be compared, raises DifferenceFoundError.
    """
    command = [*PROGRAM, *(str(path.resolve()) for path in (store.root, challenger, champion))]
    try:
        output = run_in_sandbox(command, seconds=MAX_SECONDS, megabytes=MAX_MEGABYTES)
        comparison = QualityComparison(**json.loads(output))
    except (SandboxError, RecursionError, TypeError, ValueError) as error:  # a model may print something else
        reason = f"cannot be compared with {champion.name[:12]}, which is in production: {error}"
        hint = f"{HINT} skips the comparison, not the checks of the hook"
        raise DifferenceFoundError(f"the bundle {reason}", hint=hint) from error
    if comparison.is_worse:
        raise DifferenceFoundError(
            f"{challenger.name[:12]} predicts worse than {champion.name[:12]}: {comparison.as_text()}",
            hint=f"{HINT}; stargaze tune with more --trials may find a better one",
        )
    return comparison


def main(arguments: Sequence[str]) -> int:
    """Print the comparison of two bundles on the repositories of a store as JSON; return the exit code."""
    root, challenger, champion = map(Path, arguments)
    try:
        new, old = Bundle.load(challenger), Bundle.load(champion)
        comparison = compare_predictors(new, old, _read_repositories(Store(root), new))
    except StargazeError as error:
        sys.stderr.write(error.message + "\n")
        return 1
    sys.stdout.write(json.dumps(asdict(comparison)))
    return 0


def compare_predictors(challenger: Bundle, champion: Bundle, repositories: pd.DataFrame) -> QualityComparison:
    """Let both predict those of the repositories that both held out."""
    held_out = repositories[repositories["stars"].notna() & repositories["full_name"].notna()]
    for predictor in (challenger, champion):
        held_out = held_out[assign_folds(held_out["full_name"], predictor.split) == TEST]
    owners = held_out["full_name"].str.lower().str.replace(r"/.*", "", regex=True)
    if owners.nunique() < MIN_OWNERS:
        sample = f"{len(held_out)} repositories of {owners.nunique()} owners"
        raise DifferenceFoundError(f"only {sample} were held out by both", hint="stargaze fetch")
    held_out = held_out.reset_index(drop=True)
    truth = np.log1p(held_out["stars"].to_numpy(dtype="float64"))
    new, old = challenger.estimate(held_out).predicted, champion.estimate(held_out).predicted
    for name, predicted in (("the bundle", new), ("the bundle in production", old)):
        if count := len(held_out) - int(np.isfinite(predicted).sum()):
            raise DifferenceFoundError(f"{name} predicts no finite number for {count} of {len(held_out)} repositories")
    return compare_predictions(truth, new, old, owners.to_numpy(), str(challenger.meta["metric"]))


@np.errstate(over="ignore", invalid="ignore")  # a result that is not a number counts as worse
def compare_predictions(
    truth: np.ndarray, challenger: np.ndarray, champion: np.ndarray, owners: np.ndarray, metric: str = "rmsle"
) -> QualityComparison:
    """Compare two predictions of the same n repositories pair by pair, all log1p(stars) [nat], by a metric.

    The owners are clusters: repositories of an owner are similar, and so are their errors.

    >>> truth = np.array([1.0, 2.0, 3.0])
    >>> compare_predictions(truth, truth + 0.5, truth, np.array(["a", "b", "c"])).is_worse
    True
    """
    if metric == "rmse":
        truth, challenger, champion = np.exp(truth), np.exp(challenger), np.exp(champion)
    new, old = (truth - challenger) ** 2, (truth - champion) ** 2
    gaps = new - old
    _, cluster = np.unique(owners, return_inverse=True)
    sums = np.bincount(cluster, weights=gaps - gaps.mean())
    correction = len(sums) / max(1, len(sums) - 1)
    standard_error = float(np.sqrt(correction * np.sum(sums**2)) / len(gaps))
    error, champion_error = float(np.sqrt(new.mean())), float(np.sqrt(old.mean()))
    return QualityComparison(len(gaps), len(sums), error, champion_error, float(gaps.mean()), standard_error, metric)


def _read_repositories(store: Store, challenger: Bundle) -> pd.DataFrame:
    return read_repositories(store) if store.repositories.is_file() else challenger.known


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

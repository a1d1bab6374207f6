"""Tune the finalists, refit the best trials on every policy, calibrate, evaluate on held-out rows and save the bundle."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.config import TuningSection
from stargaze.errors import ExternalError
from stargaze.features.dataset import read_dataset_and_features
from stargaze.store import Store
from stargaze.system.progress import Report
from stargaze.tuning.cross_validation import Arrays, policy_arrays
from stargaze.tuning.screen import read_leaderboard
from stargaze.tuning.search.journal import Journal, write_trials
from stargaze.tuning.search.racing import DONE
from stargaze.tuning.training.save import save_best


@dataclass(frozen=True)
class TuningResult:
    """The best trial, the number of trials, the folder of the bundle and the scores per policy."""

    best: dict[str, Any]
    trials: int
    failed: int
    bundle: Path
    scores: dict[str, dict[str, Any]]

    def as_text(self) -> str:
        """Return the result as text lines."""
        lines = [
            f"bundle {self.bundle.name[:12]}: {self.best['family']}, best of {self.trials} trials ({self.failed} failed)"
        ]
        for policy, scores in self.scores.items():
            lines.append(
                f"  {policy:8}  RMSLE {scores['rmsle']:.3f} "
                f"(cross-validated {scores['cv_rmsle']:.3f} ± {scores['cv_spread']:.3f}), "
                f"R² {scores['r2']:.3f}, rho {scores['rho']:.3f}, intervals cover {scores['coverage']:.1%}"
            )
            decades = [f"{row['decade']} {row['coverage']:.0%} of {row['n']}" for row in scores["coverage_by_decade"]]
            lines.append(f"            by true stars: {', '.join(decades)}; {_format_ensemble(scores)}")
        return "\n".join(lines)


def tune(
    section: TuningSection,
    store: Store,
    *,
    now: datetime,
    resume: bool = False,
    report: Report = lambda _what, _done: None,
) -> TuningResult:
    """Search the hyperparameters of the finalists with Ray Tune and save the best as a bundle.

    Every finished trial is written to the journal at once: after Ctrl-C or a kill, ``resume`` repeats none of them.

    Raises
    ------
    MissingInputError
        If there is no leaderboard, or no tuning to resume.
    ExternalError
        If every trial failed.
    KeyboardInterrupt
        After Ctrl-C; the finished trials are on disk.
    """
    table, feature_set = read_dataset_and_features(store)
    finalists = _finalists(read_leaderboard(store, feature_set), section)
    header: dict[str, Any] = {"feature_set": feature_set.digest, "finalists": finalists}
    header |= {"policy": section.estimate_policy, "seed": section.seed}
    journal = Journal(store.journal)
    trials = journal.resume(header) if resume else journal.begin(header)
    arrays = policy_arrays(table, feature_set, section.estimate_policy)
    failed = _search(section, arrays, finalists, journal, trials, report)
    if not trials:
        raise ExternalError("every trial failed", hint=f"stargaze screen; the finalists are {', '.join(finalists)}")
    write_trials(store.trials, trials)
    best = _best(trials)
    report("refitting the best trials on every policy", 1.0)
    bundle, scores = save_best(section, store, table, feature_set, trials, now)
    store.journal.unlink()
    return TuningResult(best, len(trials), failed, bundle, scores)


def _format_ensemble(scores: dict[str, Any]) -> str:
    if scores["members"] == 1:
        return "one model"
    return f"{scores['members']} models, {scores['ensemble_gain']:.4f} ± {scores['ensemble_error']:.4f} nat better than one"


def _finalists(board: pd.DataFrame, section: TuningSection) -> list[str]:
    is_candidate = (
        (board["policy"] == section.estimate_policy) & (board["status"] == "ok") & (board["family"] != "dummy")
    )
    if not is_candidate.any():
        raise ExternalError("the leaderboard has no family that succeeded", hint="stargaze screen")
    return [str(name) for name in board[is_candidate].sort_values("rmsle")["family"].head(section.finalists)]


def _best(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the best trial with all folds; the first trial of a tuning always has all."""
    return min((trial for trial in trials if trial["stopped"] == DONE), key=lambda trial: float(trial["rmsle"]))


def _search(
    section: TuningSection,
    arrays: Arrays,
    finalists: list[str],
    journal: Journal,
    trials: list[dict[str, Any]],
    report: Report,
) -> int:
    """Run the remaining trials, append each finished one to the journal and to ``trials``; return the number of failed ones."""
    remaining_trials = section.trials - len(trials)
    if remaining_trials <= 0:
        return 0
    from stargaze.tuning.search.ray_tune import SearchSpec, run_trials

    started, before, failed = time.monotonic(), len(trials), list[dict[str, Any]]()
    earlier = float(trials[-1].get("at", 0.0)) if trials else 0.0

    def finished(trial: dict[str, Any]) -> None:
        trial = {**trial, "at": round(earlier + time.monotonic() - started, 3)}
        journal.add(trial)
        trials.append(trial)
        best = float(_best(trials)["rmsle"])
        done = len(trials) - before
        remaining = (time.monotonic() - started) / done * (remaining_trials - done)
        report(
            f"trial {len(trials)} of {section.trials}, best {best:.4f}, {remaining:.0f} s left",
            len(trials) / section.trials,
        )

    report("starting Ray", len(trials) / section.trials)
    search = SearchSpec(
        finalists,
        section.seed,
        remaining_trials,
        section.time_budget,
        section.max_concurrent,
        tuple(trials),
        section.racing,
    )
    run_trials(arrays, search, finished, failed.append)
    return len(failed)

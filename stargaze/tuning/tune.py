"""Tune the finalists, refit the best trials on every policy, calibrate, evaluate on held-out rows and save the bundle."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.bundle.ensemble_families import format_families
from stargaze.config import TuningSection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset_and_features
from stargaze.store import Store
from stargaze.system.journal import Journal
from stargaze.system.progress import Report
from stargaze.tuning.cross_validation import Arrays, policy_arrays
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Choice
from stargaze.tuning.screen import read_leaderboard
from stargaze.tuning.search.parallel import count_cores
from stargaze.tuning.search.racing import DONE
from stargaze.tuning.search.trial_table import write_trials
from stargaze.tuning.time_budget import RefitCost, TimeBudget
from stargaze.tuning.training.save import save_best

LEAST_SEARCH_SECONDS = 1.0
"""The least time of a search whose budget is used up [s]."""


class _BudgetEndedError(Exception):
    """The rest of the time budget is needed for the refit."""


@dataclass(frozen=True)
class TuningResult:
    """The best trial, the number of trials, the folder of the bundle, and per policy the scores and families of its ensemble."""

    best_trial: dict[str, Any]
    trials: int
    failed: int
    bundle: Path
    scores: dict[str, dict[str, Any]]

    def as_text(self) -> str:
        """Return the result as text lines."""
        best = f"the best trial is one of {self.best_trial['family']}"
        lines = [f"bundle {self.bundle.name[:12]} from {self.trials} trials ({self.failed} failed), {best}"]
        unit = "stars" if "rmse" in self.best_trial else "nat"
        for policy, scores in self.scores.items():
            lines.append(
                f"  {policy:8}  RMSLE {scores['rmsle']:.3f} "
                f"(cross-validated {scores['cv_rmsle']:.3f} ± {scores['cv_spread']:.3f}), "
                f"RMSE {scores['rmse']:,.0f} stars, R² {scores['r2']:.3f}, rho {scores['rho']:.3f}, "
                f"intervals cover {scores['coverage']:.1%}"
            )
            decades = [f"{row['decade']} {row['coverage']:.0%} of {row['n']}" for row in scores["coverage_by_decade"]]
            lines.append(f"            by true stars: {', '.join(decades)}")
            lines.append(f"            {_format_ensemble(scores, unit)}")
        return "\n".join(lines)


def tune(
    section: TuningSection,
    store: Store,
    *,
    resume: bool = False,
    report: Report = lambda _what, _done: None,
    clock: Callable[[], float] = time.monotonic,
) -> TuningResult:
    """Search the hyperparameters of the finalists with Ray Tune and save the best as a bundle.

    Every finished trial is written to the journal at once: after Ctrl-C or a kill, ``resume`` repeats none of them. A time
    budget includes the refit: the trials end earlier, and the ensemble has fewer members if there is no time for all.

    Raises
    ------
    MissingInputError
        If there is no leaderboard, or no tuning to resume.
    ExternalError
        If every trial failed.
    KeyboardInterrupt
        After Ctrl-C; the finished trials are on disk.
    """
    started = clock()
    table, feature_set = read_dataset_and_features(store)
    feature_set.check_policy(section.estimate_policy)
    board = read_leaderboard(store, feature_set)
    screened = _ranked_families(board, section)
    finalists = screened[: section.finalists]
    cores = count_cores() if section.time_budget else 1
    cost = RefitCost.of(table, feature_set, board, section.estimate_policy, cores)
    budget = TimeBudget(section, cost, screened, clock, started)
    header = _header(section, table, feature_set, finalists)
    search = Search(section, finalists, Journal(store.journal), header, budget.search_seconds)
    if resume:
        search.resume()
    if len(search.ended) < section.trials:
        search.run(policy_arrays(table, feature_set, section.estimate_policy), report)
    trials = search.trials()
    if not any(trial["stopped"] == DONE for trial in trials):
        raise ExternalError("every trial failed", hint=f"stargaze screen; the finalists are {', '.join(finalists)}")
    write_trials(store.trials, trials, section.metric)
    best = _best(trials, section.metric)
    report("refitting the best trials on every policy", 1.0)
    refitted = replace(section, ensemble_size=budget.ensemble_size(trials))
    bundle, scores = save_best(refitted, store, table, feature_set, trials, screened)
    search.journal.finish()
    return TuningResult(best, len(trials), len(search.ended) - len(trials), bundle, scores)


@dataclass
class Search:
    """The search and its journal; ``ended`` are the finished and the failed trials."""

    section: TuningSection
    finalists: list[str]
    journal: Journal
    header: dict[str, Any]
    seconds_left: Callable[[Sequence[Mapping[str, Any]]], float] = field(default=lambda _trials: math.inf)
    """How long trials may still run, given those that have ended [s]."""
    ended: list[dict[str, Any]] = field(default_factory=list)
    lookahead: int = 0

    def resume(self) -> None:
        """Take the ended trials from the journal; MissingInputError if there is none of this search.

        Lines that no trial writes are ignored: another machine may have written the journal.
        """
        first, ended = self.journal.resume(self.header)
        self.ended = [trial for trial in ended if _is_trial(trial, self.finalists, self.section.metric)]
        lookahead = first.get("lookahead")
        if not isinstance(lookahead, int):
            raise MissingInputError(
                f"{self.journal.path} has no lookahead, and cannot be resumed",
                hint="stargaze tune starts a new one and keeps it",
            )
        self.lookahead = lookahead

    def run(self, arrays: Arrays, report: Report) -> None:
        """Run the remaining trials; append each one to the journal as it ends."""
        from stargaze.tuning.search.ray_driver import search_with_ray
        from stargaze.tuning.search.search_spec import SearchSpec

        section, before, started = self.section, len(self.ended), time.monotonic()
        earlier = max((float(trial.get("at", 0.0)) for trial in self.ended), default=0.0)

        def handle(event: dict[str, Any]) -> None:
            if "lookahead" in event:
                if not self.lookahead:
                    self.journal.begin({**self.header, "lookahead": event["lookahead"]})
                return
            trial = event.get("finished") or event["failed"]
            trial = {**trial, "at": round(earlier + time.monotonic() - started, 3)}
            self.journal.add(trial)
            self.ended.append(trial)
            done = len(self.ended) - before
            remaining = (time.monotonic() - started) / done * (section.trials - len(self.ended))
            done_trials = (trial for trial in self.trials() if trial["stopped"] == DONE)
            best = min((trial[section.metric] for trial in done_trials), default=math.nan)
            left = self.seconds_left(self.trials())
            report(
                f"trial {len(self.ended)} of {section.trials}, best {best:.5g}, {max(min(remaining, left), 0):.0f} s left",
                len(self.ended) / section.trials,
            )
            if left <= 0 and not math.isnan(best):
                raise _BudgetEndedError

        report("starting Ray", before / section.trials)
        search = SearchSpec(
            self.finalists,
            section.seed,
            section.trials,
            max(self.seconds_left(self.trials()), LEAST_SEARCH_SECONDS) if section.time_budget else 0.0,
            section.max_concurrent,
            section.racing,
            self.ended,
            metric=section.metric,
            lookahead=self.lookahead,
        )
        with contextlib.suppress(_BudgetEndedError):
            search_with_ray(arrays, search, handle)

    def trials(self) -> list[dict[str, Any]]:
        """Return the finished trials in the order of their numbers, which does not depend on when they ended."""
        return sorted((trial for trial in self.ended if "failed" not in trial), key=lambda trial: int(trial["number"]))


def _is_trial(line: Mapping[str, Any], finalists: Sequence[str], metric: str = "rmsle") -> bool:
    """Return whether a line of the journal is a trial whose parameters are searched ones, so that models can be built of it."""
    try:
        if not isinstance(line["number"], int) or line["family"] not in finalists:
            return False
        if "failed" in line:
            return True
        space, parameters = FAMILIES[line["family"]].space, line["parameters"]
        choices = {name: kind.values for name, kind in space.items() if isinstance(kind, Choice)}
        numbers = [value for name, value in parameters.items() if name not in choices]
        numbers += [line["rmsle"], line[metric], *line["folds"], line["seconds"], line.get("at", 0.0)]
        return (
            parameters.keys() <= {*space, "n_estimators"}
            and all(parameters[name] in values for name, values in choices.items() if name in parameters)
            and all(map(math.isfinite, numbers))
            and isinstance(line["stopped"], str)
        )
    except (ArithmeticError, LookupError, TypeError, AttributeError):
        return False


def _header(section: TuningSection, table: Dataset, feature_set: FeatureSet, finalists: list[str]) -> dict[str, Any]:
    """Return what identifies a tuning: the same header means the same trials."""
    return {
        "data": table.fingerprint,
        "feature_set": feature_set.digest,
        "finalists": finalists,
        "metric": section.metric,
        "policy": section.estimate_policy,
        "racing": section.racing,
        "seed": section.seed,
    }


def _format_ensemble(scores: dict[str, Any], unit: str) -> str:
    families = format_families(scores["families"])
    if scores["members"] == 1:
        return f"one model: {families}"
    gain, error = scores["ensemble_gain"], scores["ensemble_error"]
    difference = f"{abs(gain):.4f} ± {error:.4f} {unit} {'worse' if gain < 0 else 'better'} than one"
    return f"{scores['members']} models: {families}; {difference}"


def _ranked_families(board: pd.DataFrame, section: TuningSection) -> list[str]:
    """Return the screened families that succeeded, the best first."""
    is_candidate = (
        (board["policy"] == section.estimate_policy) & (board["status"] == "ok") & (board["family"] != "dummy")
    )
    if not is_candidate.any():
        raise ExternalError("the leaderboard has no family that succeeded", hint="stargaze screen")
    return [str(name) for name in board[is_candidate].sort_values(section.metric, kind="stable")["family"]]


def _best(trials: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Return the best trial with all folds by a metric; the first trial of a tuning always has all."""
    return min((trial for trial in trials if trial["stopped"] == DONE), key=lambda trial: float(trial[metric]))

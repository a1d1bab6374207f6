"""Tuning time compared with a plain loop over the same configurations and with other searches, in one run on two cores.

    pip install -e '.[bench]'
    python benchmarks/tune.py

Synthetic data, 30,000 rows × 40 columns, five folds, LightGBM. Times are ratios within the run. First ``tune`` with racing; then
its 200 configurations on all folds, in a plain loop of two processes on folds that are binned once, and through Ray without
racing. Then each other search runs on the same space for as long as ``tune`` took. The best configurations of all searches are
evaluated on the same folds, with their own number of rounds; the result is the time to the best score that both searches reach.
scikit-learn's searches report nothing before their end.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from rivals import RIVALS

from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.search.optuna_searcher import OptunaSearcher
from stargaze.tuning.search.racing import DONE
from stargaze.tuning.search.ray_tune import SearchSpec, run_trials
from stargaze.tuning.search.trial import TrialData, run_trial

CORES = 2
FAMILY = "lightgbm"
Trial = dict[str, Any]


def main() -> None:
    """Run all measurements; print each result at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--only", choices=("all", "cost", "rivals"), default="all")
    arguments = parser.parse_args()
    arrays = made_up(arguments.rows, arguments.columns)
    memory = Memory()
    with memory.watched():
        took, first, trials = tuned(arrays, OptunaSearcher([FAMILY], 0), arguments.trials)
    print(
        f"tune: {took:.0f} s, the first trial began after {first:.1f} s, memory {memory.peak:.2f} GB, {_stops(trials)}"
    )
    if arguments.only != "rivals":
        cost(arrays, trials, took)
    if arguments.only != "cost":
        beside_rivals(arrays, trials, took)


def made_up(rows: int, columns: int) -> Arrays:
    """Return synthetic counts, rates and flags with missing values, and a target with steps, interactions and noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, columns)).astype("float32")
    counts, skewed = columns * 3 // 4, columns // 2
    x[:, counts:] = np.floor(np.exp(x[:, counts:]))
    x[:, skewed:counts] = np.exp(1.5 * x[:, skewed:counts])
    y = 0.8 * x[:, 0] + 0.6 * (x[:, 1] > 0) * (x[:, 2] > 0.3) + 0.5 * (x[:, counts] > 2)
    y += (
        0.3 * np.log1p(x[:, skewed]) * (x[:, 3] > 0)
        + 0.4 * np.log1p(x[:, skewed + 1])
        - 0.4 * np.log1p(x[:, skewed + 2])
    )
    y = np.maximum(y + random.normal(size=rows) * 1.5 + 3.0, 0.0)
    x[random.random(x.shape) < 0.05] = np.nan
    return Arrays(x, y, np.arange(rows) % 5, ())


def tuned(arrays: Arrays, searcher: OptunaSearcher, n_trials: int) -> tuple[float, float, list[Trial]]:
    """Run trials through Ray; return the wall time [s], the start of the first trial [s], and the trials with their end times."""
    start, trials = time.perf_counter(), list[Trial]()
    run_trials(
        arrays,
        SearchSpec([FAMILY], 0, n_trials, 0.0, CORES),
        lambda trial: trials.append({**trial, "at": time.perf_counter() - start}),
        lambda trial: print("failed:", trial),
        searcher,
    )
    first = min(trial["at"] - trial["seconds"] for trial in trials)
    return time.perf_counter() - start, first, trials


# ---- (a) gain of racing, overhead of Ray -------------------------------------------------------------------


def cost(arrays: Arrays, trials: Sequence[Trial], took: float) -> None:
    """Run the same configurations on all folds: in a plain loop, and through Ray without racing."""
    configurations = [
        {"family": FAMILY, "parameters": {key: trial["parameters"][key] for key in FAMILIES[FAMILY].space}, "seed": 0}
        for trial in trials
    ]
    plain_took, plain = plain_loop(arrays, configurations)
    best, winner = min(plain, key=_rmsle), min(_whole(trials), key=_rmsle)
    error = float(np.std(best["folds"], ddof=1) / np.sqrt(len(best["folds"])))
    regret = _rmsle(winner) - _rmsle(best)
    print(
        f"plain loop of {CORES} processes: {plain_took:.0f} s; tune with races {took / plain_took:.3f} of it; its best is "
        f"{regret:+.5f} from the best of all ({_rmsle(best):.5f}), {regret / error:+.2f} standard errors"
    )
    whole_took, _, _ = tuned(arrays, _Replay(configurations), len(configurations))
    print(f"tune with races off: {whole_took:.0f} s, {whole_took / plain_took:.3f} of the plain loop")


class _Replay(OptunaSearcher):
    """Suggest given configurations, one after the other."""

    def __init__(self, configurations: Sequence[dict[str, Any]]) -> None:
        super().__init__([FAMILY], 0)
        self._given: Iterator[dict[str, Any]] = iter(configurations)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {**next(self._given), "race": None}


def plain_loop(arrays: Arrays, configurations: Sequence[dict[str, Any]]) -> tuple[float, list[Trial]]:
    """Do it as one would by hand: a process a core, folds binned once in each, one configuration after the other."""
    start = time.perf_counter()
    with ProcessPoolExecutor(CORES, initializer=_begin, initargs=(arrays,)) as pool:
        found = list(pool.map(_one, configurations))
    return time.perf_counter() - start, found


def _begin(arrays: Arrays) -> None:
    global trial_data  # noqa: PLW0603 - a process of the pool has no other place for what it keeps
    trial_data = TrialData(arrays)


def _one(configuration: dict[str, Any]) -> Trial:
    return run_trial(configuration, trial_data)


# ---- (b) beside other searches -------------------------------------------------------------------------------------


def beside_rivals(arrays: Arrays, trials: Sequence[Trial], took: float) -> None:
    """Let each rival search for as long as ``tune`` took; compare when both had the best score that both came to."""
    ours = improvements(arrays, _records(trials))
    print("tune: " + _said(ours))
    for rival, search in RIVALS.items():
        theirs = improvements(arrays, search(arrays, took))
        common = max(ours[-1][1], theirs[-1][1])
        we, they = _reached(ours, common), _reached(theirs, common)
        print(f"{rival}: {_said(theirs)}")
        print(f"    both came to {common:.5f}: tune after {we:.0f} s, {rival} after {they:.0f} s, {they / we:.1f} ×")


def improvements(arrays: Arrays, found: Sequence[tuple[float, dict[str, Any]]]) -> list[tuple[float, float]]:
    """Return when a search knew a better configuration [s] and the best score till then, all evaluated in the same way [nat]."""
    path, least = list[tuple[float, float]](), float("inf")
    for at, parameters in found:
        score = score_parameters(arrays, parameters)
        if score < least:
            least = score
            path.append((at, score))
    return path


def _records(trials: Sequence[Trial]) -> list[tuple[float, dict[str, Any]]]:
    """Return the trials that were the best of their time."""
    records, best = list[tuple[float, dict[str, Any]]](), float("inf")
    for trial in sorted(_whole(trials), key=lambda one: float(one["at"])):
        if _rmsle(trial) < best:
            best = _rmsle(trial)
            records.append((float(trial["at"]), trial["parameters"]))
    return records


def _reached(path: Sequence[tuple[float, float]], score: float) -> float:
    return next(at for at, best in path if best <= score)


def _said(path: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{score:.5f} at {at:.0f} s" for at, score in path[-8:])


def score_parameters(arrays: Arrays, parameters: dict[str, Any]) -> float:
    """Cross-validate a configuration with its own number of rounds; return the mean RMSLE over folds [nat]."""
    return float(np.mean([fold.rmsle for fold in cross_validate(FAMILIES[FAMILY], parameters, arrays, 0)]))


def _whole(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial["stopped"] == DONE]


def _rmsle(trial: Trial) -> float:
    return float(trial["rmsle"])


def _stops(trials: Sequence[Trial]) -> str:
    folds = [len(trial["folds"]) for trial in trials]
    return f"{len(trials)} trials, {sum(folds)} of {5 * len(folds)} folds"


@dataclass
class Memory:
    """Peak memory of this process and its children, shared pages counted once [GB]."""

    peak: float = 0.0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Measure every two seconds until the block ends."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _watch(self, over: threading.Event) -> None:
        this = psutil.Process()
        while not over.wait(2.0):
            self.peak = max(self.peak, sum(map(_held, [this, *this.children(recursive=True)])) / 1e9)


def _held(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended meanwhile
        return 0


if __name__ == "__main__":
    main()

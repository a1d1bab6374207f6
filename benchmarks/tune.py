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
from stargaze.tuning.search.ray_tune import run_trials
from stargaze.tuning.search.search_spec import SearchSpec
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
    arrays = synthetic_data(arguments.rows, arguments.columns)
    memory = Memory()
    with memory.measuring():
        seconds, first, trials = time_search(arrays, OptunaSearcher([FAMILY], 0), arguments.trials)
    print(
        f"tune: {seconds:.0f} s, the first trial began after {first:.1f} s, memory {memory.peak:.2f} GB, {_stops(trials)}"
    )
    if arguments.only != "rivals":
        compare_with_plain_loop(arrays, trials, seconds)
    if arguments.only != "cost":
        compare_with_rivals(arrays, trials, seconds)


def synthetic_data(rows: int, columns: int) -> Arrays:
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


def time_search(arrays: Arrays, searcher: OptunaSearcher, n_trials: int) -> tuple[float, float, list[Trial]]:
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


# ---- (a) effect of racing, overhead of Ray -------------------------------------------------------------------


def compare_with_plain_loop(arrays: Arrays, trials: Sequence[Trial], took: float) -> None:
    """Run the same configurations on all folds: in a plain loop, and through Ray without racing."""
    configurations = [
        {"family": FAMILY, "parameters": {key: trial["parameters"][key] for key in FAMILIES[FAMILY].space}, "seed": 0}
        for trial in trials
    ]
    plain_took, plain = plain_loop(arrays, configurations)
    best, winner = min(plain, key=_rmsle), min(_finished(trials), key=_rmsle)
    error = float(np.std(best["folds"], ddof=1) / np.sqrt(len(best["folds"])))
    difference = _rmsle(winner) - _rmsle(best)
    print(
        f"plain loop of {CORES} processes: {plain_took:.0f} s; tune with races {took / plain_took:.3f} of it; its best is "
        f"{difference:+.5f} from the best configuration of all ({_rmsle(best):.5f}), {difference / error:+.2f} standard errors"
    )
    whole_took, _, _ = time_search(arrays, _Replay(configurations), len(configurations))
    print(f"tune with races off: {whole_took:.0f} s, {whole_took / plain_took:.3f} of the plain loop")


class _Replay(OptunaSearcher):
    """Suggest given configurations, one after the other."""

    def __init__(self, configurations: Sequence[dict[str, Any]]) -> None:
        super().__init__([FAMILY], 0)
        self._remaining: Iterator[dict[str, Any]] = iter(configurations)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {**next(self._remaining), "race": None}


def plain_loop(arrays: Arrays, configurations: Sequence[dict[str, Any]]) -> tuple[float, list[Trial]]:
    """Run the configurations without Ray: each process bins the folds once and runs one configuration at a time."""
    start = time.perf_counter()
    with ProcessPoolExecutor(CORES, initializer=_initialize_worker, initargs=(arrays,)) as pool:
        trials = list(pool.map(_run_trial, configurations))
    return time.perf_counter() - start, trials


def _initialize_worker(arrays: Arrays) -> None:
    global trial_data  # noqa: PLW0603 - a process of the pool cannot store it elsewhere
    trial_data = TrialData(arrays)


def _run_trial(configuration: dict[str, Any]) -> Trial:
    return run_trial(configuration, trial_data)


# ---- (b) comparison with other searches ---------------------------------------------------------------------


def compare_with_rivals(arrays: Arrays, trials: Sequence[Trial], took: float) -> None:
    """Run each other search for as long as ``tune`` took; compare the times to the best score that both reached."""
    our_path = improvements(arrays, _records(trials))
    print("tune: " + _format_path(our_path))
    for rival, search in RIVALS.items():
        rival_path = improvements(arrays, search(arrays, took))
        common = max(our_path[-1][1], rival_path[-1][1])
        our_time, rival_time = _time_to_reach(our_path, common), _time_to_reach(rival_path, common)
        print(f"{rival}: {_format_path(rival_path)}")
        print(
            f"    both reached {common:.5f}: tune after {our_time:.0f} s, {rival} after {rival_time:.0f} s, "
            f"{rival_time / our_time:.1f} ×"
        )


def improvements(arrays: Arrays, records: Sequence[tuple[float, dict[str, Any]]]) -> list[tuple[float, float]]:
    """Return the time of each improvement of a search [s] and its score [nat]; all are evaluated in the same way."""
    path, least = list[tuple[float, float]](), float("inf")
    for seconds, parameters in records:
        score = score_parameters(arrays, parameters)
        if score < least:
            least = score
            path.append((seconds, score))
    return path


def _records(trials: Sequence[Trial]) -> list[tuple[float, dict[str, Any]]]:
    """Return time and parameters of the trials that were better than all before."""
    records, best = list[tuple[float, dict[str, Any]]](), float("inf")
    for trial in sorted(_finished(trials), key=lambda trial: float(trial["at"])):
        if _rmsle(trial) < best:
            best = _rmsle(trial)
            records.append((float(trial["at"]), trial["parameters"]))
    return records


def _time_to_reach(path: Sequence[tuple[float, float]], score: float) -> float:
    return next(seconds for seconds, best in path if best <= score)


def _format_path(path: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{score:.5f} at {seconds:.0f} s" for seconds, score in path[-8:])


def score_parameters(arrays: Arrays, parameters: dict[str, Any]) -> float:
    """Cross-validate a configuration with its own number of rounds; return the mean RMSLE over folds [nat]."""
    return float(np.mean([fold.rmsle for fold in cross_validate(FAMILIES[FAMILY], parameters, arrays, 0)]))


def _finished(trials: Sequence[Trial]) -> list[Trial]:
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
    def measuring(self) -> Iterator[None]:
        """Measure every two seconds until the block ends."""
        has_ended = threading.Event()
        watcher = threading.Thread(target=self._measure_until, args=(has_ended,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            has_ended.set()
            watcher.join()

    def _measure_until(self, has_ended: threading.Event) -> None:
        process = psutil.Process()
        while not has_ended.wait(2.0):
            self.peak = max(self.peak, sum(map(_memory_of, [process, *process.children(recursive=True)])) / 1e9)


def _memory_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # the process has ended
        return 0


if __name__ == "__main__":
    main()

"""Optuna's tree-structured Parzen estimator as a Ray Tune searcher, with one conditional space for each model family.

Its suggestions are a function of the seed and of the order of calls, so a resumed search repeats the calls (ordered_searcher.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna

from stargaze.capacity import MANY_ROWS
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Choice, Family, Range
from stargaze.tuning.search.racing import next_race
from stargaze.tuning.search.ray_runtime import Searcher


class OptunaSearcher(Searcher):
    """Suggest the defaults of each family first, then Optuna's configurations; each suggestion contains its race.

    Defaults and search spaces are those of a number of training rows. A family races against its own trials only: the best
    trial of a worse family may still improve the ensemble.
    """

    def __init__(
        self,
        finalists: Sequence[str],
        seed: int,
        *,
        rows: int = MANY_ROWS,
        races: bool = True,
        metric: str = "rmsle",
    ) -> None:
        super().__init__(metric=metric, mode="min")
        self._metric = metric
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=10, constant_liar=True)
        self._races = races
        self._finished = list[dict[str, Any]]()
        self._families = {name: FAMILIES[name].at(rows) for name in finalists}
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        self._pending: dict[str, optuna.trial.Trial] = {}
        for start in _initial_trials(list(self._families.values())):
            self._study.enqueue_trial(start)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return the next family and its parameters."""
        trial = self._study.ask()
        self._pending[trial_id] = trial
        name = trial.suggest_categorical("family", list(self._families))
        parameters = {
            key: _suggest_value(trial, f"{name}.{key}", space) for key, space in self._families[name].space.items()
        }
        race = next_race([trial for trial in self._finished if trial["family"] == name]) if self._races else None
        return {"family": name, "parameters": parameters, "race": None if race is None else asdict(race)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's signature
        """Report the result or the failure of a configuration to Optuna."""
        trial = self._pending.pop(trial_id, None)
        if trial is None:
            return
        if error or not result or self._metric not in result:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, float(result[self._metric]))
            self._finished.append(_racing_record(result))

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: a resumed search replays the trials of the journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, see :meth:`save`."""


def _initial_trials(finalists: Sequence[Family]) -> list[dict[str, Any]]:
    """Return the first configurations: the defaults of each family, then others that often perform well."""
    defaults = [(family, family.defaults) for family in finalists]
    others = [(family, {**family.defaults, **start}) for family in finalists for start in family.starts]
    return [{"family": family.name, **_optuna_parameters(family, values)} for family, values in (*defaults, *others)]


def _suggest_value(trial: optuna.trial.Trial, name: str, space: Range | Choice) -> Any:
    if isinstance(space, Choice):
        return trial.suggest_categorical(name, list(space.values))
    if space.kind == "int":
        return trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(name, space.low, space.high, log=space.log)


def _optuna_parameters(family: Family, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the searched parameters under their Optuna names."""
    return {f"{family.name}.{key}": parameters[key] for key in family.space if key in parameters}


def _racing_record(trial: Mapping[str, Any]) -> dict[str, Any]:
    return {name: trial[name] for name in ("family", "folds", "stopped")}

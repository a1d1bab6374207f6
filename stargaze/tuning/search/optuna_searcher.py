"""The search: Optuna's tree-structured Parzen estimator behind Ray Tune's searcher, one branch of the space a family.

Ray's own OptunaSearch cannot be told of finished trials when the space has branches, which is what ``--resume`` needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
from ray.tune.search import Searcher

from stargaze.tuning.families import FAMILIES, Choice, Range
from stargaze.tuning.search.racing import race_against


class FamilySearch(Searcher):
    """Ask Optuna for the next configuration; begin with each family's defaults. Each is told the race that it runs.

    A family races against itself alone: the best of the others may still be worth its place in a blend.
    """

    def __init__(
        self, finalists: Sequence[str], seed: int, finished: Sequence[dict[str, Any]] = (), *, races: bool = True
    ) -> None:
        super().__init__(metric="rmsle", mode="min")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed + len(finished), n_startup_trials=10, constant_liar=True)
        self._races = races
        self._finished = [_run(trial) for trial in finished]
        self._finalists = list(finalists)
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        self._asked: dict[str, optuna.trial.Trial] = {}
        for trial in finished:
            self._study.add_trial(_frozen(self._finalists, trial))
        tried = [{"family": trial["family"], **_named(trial["family"], trial["parameters"])} for trial in finished]
        for start in _starts(self._finalists):
            if start not in tried:
                self._study.enqueue_trial(start)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return the next family and its parameters."""
        trial = self._study.ask()
        self._asked[trial_id] = trial
        name = trial.suggest_categorical("family", self._finalists)
        parameters = {key: _ask(trial, f"{name}.{key}", where) for key, where in FAMILIES[name].space.items()}
        race = race_against([trial for trial in self._finished if trial["family"] == name]) if self._races else None
        return {"family": name, "parameters": parameters, "race": None if race is None else asdict(race)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - as Ray calls it
        """Tell Optuna how a configuration did; a failed one is told as failed."""
        trial = self._asked.pop(trial_id, None)
        if trial is None:
            return
        if error or not result or "rmsle" not in result:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, float(result["rmsle"]))
            self._finished.append(_run(result))

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: finished trials live in the journal, from which a resumed search begins."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, see :meth:`save`."""


def _starts(finalists: Sequence[str]) -> list[dict[str, Any]]:
    """Return what is tried first: the defaults of each family, and then what else often does well."""
    defaults = [(name, FAMILIES[name].defaults) for name in finalists]
    others = [(name, {**FAMILIES[name].defaults, **start}) for name in finalists for start in FAMILIES[name].starts]
    return [{"family": name, **_named(name, parameters)} for name, parameters in (*defaults, *others)]


def _ask(trial: optuna.trial.Trial, name: str, where: Range | Choice) -> Any:
    if isinstance(where, Choice):
        return trial.suggest_categorical(name, list(where.values))
    if where.kind == "int":
        return trial.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return trial.suggest_float(name, where.low, where.high, log=where.log)


def _named(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are searched, by the names that Optuna knows them under."""
    return {f"{name}.{key}": parameters[key] for key in FAMILIES[name].space if key in parameters}


def _run(trial: Mapping[str, Any]) -> dict[str, Any]:
    return {name: trial[name] for name in ("family", "folds", "stopped")}


def _frozen(finalists: list[str], trial: dict[str, Any]) -> optuna.trial.FrozenTrial:
    name, parameters = trial["family"], trial["parameters"]
    distributions: dict[str, Any] = {"family": optuna.distributions.CategoricalDistribution(finalists)}
    distributions |= {f"{name}.{key}": _distribution(where) for key, where in FAMILIES[name].space.items()}
    values = {"family": name, **_named(name, parameters)}
    return optuna.trial.create_trial(params=values, distributions=distributions, value=float(trial["rmsle"]))


def _distribution(where: Range | Choice) -> Any:
    if isinstance(where, Choice):
        return optuna.distributions.CategoricalDistribution(list(where.values))
    if where.kind == "int":
        return optuna.distributions.IntDistribution(int(where.low), int(where.high), log=where.log)
    return optuna.distributions.FloatDistribution(where.low, where.high, log=where.log)

"""The controls of a what-if: the fields whose change alters the estimates of a policy's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.features import schema
from stargaze.serve.prediction.labels import field_label
from stargaze.serve.prediction.linked_fields import recompute_linked_fields
from stargaze.serve.prediction.what_if import NONE, OPTIONAL_FIELDS, WHAT_IF_FIELDS, format_day

MAX_CONTROLS = 12
SAMPLE_SIZES = (20, 100)
"""Known repositories on which a field is changed; the larger sample only if no estimate of the smaller one changes."""
MIN_EFFECT = 0.01
"""A change of an estimate that counts [nat], if the number shown differs too."""
QUANTILES = (0.02, 0.5, 0.98)
"""The known values that replace a count."""
MAX_OPTIONS = 60
"""Options of a choice that are offered; a vocabulary has up to 40 values."""
MAX_TRIED = 4
"""Options of a choice that are tried."""
KINDS = {"count": "number", "date": "date", "flag": "flag", "category": "choice"}
"""The kind of a control for each kind of a field."""
NOT_OFFERED = frozenset({"fetched_at"})
Outcome = tuple[bool, float]


@dataclass(frozen=True)
class Control:
    """A field that a what-if may change; ``options`` are the values of a choice."""

    field: schema.Field
    options: tuple[str, ...] | None

    def to_json(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the control with the present value of a repository."""
        value = record[self.field.name]
        return {
            "field": self.field.name,
            "label": field_label(self.field),
            "kind": KINDS[self.field.kind],
            "unit": self.field.unit,
            "value": format_day(value) if self.field.kind == "date" and value is not None else value,
            "options": None if self.options is None else list(self.options),
        }


class ControlIndex:
    """The controls of each policy, determined once by changing each field of known repositories."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._controls: dict[str, tuple[Control, ...]] = {}

    def for_policy(self, policy: str) -> tuple[Control, ...]:
        """Return at most MAX_CONTROLS controls that have an effect on a policy's estimates, the most important first."""
        if policy not in self._controls:
            self._controls[policy] = self._determine(policy)
        return self._controls[policy]

    def _determine(self, policy: str) -> tuple[Control, ...]:
        names = candidate_fields(self._bundle, policy)
        effects: dict[str, float] = {}
        for size in SAMPLE_SIZES:
            sample = _sample(self._bundle, size)
            untested = [name for name in names if name not in effects]
            effects |= {
                name: effect for name, (visible, effect) in self._effects(sample, policy, untested).items() if visible
            }
        importance = self._bundle.meta.get("importance", {}).get(policy, {})
        ordered = sorted(effects, key=lambda name: (-importance.get(name, 0.0), -effects[name]))
        return tuple(Control(schema.FIELD_BY_NAME[name], self._options(name)) for name in ordered[:MAX_CONTROLS])

    def _effects(self, sample: pd.DataFrame, policy: str, names: Sequence[str]) -> dict[str, Outcome]:
        """Return for each field whether a number shown changes, and the mean change of the estimates [nat]."""
        changed = [(name, frame) for name in names for frame in self._change(sample, name)]
        if not changed:
            return {}
        frames = pd.concat([sample, *(frame for _, frame in changed)], ignore_index=True)
        inputs = self._bundle.select_inputs(self._bundle.features(frames), policy)
        before, *after = self._bundle.predict(inputs, policy).reshape(len(changed) + 1, len(sample))
        effects: dict[str, Outcome] = {}
        for (name, _), predicted in zip(changed, after, strict=True):
            difference = np.abs(predicted - before)
            shown = np.round(np.expm1(predicted)) != np.round(np.expm1(before))
            visible, effect = effects.get(name, (False, 0.0))
            effects[name] = (
                visible or bool((shown & (difference >= MIN_EFFECT)).any()),
                max(effect, difference.mean()),
            )
        return effects

    def _change(self, sample: pd.DataFrame, name: str) -> list[pd.DataFrame]:
        """Return the sample with other values of one field."""
        return [
            recompute_linked_fields(sample, sample.assign(**{name: values.astype(sample[name].dtype)}), {name})
            for values in self._other_values(sample, name)
        ]

    def _other_values(self, sample: pd.DataFrame, name: str) -> list[pd.Series]:
        kind, index = schema.FIELD_BY_NAME[name].kind, sample.index
        if kind == "flag":
            return [1.0 - sample[name].fillna(0.0)]
        if kind == "date":
            begin, end = sample["created_at"], sample["fetched_at"]
            shares = (0.5, 0.9) if name == "created_at" else (0.0, 0.5, 1.0)
            dates = [begin + share * (end - begin) for share in shares]
            none = pd.Series(pd.NaT, index=index, dtype=schema.DTYPES["date"])
            return [*dates, none] if name in OPTIONAL_FIELDS else dates
        if kind == "category":
            return [pd.Series(option, index=index) for option in (self._options(name) or ())[:MAX_TRIED]]
        known = self._bundle.known[name].dropna()
        numbers = sorted(
            {0.0, 1.0, *(known.quantile(QUANTILES, interpolation="nearest") if len(known) else (10.0, 1e3))}
        )
        return [pd.Series(number, index=index) for number in numbers]

    def _options(self, name: str) -> tuple[str, ...] | None:
        """Return the values of a category that the models know, and "none" if a repository may lack it."""
        if schema.FIELD_BY_NAME[name].kind != "category":
            return None
        known = self._bundle.meta["vocabularies"].get(name) or self._bundle.known[name].value_counts().index[:20]
        return (*map(str, known[:MAX_OPTIONS]), *((NONE,) if name in OPTIONAL_FIELDS else ()))


def candidate_fields(bundle: Bundle, policy: str) -> list[str]:
    """Return the fields with a control that a policy's features are computed from."""
    used = {field for name in bundle.meta["features"][policy] for field in bundle.catalog[name].source}
    return [
        name
        for name in WHAT_IF_FIELDS
        if name in used and name not in NOT_OFFERED and schema.FIELD_BY_NAME[name].kind in KINDS
    ]


def _sample(bundle: Bundle, size: int) -> pd.DataFrame:
    """Return known repositories, half of them those with most stars; the prototype if the bundle contains none."""
    if bundle.known.empty:
        return bundle.conform(pd.DataFrame([bundle.meta["prototype"]["record"]]))
    order = np.argsort(-bundle.known["stars"].fillna(0.0).to_numpy(), kind="stable")
    spread = np.linspace(0, len(order) - 1, size - size // 2).round().astype("int64")
    rows = np.unique(np.concatenate([order[: size // 2], order[spread]]))
    return bundle.known.iloc[rows].reset_index(drop=True)

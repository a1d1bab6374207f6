"""The table of all trials of a finished tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.system.files import atomic_write
from stargaze.tuning.search.racing import DONE


def write_trials(path: Path, trials: list[dict[str, Any]], metric: str = "rmsle") -> None:
    """Write all trials as one Parquet table, the best by a metric first."""
    rows = [
        {
            "family": trial["family"],
            "parameters": json.dumps(trial["parameters"], sort_keys=True),
            **{name: trial[name] for name in ("rmsle", "rmse") if name in trial},
            **{f"fold_{number}": value for number, value in enumerate(trial["folds"])},
            "seconds": trial["seconds"],
            "at": trial.get("at"),
            "stopped": trial["stopped"],
        }
        for trial in trials
    ]
    with atomic_write(path) as temporary:
        table = pd.DataFrame(rows).sort_values(metric, kind="stable")
        # Stopped trials come last, because their scores are extrapolated.
        table = table.sort_values("stopped", key=lambda reason: reason != DONE, kind="stable")
        table.to_parquet(temporary, compression="zstd", index=False)

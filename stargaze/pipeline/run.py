"""Run all stages, then serve: ``stargaze run``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stargaze.config import Config
from stargaze.errors import UsageError
from stargaze.output import Output
from stargaze.pipeline.stage_records import MISSING
from stargaze.pipeline.stages import build_stages, plan_stages
from stargaze.store import Store, lock_store

EXAMPLES = 5
"""Repositories in the request of ``--once``: the default of serve.max_repositories."""


def run_stages(config: Config, store: Store, out: Output, *, again: bool, clock: Callable[[], datetime]) -> None:
    """Run the unfinished stages up to ``deploy``; with ``again`` all of them."""
    from stargaze.tuning.families import select_families

    select_families(config.screening.families)  # fails before the long stages
    if config.tuning.target != "stars":
        raise UsageError(
            f'stargaze run needs tuning.target = "stars", not {config.tuning.target!r}: the page shows stars',
            hint=f"stargaze tune creates the {config.tuning.target} bundle; STARGAZE_TUNING_TARGET=stars stargaze run",
        )
    with lock_store(store):
        if again:
            store.journal.unlink(missing_ok=True)
        for stage, reason in plan_stages(build_stages(config, store, clock), again=again):
            if not reason:
                out.note(f"{stage.name}: already done: {stage.describe()}")
                continue
            if reason not in (MISSING, "--again") and not reason.endswith(" ran"):
                out.note(f"{stage.name} runs: {reason}")
            with out.progress(stage.name) as report:
                line = stage.run(report)
            out.note(f"{stage.name}: {line}")


def run_pipeline(
    config: Config, store: Store, out: Output, *, once: bool, again: bool, clock: Callable[[], datetime]
) -> int:
    """Run the unfinished stages, then serve; with ``once``, request predictions of a few repositories and return."""
    run_stages(config, store, out, again=again, clock=clock)
    from stargaze.features.history.table_format import HistoryFormat
    from stargaze.serve.runtime.settings import Sources
    from stargaze.serve.supervisor.supervise import serve, serving
    from stargaze.serve.web.api.client import request_predictions

    sources = Sources(config.github.api_url, config.growth.history_file, HistoryFormat.of(config.growth))
    if not once:
        return serve(config.serve, store, sources, announce=lambda url: out.text(f"serving at {url} (Ctrl-C stops it)"))
    with serving(config.serve, store, sources) as url:
        predictions = request_predictions(url, _pick_examples(store, min(EXAMPLES, config.serve.max_repositories)))
    out.note(f"sent one request to {url}")
    columns = {
        "repository": "full_name",
        "expected": "expected_stars",
        "low": "interval_low",
        "high": "interval_high",
        "actual": "actual_stars",
    }
    rows = [{column: prediction[key] for column, key in columns.items()} for prediction in predictions]
    out.table(predictions if out.as_json else rows, list(columns))
    return 0


def _pick_examples(store: Store, limit: int) -> list[str]:
    """Return repositories that the page knows and the model was not trained on, from many stars to few."""
    import numpy as np

    from stargaze.bundle.star_bundle import Bundle
    from stargaze.features.split import TEST, assign_folds

    bundle = Bundle.load(store.current)
    names = bundle.known.sort_values("stars", ascending=False, kind="stable")["full_name"]
    held_out = names[assign_folds(names, bundle.split) == TEST].tolist() or names.tolist()
    rows = np.unique(np.geomspace(1, len(held_out), limit).astype(int) - 1)
    return [str(held_out[row]) for row in rows]

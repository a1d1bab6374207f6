"""Walk the stages one after the other and end at the page: what ``stargaze run`` does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stargaze.config import Config
from stargaze.errors import UsageError
from stargaze.output import Output
from stargaze.pipeline.stages import stages, walk
from stargaze.store import Store, lock_store

EXAMPLES = 5
"""Repositories that a run with ``--once`` asks about: the most that the page takes by default."""


def make(config: Config, store: Store, out: Output, *, again: bool, clock: Callable[[], datetime]) -> None:
    """Do what is left of the stages up to ``deploy``."""
    from stargaze.tuning.families import select_families

    select_families(config.screening.families)  # before the long stages, not after them
    if config.tuning.target != "stars":
        raise UsageError(
            f"stargaze run walks to the page, which shows stars; tuning.target is {config.tuning.target!r}",
            hint=f"stargaze tune makes the {config.tuning.target} bundle; STARGAZE_TUNING_TARGET=stars stargaze run",
        )
    with lock_store(store):
        if again:
            store.journal.unlink(missing_ok=True)  # all is done anew, a stopped tuning too
        for stage, must in walk(stages(config, store, clock), again=again):
            if must:
                with out.progress(stage.name) as report:
                    line = stage.act(report)
                out.note(f"{stage.name}: {line}")
            else:
                out.note(f"{stage.name}: done already")


def travel(config: Config, store: Store, out: Output, *, once: bool, again: bool, clock: Callable[[], datetime]) -> int:
    """Do what is left of the stages, then serve; with ``once``, ask the page about a few repositories and end."""
    make(config, store, out, again=again, clock=clock)
    from stargaze.serve.runtime.settings import Sources
    from stargaze.serve.supervisor.supervise import serve, serving

    sources = Sources(config.github.api_url, config.growth.history_file)
    if not once:
        return serve(config.serve, store, sources, announce=lambda url: out.text(f"serving at {url} (Ctrl-C ends it)"))
    from stargaze.serve.web.client import request_predictions

    with serving(config.serve, store, sources) as url:
        answers = request_predictions(url, _examples(store, min(EXAMPLES, config.serve.max_repositories)))
    out.note(f"asked once at {url}")
    rows = [
        {
            "repository": answer["full_name"],
            "predicted": answer["stars"],
            "from": answer["low"],
            "to": answer["high"],
            "true": answer["actual"],
        }
        for answer in answers
    ]
    out.table(answers if out.as_json else rows, ["repository", "predicted", "from", "to", "true"])
    return 0


def _examples(store: Store, most: int) -> list[str]:
    """Return repositories that the page knows and the model has not seen, from many stars to few."""
    import numpy as np

    from stargaze.bundle.star_bundle import Bundle
    from stargaze.features.split import TEST, assign_folds

    bundle = Bundle.load(store.current)
    known = bundle.known.sort_values("stars", ascending=False, kind="stable")
    held_out = (
        known["full_name"][assign_folds(known["full_name"], bundle.split) == TEST].tolist()
        or known["full_name"].tolist()
    )
    places = np.unique(np.geomspace(1, len(held_out), most).astype(int) - 1)
    return [str(held_out[place]) for place in places]

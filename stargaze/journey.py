"""Walk the stages one after the other and end at the page: what ``stargaze run`` does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stargaze.artifacts import Store
from stargaze.config import Config
from stargaze.output import Output
from stargaze.stages import stages, walk

EXAMPLES = 5
"""Repositories that a run with ``--once`` asks about: the most that the page takes by default."""


def travel(config: Config, store: Store, out: Output, *, once: bool, again: bool, clock: Callable[[], datetime]) -> int:
    """Do what is left of the stages, then serve; with ``once``, ask the page about a few repositories and end."""
    for stage, must in walk(stages(config, store, clock), again=again):
        if must:
            with out.progress(stage.name) as report:
                line = stage.act(report)
            out.note(f"{stage.name}: {line}")
        else:
            out.note(f"{stage.name}: done already")
    from stargaze.serve.processes import serve, serving

    if not once:
        return serve(config.serve, store, announce=lambda url: out.text(f"serving at {url} (Ctrl-C ends it)"))
    from stargaze.serve.ask import ask_once

    with serving(config.serve, store) as url:
        answers = ask_once(url, _examples(store, min(EXAMPLES, config.serve.repositories)))
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
    """Return held-out repositories from many stars to few, so that the answers are not learnt by heart."""
    import numpy as np

    from stargaze.features.table import read_both

    table, _ = read_both(store)
    test = table.repositories.iloc[table.test].sort_values("stars", ascending=False)["full_name"].tolist()
    places = np.unique(np.geomspace(1, len(test), most).astype(int) - 1)
    return [str(test[place]) for place in places]

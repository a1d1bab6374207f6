"""Run a stage as a job on the cluster and print its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stargaze.commands.options import Session, utc_now

if TYPE_CHECKING:
    from stargaze.infra.jobs.client import Outcome


def run_on_cluster(stage: str, session: Session, *, detach: bool, attach: bool, **inputs: Any) -> Outcome | None:
    """Run a stage on the cluster, or follow the running one; return None if it was only started."""
    from stargaze.infra.jobs.remote_stage import attach_stage, start_stage
    from stargaze.store import lock_store

    out, config, store = session
    with lock_store(store), out.progress(stage) as report:
        job = {} if attach else start_stage(stage, config, store, utc_now(), report, **inputs)
        if not detach:
            return attach_stage(stage, config, store, report)
    out.answer(job, f"{stage} runs on {job['machine']}")
    out.note(f"next: stargaze {stage} --attach")
    return None

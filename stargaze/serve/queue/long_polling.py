"""Whoever waits for an answer in one process: all look together, so that a hundred who wait cost what one does."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

from stargaze.errors import StargazeError
from stargaze.serve.prediction_request import FINISHED_STATES, PredictionJob, PredictionQueue

MOST = 32
"""So many may wait at once in a process, half of its threads; others are told how it stands at once."""
PAUSES = (0.01, 0.1)
"""Between two looks: while somebody has come just now, and the longest [s]."""
PATIENCE = 0.2
"""The pause is this share of the time that the youngest has waited."""

Seen = Future[PredictionJob | None]


class LongPoller:
    """Looks for the tickets of all who wait, in one thread, which ends when nobody does.

    Parameters
    ----------
    desk : Desk
        Where the tickets are.
    most : int
        How many may wait at once.
    """

    def __init__(self, desk: PredictionQueue, most: int = MOST) -> None:
        self._desk = desk
        self._most = most
        self._lock = threading.Lock()
        self._waiting: dict[Seen, tuple[str, float]] = {}
        self._looking = False

    def wait(self, ticket: PredictionJob, seconds: float) -> PredictionJob | None:
        """Return the ticket when it has ended, or as it stands after so long; as it is where too many wait already.

        Raises
        ------
        StargazeError
            As :meth:`Desk.look` does.
        """
        if seconds <= 0 or ticket.state in FINISHED_STATES:
            return ticket
        seen: Seen = Future()
        with self._lock:
            if len(self._waiting) >= self._most:
                return ticket
            self._waiting[seen] = (ticket.id, time.monotonic())
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="lookout", daemon=True).start()
        try:
            return seen.result(seconds)
        except TimeoutError:
            return self._desk.get(ticket.id)
        finally:
            with self._lock:
                self._waiting.pop(seen, None)

    def _look(self) -> None:
        while True:
            with self._lock:
                waiting = dict(self._waiting)
                self._looking = bool(waiting)
            if not waiting:
                return
            youngest = time.monotonic() - max(since for _, since in waiting.values())
            time.sleep(min(PAUSES[1], max(PAUSES[0], PATIENCE * youngest)))
            self._tell(waiting)

    def _tell(self, waiting: Mapping[Seen, tuple[str, float]]) -> None:
        """Wake those whose ticket has ended, or is gone; a desk that fails is told to all of them."""
        try:
            found = self._desk.finished({job_id for job_id, _ in waiting.values()})
        except StargazeError as error:
            for seen in waiting:
                seen.set_exception(error)
        else:
            for seen, (job_id, _) in waiting.items():
                if job_id in found:
                    seen.set_result(found[job_id])
        with self._lock:
            for seen in waiting:
                if seen.done():
                    self._waiting.pop(seen, None)

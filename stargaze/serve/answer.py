"""A question in, its ranked answer out: the plain function that the worker calls."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from stargaze.bundle import Bundle
from stargaze.features.question import from_figures, look_up
from stargaze.serve.predict import as_json, predict
from stargaze.serve.tickets import Answer, Question


def respond(bundle: Bundle, question: Question, now: datetime) -> Answer:
    """Predict every repository of the question and rank them, most stars first; typed figures are true ``now``.

    Raises
    ------
    UnknownRepositoryError
        If a name is not among the known ones; it names near matches.
    BadDataError
        If a typed figure cannot be true.
    """
    known = look_up(question.repositories, bundle.known)
    typed = from_figures(question.figures, now) if question.figures else known.head(0)
    predicted = predict(bundle, pd.concat([known, typed], ignore_index=True) if len(known) else typed)
    origin = [True] * len(known) + [False] * len(typed)
    pairs = sorted(zip(predicted, origin, strict=True), key=lambda pair: (-pair[0].stars, pair[0].full_name))
    predictions = [
        {"rank": rank, "known": is_known, **as_json(prediction)}
        for rank, (prediction, is_known) in enumerate(pairs, start=1)
    ]
    return {"digest": bundle.digest, "predictions": predictions}

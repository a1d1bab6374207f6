"""Which features a policy's model listens to, and how much each is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.features.catalog import CATALOG
from stargaze.report.inputs import Evidence
from stargaze.serve.prediction.attributions import contributions

MOST_ROWS = 400
"""Test repositories whose contributions are averaged: a model without exact ones is asked hundreds of times for each."""


def importance(evidence: Evidence, policy: str) -> pd.DataFrame:
    """Return what each kept feature does to predictions, and what it was worth when features were selected.

    Parameters
    ----------
    evidence : Evidence
    policy : str
        One that the bundle has a model of.

    Returns
    -------
    DataFrame
        ``feature``, ``meaning``, ``contribution``, the mean size of what it adds to a prediction on the test side [nat],
        ``factor``, the same as a factor of stars, and ``importance``, the growth of the squared error when it was shuffled
        in the training folds [nat²]; largest contribution first.
    """
    test = evidence.test.iloc[:MOST_ROWS]
    inputs = evidence.bundle.inputs(test, policy)
    added = np.abs(contributions(evidence.bundle, inputs.to_numpy(), policy)[:, :-1]).mean(axis=0)
    worth = evidence.selection.set_index("feature")[f"importance_{policy}"]
    names = [str(name) for name in inputs.columns]
    frame = pd.DataFrame(
        {
            "feature": names,
            "meaning": [CATALOG[name].meaning.partition(";")[0] for name in names],
            "contribution": added,
            "factor": np.exp(added),
            "importance": worth.reindex(names).to_numpy(dtype="float64"),
        }
    )
    return frame.sort_values(["contribution", "feature"], ascending=[False, True], ignore_index=True)

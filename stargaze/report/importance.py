"""Contribution and permutation importance of each feature."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.report.inputs import ReportInputs
from stargaze.serve.prediction.contributions import contributions

MAX_ROWS = 400
"""Maximum number of test repositories: a model without exact contributions needs hundreds of predictions for each."""


def rank_features(inputs: ReportInputs, policy: str) -> pd.DataFrame:
    """Return the selected features of a policy that the bundle has a model of, largest contribution first.

    Returns
    -------
    DataFrame
        ``feature``, ``meaning``, ``contribution``, the mean absolute contribution to a prediction on the test set [nat],
        ``factor``, the same as a factor of stars, and ``importance``, the growth of the squared error when the feature was
        shuffled in the training folds [nat²].
    """
    features = inputs.bundle.inputs(inputs.test.iloc[:MAX_ROWS], policy)
    contribution = np.abs(contributions(inputs.bundle, features.to_numpy(), policy)[1][:, :-1]).mean(axis=0)
    importance = inputs.selection.set_index("feature")[f"importance_{policy}"]
    names = [str(name) for name in features.columns]
    frame = pd.DataFrame(
        {
            "feature": names,
            "meaning": [inputs.bundle.catalog[name].meaning.partition(";")[0] for name in names],
            "contribution": contribution,
            "factor": np.exp(contribution),
            "importance": importance.reindex(names).to_numpy(dtype="float64"),
        }
    )
    return frame.sort_values(["contribution", "feature"], ascending=[False, True], ignore_index=True)

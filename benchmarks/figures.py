"""Accuracy of each feature policy on repositories that the model has not seen, compared with the median.

    python benchmarks/figures.py --by repository                   the sample best-of, 5 folds by repository
    python benchmarks/figures.py --sample electron                 the Electron sample, 5 folds by owner
    python benchmarks/figures.py FILE --config examples/bestof.toml --by repository

The ensemble of the families' defaults, without tuning. Feature selection, category codes, encoders, weights and intervals are
fitted inside the folds. It takes about 20 minutes of one core for 12,000 rows.
By repository, an owner's other repositories are known; by owner, none is.
"""

from __future__ import annotations

import argparse

import pandas as pd
from evaluation import add_table_arguments, evaluate, fit_encodings, read_table, score_median

from stargaze.config import POLICIES


def main() -> None:
    """Read the arguments, evaluate each policy, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_arguments(parser)
    arguments = parser.parse_args()
    repositories = read_table(arguments.files, arguments.config, arguments.sample)
    print(f"{len(repositories):,} repositories; 5 folds by {arguments.by}")
    rows = {"dummy (median)": score_median(repositories)}
    learned = fit_encodings(repositories, arguments.by)
    rows |= {policy: evaluate(repositories, policy, arguments.by, learned) for policy in POLICIES}
    print(pd.DataFrame(rows).T.round(4).to_string())


if __name__ == "__main__":
    main()

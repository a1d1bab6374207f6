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
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from evaluation import evaluate, fit_encodings, score_median

from stargaze import config
from stargaze.config import POLICIES
from stargaze.features import schema
from stargaze.features.fetch import fetch_files
from stargaze.store import Store


def main() -> None:
    """Read the arguments, evaluate each policy, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--sample", choices=config.SAMPLES)
    parser.add_argument("--by", choices=("owner", "repository"), default="owner")
    arguments = parser.parse_args()
    section = config.load(arguments.config, options={"fetch.sample": arguments.sample}).fetch
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        summary = fetch_files(section, store, arguments.files, datetime.now(UTC))
        repositories = schema.conform(pd.read_parquet(store.repositories))
    print(f"{summary.as_text().splitlines()[0]}; 5 folds by {arguments.by}")
    rows = {"dummy (median)": score_median(repositories)}
    learned = fit_encodings(repositories, arguments.by)
    rows |= {policy: evaluate(repositories, policy, arguments.by, learned) for policy in POLICIES}
    print(pd.DataFrame(rows).T.round(4).to_string())


if __name__ == "__main__":
    main()

"""What embeddings of the texts add to the policy `static`, and what they cost: size, time and memory.

    python benchmarks/text.py                        cost only: size of the extra, milliseconds per repository, MB of the worker
    python benchmarks/text.py FILE... [--config examples/bestof.toml] [--seeds 2] [--rows 3000]

R² of log1p(stars) by LightGBM and ridge regression with default parameters, and by the mean of both, 5 folds by owner. For each
outer fold, `auto` decides on its training part how to use the texts, as `stargaze select-features` does with one repetition.
Differences are paired by fold, with their standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from evaluation import outer_folds, read_table

from stargaze.config import FeaturesSection
from stargaze.features import schema
from stargaze.features.encoding.encoder import EMBEDDED, EMBEDDING_COMPONENTS, EMBEDDING_SCORE, Encoder
from stargaze.features.encoding.out_of_fold import OutOfFoldEncodings, fit_out_of_fold
from stargaze.features.encoding.text_embedding import fit_text_embedding
from stargaze.features.encoding.tokens import tokenize
from stargaze.features.encoding.word_vectors import DEPENDENCIES, PACKAGE, read_word_vectors
from stargaze.features.matrix import CATALOG, allowed_features, build_matrix, build_vocabulary, category_positions
from stargaze.features.selection.embedding_choice import TEXT_SCORE, choose_embeddings
from stargaze.features.selection.filters import apply_filters
from stargaze.features.selection.permutation_importance import TrainingRows
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES

WITHOUT, AUTO = "without embeddings", "auto"
DROPPED = {
    WITHOUT: EMBEDDED,
    "score": (TEXT_SCORE, *EMBEDDING_COMPONENTS),
    "components": (EMBEDDING_SCORE,),
    "score and components": (TEXT_SCORE,),
}
"""Ways to use the texts, by the features that each leaves out."""
LEARNERS = ("lightgbm", "ridge")
"""Families with default parameters; the mean of their predictions stands for an ensemble."""


def main() -> None:
    """Read the arguments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=0, help="a random part of the table; 0 means all")
    arguments = parser.parse_args()
    if not arguments.files:
        print_cost()
        return
    repositories = read_table(arguments.files, arguments.config)
    if 0 < arguments.rows < len(repositories):
        repositories = repositories.sample(arguments.rows, random_state=0).reset_index(drop=True)
    print(f"{len(repositories):,} repositories, {repositories['description'].notna().mean():.0%} with a description")
    errors = pd.concat([measure_errors(repositories, seed) for seed in range(arguments.seeds)])
    print_gains(errors, float(np.var(np.log1p(repositories["stars"]))))


def measure_errors(repositories: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean squared error [nat²] of each way to use the texts; one row per outer fold, with its number of rows."""
    target, results = np.log1p(repositories["stars"].to_numpy()), []
    for train, test, row_folds in outer_folds(repositories, "owner", seed):
        words = read_word_vectors()
        encodings = fit_out_of_fold(repositories, target, row_folds, seed=seed, owners=False, word_vectors=words)
        whole, names = prepare(repositories, target, row_folds, encodings)
        ways = {way: [name for name in names if name not in dropped] for way, dropped in DROPPED.items()}
        training = dataclasses.replace(
            whole,
            inputs=whole.inputs.iloc[train],
            target=target[train],
            folds=row_folds[train],
            encode_without=lambda fold, used=encodings, rows=train: used.excluding_fold(fold).iloc[rows],
        )
        dropped = choose_embeddings(training, names, FeaturesSection(importance_repeats=1), ())
        ways[AUTO] = [name for name in names if name not in dropped]
        row: dict[str, float] = {"rows": len(test)}
        for way, used in ways.items():
            row |= {
                f"{learner}: {way}": error for learner, error in fit_learners(whole, used, train, test, seed).items()
            }
        results.append(row)
    return pd.DataFrame(results)


def fit_learners(
    whole: TrainingRows, used: list[str], train: np.ndarray, test: np.ndarray, seed: int
) -> dict[str, float]:
    """Return the mean squared error [nat²] of each learner and of the mean of their predictions."""
    inputs, target = whole.inputs[used].to_numpy(), whole.target
    arrays = Arrays(inputs[train], target[train], whole.folds[train], tuple(category_positions(used)))
    predicted = {
        name: fit(FAMILIES[name], {}, arrays, np.arange(len(train)), seed).predict(inputs[test]) for name in LEARNERS
    }
    predicted["mean"] = np.mean(list(predicted.values()), axis=0)
    return {name: float(np.mean((values - target[test]) ** 2)) for name, values in predicted.items()}


def prepare(
    repositories: pd.DataFrame, target: np.ndarray, row_folds: np.ndarray, encodings: OutOfFoldEncodings
) -> tuple[TrainingRows, list[str]]:
    """Return the inputs of all rows under policy `static`, and the features that no filter drops."""
    train = np.flatnonzero(row_folds >= 0)
    names = [item.name for item in allowed_features("static") if not item.learned or item.name in encodings.values]
    training = repositories.iloc[train]
    vocabularies = {name: build_vocabulary(training[name]) for name in names if CATALOG[name].kind == "category"}
    inputs = build_matrix(repositories, names, vocabularies, encodings.values)
    dropped = apply_filters(inputs.iloc[train], target[train], FeaturesSection()).reasons
    return TrainingRows(inputs, target, row_folds), [name for name in names if name not in dropped]


def print_gains(errors: pd.DataFrame, variance: float) -> None:
    """Print R² of each way, and its difference from the one without embeddings."""
    rows = {}
    for name in errors.columns.drop("rows"):
        gain = (errors[f"{name.partition(':')[0]}: {WITHOUT}"] - errors[name]) / variance
        standard_error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
        r2 = 1.0 - float(np.average(errors[name], weights=errors["rows"])) / variance
        rows[name] = {"R2": r2, "gain": gain.mean(), "standard error": standard_error}
    print(pd.DataFrame(rows).T.round(4).to_string())


def print_cost() -> None:
    """Print the installed size [MB], the time of one repository [ms] and the memory of the encoder in a worker [MB]."""
    sizes = {name: _installed_bytes(name) / 1e6 for name in (PACKAGE, *DEPENDENCIES)}
    print(
        f"installed: {sum(sizes.values()):.1f} MB, " + ", ".join(f"{name} {size:.1f}" for name, size in sizes.items())
    )
    names = [f"owner{i}/parser-{i}" for i in range(2_000)]
    descriptions = [
        f"A fast parser of number {i} for structured text and streams, written in pure C{i % 7}" for i in range(2_000)
    ]
    repositories = schema.conform(pd.DataFrame({"full_name": names, "description": descriptions}))
    target = np.random.default_rng(0).normal(5.0, 2.0, len(names))
    words = fit_text_embedding(repositories, read_word_vectors())
    text = dataclasses.replace(tokenize(repositories), embedding=words.transform(repositories))
    encoders = {
        "without": Encoder.fit(tokenize(repositories), target, seed=0, owners=False),
        "with": Encoder.fit(text, target, seed=0, owners=False, text_embedding=words),
    }
    context = multiprocessing.get_context("spawn")
    costs = {}
    for name, encoder in encoders.items():
        with context.Pool(1) as processes:
            costs[name] = processes.apply(_use, (encoder.to_bytes(), repositories.iloc[:300]))
    size = (len(encoders["with"].to_bytes()) - len(encoders["without"].to_bytes())) / 1e6
    megabytes = costs["with"][1] - costs["without"][1]
    print(
        f"embeddings add {size:.1f} MB to the bundle, {costs['with'][0]:.2f} ms per repository that is asked for alone,"
    )
    print(f"and {megabytes:.1f} MB to the memory of a worker")


def _use(data: bytes, repositories: pd.DataFrame) -> tuple[float, float]:
    """Return the time of the embeddings of one repository [ms] and the memory of the whole encoder [MB]."""
    process = psutil.Process()
    before = process.memory_info().rss
    encoder = Encoder.from_bytes(data)
    encoder.transform(repositories)
    megabytes, seconds = (process.memory_info().rss - before) / 1e6, [0.0]
    rows = [repositories.iloc[[row]] for row in range(len(repositories))]
    texts = [tokenize(row) for row in rows]
    embedding, ridge = encoder.text_embedding, encoder.target_encodings.embedding_ridge
    if embedding is not None and ridge is not None:
        for row, text in zip(rows, texts, strict=True):
            start = time.perf_counter()
            ridge.transform(text.words, embedding.transform(row))
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1e3, megabytes


def _installed_bytes(name: str) -> int:
    files = importlib.metadata.distribution(name).files or []
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.exists())


if __name__ == "__main__":
    main()

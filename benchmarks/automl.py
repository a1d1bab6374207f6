"""Compare stargaze with AutoGluon's boosting stack and FLAML on tables of repositories: same rows, minutes and cores.

    python benchmarks/automl.py --minutes 4 --cores 2 electron best-of best-of@300 best-of@1000
    python benchmarks/automl.py --minutes 4 --cores 2 selfhosted-snapshot.parquet bestof.parquet:examples/bestof.toml
    python benchmarks/automl.py --systems autogluon,flaml FILE   some of the systems; another run adds the others
    python benchmarks/automl.py --only-report                    the table and the verdict of what was measured so far

A table is the name of a shipped sample, FILE or FILE:CONFIG; TABLE@N is N random repositories of it.
Each table is split three times by owner, 70% for training. stargaze runs its commands select-features, screen and tune for one
policy; their time together is limited. The others get the design matrix of the same rows: the features of the policy that pass
the leak filters, with learned columns encoded out-of-fold, and the owners' folds. They run in an environment of their own, which
is created on first use below `benchmarks/rival_environment`. Each result is appended to a file at once; a repeated run continues.

A system is behind another on a table if its RMSLE is higher by more than one standard error of the paired differences. The exit
code is 0 if stargaze is behind on no table, and 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze import config
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import POLICIES, FeaturesSection
from stargaze.features.dataset import Dataset, read_dataset
from stargaze.features.encoding.out_of_fold import fit_out_of_fold
from stargaze.features.fetch import fetch_files
from stargaze.features.matrix import CATALOG, allowed_features, build_matrix, build_vocabulary, category_positions
from stargaze.features.samples import SAMPLES
from stargaze.features.selection.filters import apply_filters
from stargaze.features.split import TEST, VALIDATION
from stargaze.store import Store
from stargaze.tuning.metrics import scores

ROOT = Path(__file__).resolve().parents[1]
RIVAL_FOLDER = ROOT / "benchmarks" / "rival_environment"
OURS, RIVALS = "stargaze", ("autogluon", "flaml")
SPLITS = 3
TEST_SIZE = 0.3
VALIDATION_SIZE = 0.05
"""The share of the repositories that calibrates the intervals of stargaze; the others have no intervals."""
SCREENING_SHARE = 0.2
"""The share of the time in which `screen` chooses the families."""
LEAST_SECONDS = 10.0
"""The least time budget of `tune` [s]."""
DRAW_SEED = 0
Result = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of repositories, fetched by the command `fetch`."""

    name: str
    repositories: Path


@dataclass(frozen=True)
class Limits:
    """The time [s] and the cores of each system, and the feature policy."""

    seconds: float
    cores: int
    policy: str


@dataclass(frozen=True)
class Difference:
    """RMSLE of stargaze minus that of a rival: mean over the splits and its standard error [nat]."""

    mean: float
    error: float

    @property
    def verdict(self) -> str:
        """``ahead`` or ``behind`` if the difference exceeds its standard error, else ``equal``."""
        if abs(self.mean) <= self.error:
            return "equal"
        return "ahead" if self.mean < 0 else "behind"


def main() -> int:
    """Run what is missing, print the table of differences, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help="SAMPLE, FILE or FILE:CONFIG, each perhaps with @ROWS")
    parser.add_argument("--minutes", type=float, default=10.0, help="time of each system for each split")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--policy", choices=POLICIES, default="all")
    parser.add_argument("--systems", default=",".join((OURS, *RIVALS)))
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--results", type=Path, default=Path("automl.jsonl"))
    parser.add_argument("--only-report", action="store_true")
    arguments = parser.parse_args()
    limits = Limits(60.0 * arguments.minutes, arguments.cores, arguments.policy)
    if not arguments.only_report:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: limits.cores])
        with tempfile.TemporaryDirectory(prefix="automl-") as folder:
            tables = fetch_tables(arguments.tables or ["electron"], Path(folder))
            run_missing(tables, arguments.systems.split(","), arguments.splits, limits, arguments.results)
    results = [result for result in read_results(arguments.results) if result["policy"] == limits.policy]
    text, is_behind = report(results)
    print(text)
    return int(is_behind)


def read_results(path: Path) -> list[Result]:
    """Return the results measured so far; the last one of equal runs counts."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return list({_key(result): result for result in lines}.values())


def _key(result: Result) -> tuple[Any, ...]:
    return tuple(result[name] for name in ("table", "system", "split", "seconds_limit", "cores", "policy"))


# ---- Comparison ----------------------------------------------------------------------------------------------


def report(results: Sequence[Result]) -> tuple[str, bool]:
    """Return the scores, the paired differences and the verdicts as text, and whether stargaze is behind on a table."""
    frame, lines, is_behind = pd.DataFrame(results), list[str](), False
    for table in dict.fromkeys(frame["table"] if len(frame) else ()):
        rows = frame[frame["table"] == table]
        lines.append(f"{table}: {rows['rows'].iloc[0]} repositories, {rows['split'].nunique()} splits by owner")
        for system, part in rows.groupby("system"):
            mean = part[["rmsle", "r2", "seconds"]].mean()
            lines.append(f"  {system:10} RMSLE {mean['rmsle']:.4f}  R² {mean['r2']:.4f}  {mean['seconds']:5.0f} s")
        for rival in RIVALS:
            difference = paired_difference(rows.to_dict("records"), OURS, rival)
            if difference is not None:
                lines.append(
                    f"  {OURS} - {rival}: {difference.mean:+.4f} ± {difference.error:.4f}: {difference.verdict}"
                )
                is_behind = is_behind or difference.verdict == "behind"
    return "\n".join(lines), is_behind


def paired_difference(results: Sequence[Any], system: str, rival: str) -> Difference | None:
    """Return the difference of two systems over the splits that both have; None if these are fewer than two."""
    scores_of = {
        name: {result["split"]: float(result["rmsle"]) for result in results if result["system"] == name}
        for name in (system, rival)
    }
    common = sorted(scores_of[system].keys() & scores_of[rival].keys())
    if len(common) < 2:
        return None
    differences = np.array([scores_of[system][split] - scores_of[rival][split] for split in common])
    return Difference(float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences))))


# ---- Tables --------------------------------------------------------------------------------------------------


def fetch_tables(names: Sequence[str], folder: Path) -> list[Table]:
    """Fetch each table into a store of its own; of TABLE@N keep N random repositories."""
    tables = list[Table]()
    for number, name in enumerate(names):
        store = Store(folder / f"table-{number}")
        source, _, rows = name.partition("@")
        file, _, mapping = source.partition(":")
        section, files = config.load(Path(mapping) if mapping else None).fetch, [Path(file)]
        if file in SAMPLES:
            section, files = replace(section, sample=file), []
        fetch_files(section, store, files, datetime.now(UTC))
        if rows:
            drawn = pd.read_parquet(store.repositories).sample(int(rows), random_state=DRAW_SEED).sort_index()
            drawn.reset_index(drop=True).to_parquet(store.repositories)
        tables.append(Table(Path(file).stem + (rows and f"@{rows}"), store.repositories))
    return tables


# ---- Systems -------------------------------------------------------------------------------------------------


def run_missing(tables: Sequence[Table], systems: Sequence[str], splits: int, limits: Limits, results: Path) -> None:
    """Run each system on each split of each table that has no result with these limits; append each result."""
    done = {_key(result) for result in read_results(results)}
    for table in tables:
        for split in range(splits):
            for system in systems:
                name = {"table": table.name, "system": system, "split": split, "seconds_limit": limits.seconds}
                name |= {"cores": limits.cores, "policy": limits.policy}
                if _key(name) in done:
                    continue
                result = {**name, **run_system(system, table, split, limits)}
                with results.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(result) + "\n")
                print(json.dumps(result), file=sys.stderr)


def run_system(system: str, table: Table, split: int, limits: Limits) -> Result:
    """Fit a system on the training rows of a split; return its scores on the test rows and its time [s]."""
    with tempfile.TemporaryDirectory(prefix=f"automl-{system}-") as folder:
        store = Store(Path(folder) / "store")
        store.root.mkdir()
        store.repositories.write_bytes(table.repositories.read_bytes())
        section = FeaturesSection(test_size=TEST_SIZE, validation_size=VALIDATION_SIZE, seed=split)
        dataset = read_dataset(store, section)
        run = run_ours if system == OURS else run_rival
        predicted, seconds = run(system, dataset, store, section, limits)
    stars = dataset.repositories["stars"].to_numpy()[dataset.test]
    found = scores(stars, np.expm1(np.maximum(predicted, 0.0)))
    return {
        "rows": len(dataset.target),
        "test_rows": len(stars),
        "rmsle": round(found["rmsle"], 5),
        "r2": round(found["r2"], 5),
        "seconds": round(seconds, 1),
    }


def run_ours(
    _system: str, dataset: Dataset, store: Store, section: FeaturesSection, limits: Limits
) -> tuple[np.ndarray, float]:
    """Run the commands of the pipeline; return predictions of log1p(stars) of the test rows [nat] and the time [s]."""
    environment = {
        **os.environ,
        "STARGAZE_STORE_PATH": str(store.root),
        "STARGAZE_FEATURES_TEST_SIZE": str(section.test_size),
        "STARGAZE_FEATURES_VALIDATION_SIZE": str(section.validation_size),
        "STARGAZE_FEATURES_SEED": str(section.seed),
        "STARGAZE_FEATURES_POLICIES": limits.policy,
        "STARGAZE_TUNING_ESTIMATE_POLICY": limits.policy,
    }
    started = time.perf_counter()
    run_command(["select-features"], environment, store)
    run_command(["screen", "--time-budget", f"{SCREENING_SHARE * limits.seconds:.0f}"], environment, store)
    left = limits.seconds - (time.perf_counter() - started)
    run_command(["tune", "--time-budget", f"{max(left, LEAST_SECONDS):.0f}"], environment, store)
    seconds = time.perf_counter() - started
    bundle = Bundle.load(store.bundles / store.latest.read_text(encoding="utf-8").strip())
    return bundle.predict_repositories(dataset.repositories.iloc[dataset.test], limits.policy), seconds


def run_command(arguments: Sequence[str], environment: dict[str, str], store: Store) -> None:
    """Run one command of stargaze; its output and its time go to stderr."""
    command, started = [sys.executable, "-m", "stargaze", *arguments], time.perf_counter()
    subprocess.run(command, env=environment, cwd=store.root, stdout=sys.stderr, check=True)
    print(f"{' '.join(arguments)}: {time.perf_counter() - started:.1f} s", file=sys.stderr)


def run_rival(
    system: str, dataset: Dataset, store: Store, section: FeaturesSection, limits: Limits
) -> tuple[np.ndarray, float]:
    """Fit a rival in its environment; return its predictions of log1p(stars) of the test rows [nat] and its time [s]."""
    source, destination = store.root / "input.npz", store.root / "output.npz"
    np.savez(source, **rival_arrays(dataset, section, limits.policy))
    command: list[str | Path] = [rival_python(), RIVAL_FOLDER / "fit_rival.py", system, source, destination]
    command += [str(limits.seconds), str(limits.cores), str(section.seed)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["OMP_NUM_THREADS"] = str(limits.cores)
    subprocess.run(command, env=environment, cwd=store.root, stdout=sys.stderr, check=True)
    with np.load(destination, allow_pickle=False) as data:
        return data["predicted"], float(data["seconds"])


def rival_arrays(dataset: Dataset, section: FeaturesSection, policy: str) -> dict[str, np.ndarray]:
    """Return the design matrix of all rows that stargaze fits or calibrates on, and of the test rows.

    The validation part is one more fold, so that the encoders of the test rows have read all rows that the rivals get.
    """
    repositories, target = dataset.repositories, dataset.target
    folds = np.where(dataset.folds == VALIDATION, dataset.folds.max() + 1, dataset.folds)
    train, test = np.flatnonzero(folds != TEST), np.flatnonzero(folds == TEST)
    owners = section.split_by == "repository"
    encodings = fit_out_of_fold(repositories, target, folds, seed=section.seed, owners=owners)
    names = [item.name for item in allowed_features(policy) if not item.learned or item.name in encodings.values]
    categories = [name for name in names if CATALOG[name].kind == "category"]
    vocabularies = {name: build_vocabulary(repositories.iloc[train][name]) for name in categories}
    inputs = build_matrix(repositories, names, vocabularies, encodings.values)
    dropped = apply_filters(inputs.iloc[train], target[train], section).reasons
    kept = [name for name in names if name not in dropped]
    values = inputs[kept].to_numpy()
    return {
        "inputs": values[train],
        "test": values[test],
        "target": target[train],
        "folds": folds[train],
        "names": np.array(kept),
        "categories": np.array(category_positions(kept), dtype="int64"),
    }


def rival_python() -> Path:
    """Return the interpreter of the rivals' environment; create it for the present lock file if there is none."""
    lock = RIVAL_FOLDER / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = RIVAL_FOLDER / ".venv"
    python, finished = folder / "bin" / "python", folder / f"finished-{digest}"
    if not finished.exists():
        uv = [sys.executable, "-m", "uv"]
        install = ["pip", "install", "--quiet", "--require-hashes", "--python", python, "--requirement", lock]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run([*uv, *install], check=True)
        finished.touch()
    return python


if __name__ == "__main__":
    sys.exit(main())

"""Shared fixtures: a small real bundle of the shipped sample, and synthetic repositories whose stars depend on their values."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from stargaze.bundle.prediction_intervals import append_prediction
from stargaze.bundle.repository_sets import RepositorySets
from stargaze.bundle.serialization import Ensemble
from stargaze.bundle.star_bundle import Bundle
from stargaze.bundle.write import write_bundle
from stargaze.cli import main
from stargaze.config import FeaturesSection, ServeSection
from stargaze.features import schema
from stargaze.features.matrix import build_matrix, build_vocabulary
from stargaze.features.split import assign_folds
from stargaze.store import Store
from tests.isolation import check_isolation, check_patches, disposition, reset_signals  # noqa: F401 - fixtures of every test
from tests.serve.fake_queue import FakePredictionQueue
from tests.shared_work import pytest_collection_finish, share_work  # noqa: F401 - a hook

RANDOM_EXAMPLES = int(os.environ.get("STARGAZE_RANDOM_EXAMPLES", "0"))
"""Number of random examples per property; without it they are the same in each run, so that a failure is about the change."""
EXAMPLES = RANDOM_EXAMPLES or 40
settings.register_profile("busy", derandomize=not RANDOM_EXAMPLES, max_examples=EXAMPLES, deadline=None)
settings.load_profile("busy")

reset_signals()
share_work()

SAMPLE = Path(__file__).parent.parent / "stargaze" / "data" / "electron.parquet"
FEATURES = {
    "activity": ["language", "owner_type", "contributors", "releases", "open_issues", "size_kb", "description_length"],
    "all": ["language", "owner_type", "contributors", "releases", "open_issues", "size_kb", "forks", "subscribers"],
}
PROTOTYPE = {"full_name": "a/b", "language": "JavaScript", "contributors": 2.0, "forks": 12.0}
ROWS = 2_000
"""Enough rows for a useful model, few enough to fit it in a second."""


@pytest.fixture(scope="session")
def sample() -> pd.DataFrame:
    """The most starred repositories of the sample, most stars first."""
    frame = schema.conform(pd.read_parquet(SAMPLE))
    return frame.sort_values("stars", ascending=False, kind="stable", ignore_index=True).head(ROWS)


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory, sample: pd.DataFrame) -> Path:
    """A bundle of LightGBM models for both policies."""
    vocabularies = {name: build_vocabulary(sample[name]) for name in ("language", "owner_type")}
    models = {policy: Ensemble((1.0,), (_model(sample, names, vocabularies),)) for policy, names in FEATURES.items()}
    spreads = {"all": _spread(sample, models["all"], vocabularies)}
    meta = _meta(sample, models, spreads, vocabularies)
    sets = RepositorySets.of(sample["full_name"], assign_folds(sample["full_name"], FeaturesSection()))
    return write_bundle(tmp_path_factory.mktemp("bundles"), meta, models, spreads, sample, sets)


@pytest.fixture(scope="session")
def growth_bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A growth bundle of synthetic histories; fitting it takes two seconds."""
    from tests.growth_bundles import write_growth_bundle

    return write_growth_bundle(Store(tmp_path_factory.mktemp("growth")))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


@pytest.fixture
def released_store(store: Store, bundle_folder: Path) -> Store:
    """A store whose page would serve the bundle."""
    store.serving.mkdir(parents=True)
    store.current.symlink_to(bundle_folder)
    return store


NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COLLECTED = pd.Timestamp("2025-06-01", tz="UTC")


@pytest.fixture(scope="session")
def make_repositories() -> Callable[..., pd.DataFrame]:
    """Return a function that makes n repositories from a seed; keyword arguments replace columns."""
    return _make_repositories


@pytest.fixture(scope="session")
def small_disk() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Return a context manager that limits the size of every file [byte]."""
    return _small_disk


@dataclass(frozen=True)
class Ended:
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the error line, after a check of the form of stderr."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if not re.match(r"[a-z-]+: +\d+% ", line)]
        assert [line.partition(":")[0] for line in lines] == ["error", "hint"], self.err
        assert all(len(line) < 700 for line in lines)
        return lines[0].removeprefix("error: ")

    @property
    def hint(self) -> str:
        """Return the hint."""
        return self.err.splitlines()[-1].removeprefix("hint:").strip()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Return a function that runs a command in an empty folder; its store is ``store``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))

    def run(*argv: str) -> Ended:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in argv])
        assert isinstance(caught.value.code, int)
        return Ended(caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def loaded_bundle(bundle_folder: Path) -> Bundle:
    """The small bundle, loaded once."""
    return Bundle.load(bundle_folder)


@pytest.fixture
def queue(loaded_bundle: Bundle) -> FakePredictionQueue:
    """A queue whose jobs are answered with the small bundle."""
    return FakePredictionQueue(loaded_bundle)


@pytest.fixture
def page(released_store: Store, queue: FakePredictionQueue) -> Any:
    """A client without JavaScript for the whole app."""
    from stargaze.serve.web.app import make_web

    return make_web(ServeSection(), released_store, queue, lambda: NOW).test_client()


def _model(sample: pd.DataFrame, names: list[str], vocabularies: dict[str, list[str]]) -> Any:
    from stargaze.tuning.cross_validation import Arrays  # the process that starts the workers needs no scikit-learn

    inputs = build_matrix(sample, names, vocabularies).to_numpy()
    categories = tuple(place for place, name in enumerate(names) if name in vocabularies)
    arrays = Arrays(inputs, np.log1p(sample["stars"].to_numpy()), np.zeros(len(sample), dtype=int), categories)
    return _fit(arrays, 40)


def _spread(sample: pd.DataFrame, model: Ensemble, vocabularies: dict[str, list[str]]) -> Any:
    from stargaze.tuning.cross_validation import Arrays

    inputs, target = (
        build_matrix(sample, FEATURES["all"], vocabularies).to_numpy(),
        np.log1p(sample["stars"].to_numpy()),
    )
    predicted = np.maximum(model.predict(inputs), 0.0)
    arrays = Arrays(
        append_prediction(inputs, predicted), np.abs(target - predicted), np.zeros(len(sample), dtype=int), (0, 1)
    )
    return _fit(arrays, 10)


def _fit(arrays: Any, rounds: int) -> Any:
    from stargaze.tuning.cross_validation import fit
    from stargaze.tuning.families import FAMILIES

    return fit(FAMILIES["lightgbm"], {"n_estimators": rounds}, arrays, np.arange(len(arrays.target)), 0)


def _meta(
    sample: pd.DataFrame, models: dict[str, Ensemble], spreads: dict[str, Any], vocabularies: dict[str, list[str]]
) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "estimate_policy": "all",
        "metric": "rmsle",
        "ensemble": {policy: [{"family": "lightgbm", "parameters": {}, "weight": 1.0, "seed": 0}] for policy in models},
        "coverage": 0.9,
        "intervals": {
            "coverage": 0.9,
            "count_classes": [0, 20],
            "prediction_classes": [0, 20],
            "radius": [[1.7, 1.2], [1.6, 1.1]],
        },
        "features": FEATURES,
        "vocabularies": vocabularies,
        "scores": {policy: {"rmsle": 0.5, "r2": 0.8, "coverage": 0.9} for policy in models},
        "split": dataclasses.asdict(FeaturesSection()),
        "star_quantiles": np.quantile(sample["stars"], np.linspace(0, 1, 101)).round(3).tolist(),
        "background": {policy: [None] * len(names) for policy, names in FEATURES.items()},
        "data": {
            "rows": len(sample),
            "training_rows": len(sample),
            "fingerprint": "0" * 64,
            "latest": "2017-01-20T00:00:00+00:00",
        },
        "prototype": {
            "record": PROTOTYPE,
            "predicted": {policy: _predicted(models, spreads, policy, vocabularies) for policy in models},
        },
    }


def _predicted(
    models: dict[str, Ensemble], spreads: dict[str, Any], policy: str, vocabularies: dict[str, list[str]]
) -> list[float]:
    inputs = build_matrix(schema.conform(pd.DataFrame([PROTOTYPE])), FEATURES[policy], vocabularies).to_numpy()
    outputs = [float(model.predict(inputs)[0]) for model in models[policy].models]
    if policy in spreads:
        error_inputs = append_prediction(inputs, np.maximum(models[policy].predict(inputs), 0.0))
        outputs.append(float(spreads[policy].predict(error_inputs)[0]))
    return outputs


def _make_repositories(n: int = 300, seed: int = 0, **columns: Any) -> pd.DataFrame:
    """Return repositories whose counts follow a hidden popularity, each with its own noise."""
    return schema.conform(pd.DataFrame({**_columns(n, seed), **columns}))


@functools.cache
def _columns(n: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng([seed, 2025])  # not the stream of the seed alone, which the code under test may use
    wiki, organization = random.integers(0, 2, n), random.integers(0, 2, n)
    popularity = 1.0 + random.normal(0.0, 1.0, n) + 1.5 * wiki + organization

    def count(share: float, noise: float = 0.7) -> np.ndarray:
        return np.floor(np.exp(np.clip(popularity * share + random.normal(0.0, noise, n), -1.0, 12.0)))

    age = random.integers(100, 4000, n)
    idle = (age * random.random(n) ** 3).astype(int)
    return {
        "id": random.permutation(10 * n)[:n] + 1,
        "full_name": [f"owner{random.integers(n) ** 2 % n}-x/{_word(random)}-{row}" for row in range(n)],
        "fetched_at": COLLECTED,
        "stars": count(1.0, 0.3),
        "owner_type": np.where(organization, "Organization", "User"),
        "language": random.choice(["Python", "C", "Rust", None], n, p=[0.5, 0.2, 0.2, 0.1]),
        "license": random.choice(["mit", "gpl-3.0", None], n),
        "created_at": COLLECTED - pd.to_timedelta(age, unit="D"),
        "pushed_at": COLLECTED - pd.to_timedelta(idle, unit="D"),
        "has_wiki": wiki,
        "description_length": np.where(random.random(n) < 0.1, np.nan, random.integers(5, 200, n)),
        "size_kb": np.floor(np.exp(random.normal(6.0, 2.0, n))),
        "contributors": 1.0 + count(0.4),
        "open_issues": count(0.5),
        "closed_issues": count(0.6),
        "forks": count(0.7, 0.5),
        "subscribers": count(0.5, 0.5),
    }


def _word(random: np.random.Generator) -> str:
    return "".join(random.choice(list("abcdefghij"), random.integers(3, 12)))


@contextlib.contextmanager
def _small_disk(size: int) -> Iterator[None]:
    before, writes_no_bytecode = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python would keep truncated files
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_no_bytecode
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

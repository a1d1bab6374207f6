"""The samples that ship with the package: real repositories, facts only."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One table of repositories below ``stargaze/data/``."""

    file: str
    population: str
    """What follows "Trained on 9,535"."""
    choice: str
    """How the repositories were chosen, as a sentence."""


SAMPLES: dict[str, Sample] = {
    "best-of": Sample(
        "bestof.parquet",
        "repositories of best-of lists",
        "Authors of best-of lists chose them: projects that they recommend, few of them without stars.",
    ),
    "electron": Sample(
        "electron.parquet",
        "repositories using Electron",
        "They depend on Electron, and were not chosen by their stars.",
    ),
}
"""The samples by the names that ``fetch.sample`` takes."""


@contextmanager
def open_sample(name: str) -> Iterator[Path]:
    """Yield the path of a sample's file, also if the package is inside of an archive."""
    file = importlib.resources.files("stargaze") / "data" / SAMPLES[name].file
    with importlib.resources.as_file(file) as path:
        yield path

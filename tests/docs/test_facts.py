"""The facts in the pages agree with the program: sections, exit codes, faults, API fields, counts."""

from __future__ import annotations

import dataclasses
import re

import pandas as pd
import pyarrow.parquet as pq

from stargaze import errors
from stargaze.config import Config, ServeSection, load
from stargaze.features.samples import SAMPLES, open_sample
from stargaze.serve.swarm.drill import FAULTS
from stargaze.serve.web.api.openapi import EXAMPLE_NAME, openapi_document
from stargaze.tuning.families import FAMILIES
from tests.docs.markdown import ROOT, rows, text


def quoted_in_first_cells(page: str) -> set[str]:
    """Return the inline code in the first column of a page's tables."""
    return {code for row in rows(page) for code in re.findall(r"`([^`]+)`", row[0])}


def test_every_config_section_is_explained() -> None:
    sections = {f"[{field.name}]" for field in dataclasses.fields(Config)}

    assert sections <= quoted_in_first_cells("docs/use.md")


def test_every_exit_code_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {str(kind.exit_code) for kind in kinds if issubclass(kind, errors.StargazeError)}

    assert codes <= {row[0] for row in rows("docs/use.md")}


def test_every_fault_of_a_drill_is_explained() -> None:
    assert set(FAULTS) <= quoted_in_first_cells("docs/production.md")


def test_every_field_of_a_prediction_is_explained() -> None:
    schema = openapi_document(ServeSection())["components"]["schemas"]["Prediction"]

    assert set(schema["properties"]) <= quoted_in_first_cells("docs/page-and-api.md")


def test_number_of_model_families() -> None:
    extras = [family for family in FAMILIES.values() if family.extra]

    assert (len(FAMILIES) - len(extras), len(FAMILIES)) == (11, 12)
    assert "eleven model families by cross-validation (twelve with the extra)" in text("docs/use.md")


def test_sizes_of_the_samples() -> None:
    for name, sample in SAMPLES.items():
        path = ROOT / "stargaze" / "data" / sample.file
        rows, size = pq.read_metadata(path).num_rows, path.stat().st_size
        assert f"`{name}` ({rows:,} repositories, {size / 1e6:.1f} MB)" in text("docs/data.md")
        assert f"`{name}` ({rows:,})" in text("docs/glossary.md")


def test_every_guarantee_names_a_test_that_exists() -> None:
    references = re.findall(r"`([\w/]+\.py)::(test_\w+)`", text("docs/security.md"))

    assert len(references) > 20
    for path, name in references:
        assert f"def {name}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), f"{path}::{name}"


def test_the_demo_sets_keys_that_exist() -> None:
    """And nothing about the sample: it shows the default."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    line = next(line for line in makefile.splitlines() if line.startswith("DEMO_ENV"))
    environ = dict(item.split("=", 1) for item in line.partition(":= ")[2].split())

    config = load(environ=environ)

    assert config.fetch == Config().fetch
    assert 0 < config.screening.max_rows < 3_000
    assert config.tuning.time_budget == 0, "on a slow machine no trial would end in time"


def test_the_names_in_examples_are_in_the_default_sample() -> None:
    with open_sample(Config().fetch.sample) as path:
        names = set(pd.read_parquet(path, columns=["full_name"])["full_name"])

    assert {EXAMPLE_NAME, *re.findall(r"stargaze predict ([\w.-]+/[\w.-]+)", text("README.md"))} <= names

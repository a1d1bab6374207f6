"""The layout follows the rules of CONTRIBUTING.md: small folders and modules, names that a reader would search for."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.syntax import syntax_of

ROOT = Path(__file__).parent.parent / "stargaze"
MODULES = sorted(path for path in ROOT.rglob("*.py") if "data" not in path.parts)
FOLDERS = sorted({path.parent for path in MODULES})
LINES = 57_000
"""The largest number of lines of the package."""
TABLES = {"tuning/families.py"}
"""Tables of data: one function per feature, one row per model family."""
TERMS = (
    "rate limit",
    "retry",
    "cache",
    "target encoding",
    "out-of-fold",
    "permutation importance",
    "long polling",
    "hot reload",
    "rollback",
    "quality gate",
    "pre-receive",
    "prune",
    "load generator",
    "prediction interval",
    "track record",
    "cloud-init",
)
"""Terms of the field that a reader searches for."""
SUITES = {"benchmarks", "faults", "ansible", "browser", "docs", "integration", "job", "labs", "referee", "simulated"}
"""Folders of tests without a counterpart in the package."""
OF_SEVERAL_MODULES = {
    *("commands/test_earlier_version.py", "features/github/test_command.py", "features/github/test_faults.py"),
    *("features/ingest/test_exports.py", "features/ingest/test_tolerated_input.py"),
    *("features/github/test_kills.py", "features/github/test_random_sequences.py", "report/test_command.py"),
    *("tuning/executors/test_executors.py", "test_docker_engine.py", "test_layout.py"),
    *("infra/openstack/test_lab_sqlite.py", "test_run_suites.py", "test_sample.py"),
}
"""Tests of several modules, or of files outside of the package."""


def lines_of(path: Path) -> int:
    """Return the number of lines of a module."""
    return len(path.read_text(encoding="utf-8").splitlines())


def name_of(path: Path) -> str:
    """Return a module's path below the package."""
    return path.relative_to(ROOT).as_posix()


def public_names(path: Path) -> Iterator[str]:
    """Yield the public functions and classes that a module defines at its top level."""
    for node in syntax_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def imports_of(path: Path) -> Iterator[str]:
    """Yield every module of the package that a module imports, at its top level or inside a function."""
    for node in ast.walk(syntax_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in KNOWN else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def dotted(path: Path) -> str:
    """Return the dotted name of a module."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {dotted(path) for path in MODULES}


def test_a_folder_has_at_most_15_modules() -> None:
    sizes = {name_of(folder): len(list(folder.glob("*.py"))) - 1 for folder in FOLDERS}

    assert {folder: size for folder, size in sizes.items() if size > 15} == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_package_states_its_purpose_in_one_line(folder: Path) -> None:
    docstring = ast.get_docstring(syntax_of(folder / "__init__.py"))

    assert docstring
    assert len(docstring.splitlines()) == 1


def test_a_module_has_at_most_350_lines() -> None:
    long = {name_of(path): lines_of(path) for path in MODULES if name_of(path) not in TABLES}

    assert {name: lines for name, lines in long.items() if lines > 350} == {}


def test_the_package_does_not_grow_without_a_decision() -> None:
    """Raise the limit only with a reason in the commit."""
    assert sum(map(lines_of, MODULES)) <= LINES


@pytest.mark.thorough
@pytest.mark.parametrize("term", TERMS)
def test_a_module_or_function_carries_the_term(term: str) -> None:
    word = re.sub(r"[ -]", "_", term)
    names = {path.stem for path in MODULES} | {name for path in MODULES for name in public_names(path)}

    assert any(word in name for name in names)


def test_no_public_name_is_defined_in_more_than_three_modules() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for name in public_names(path):
            places[name].append(name_of(path))

    assert {name: modules for name, modules in places.items() if len(modules) > 3 and name != "main"} == {}


def test_no_module_imports_itself_by_way_of_others() -> None:
    imports = {dotted(path): set(imports_of(path)) for path in MODULES}
    remaining = dict(imports)
    while free := [name for name, needs in remaining.items() if not needs & remaining.keys()]:
        for name in free:
            del remaining[name]

    assert sorted(remaining) == []


def test_a_test_file_is_named_after_the_module_under_test() -> None:
    folder = Path(__file__).parent
    tests = {path.relative_to(folder) for path in folder.rglob("test_*.py")}
    mirrored = {path for path in tests if path.parts[0] not in SUITES and path.as_posix() not in OF_SEVERAL_MODULES}
    modules = {path.parent: {module.stem for module in (ROOT / path.parent).glob("*.py")} for path in mirrored}
    prefixes = {path: {"_".join(path.stem.split("_")[1:n]) for n in range(2, 9)} for path in mirrored}

    assert {path.as_posix() for path in mirrored if not prefixes[path] & modules[path.parent]} == set()

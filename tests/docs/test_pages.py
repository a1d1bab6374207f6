"""The pages fit the repository: length of the README, links, module paths, layout, glossary, hooks."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.docs.markdown import PAGES, ROOT, anchors, blocks, links, prose, rows, spans, text

PACKAGE = ROOT / "stargaze"
FOLDERS = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
TREE = re.compile(r"( *)((?:[\w.]+/? )*[\w.]+/?)(?:  .*)?")
DEEPEST = 6
"""Deeper lines of a layout continue a description [spaces]."""


def test_readme_is_short() -> None:
    readme = text("README.md")

    assert len(readme.splitlines()) <= 120
    assert len(readme.split()) <= 1_000


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_resolves(page: str) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target.resolve().relative_to(ROOT).as_posix()), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_every_quoted_path_exists(page: str) -> None:
    for span in spans(page):
        top = span.split("/")[0]
        if "/" not in span or re.search(r"[^\w./-]", span):
            continue
        if top in FOLDERS:
            assert (PACKAGE / span).exists(), f"{page}: {span}"
        elif top in {"stargaze", "tests", "docs", "tools", "benchmarks", "examples", "ansible"}:
            assert (ROOT / span).exists(), f"{page}: {span}"


def layout(page: str) -> Iterator[Path]:
    """Yield the paths that the layout blocks of a page show."""
    for block in blocks(page):
        if block.language:
            continue
        folders: list[tuple[int, Path]] = []
        for line in block.text.splitlines():
            match = TREE.fullmatch(line)
            if not match or len(match[1]) > DEEPEST:
                continue
            indent = len(match[1])
            folders = [(depth, folder) for depth, folder in folders if depth < indent]
            parent = folders[-1][1] if folders else ROOT
            paths = [parent / name for name in match[2].split()]
            yield from paths
            folders.append((indent, paths[0]))


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_layout_shows_what_exists(page: str) -> None:
    paths = list(layout(page))

    assert len(paths) > 10
    assert [path for path in paths if not path.exists()] == []


def test_architecture_shows_every_package() -> None:
    described_with_its_parent = PACKAGE / "features" / "github"
    packages = {path.parent for path in PACKAGE.rglob("__init__.py")}
    missing = packages - set(layout("docs/architecture.md"))

    assert {path for path in missing if described_with_its_parent not in path.parents} == set()


def test_architecture_shows_the_layers_of_the_import_contracts() -> None:
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = {
        contract.get("containers", ["stargaze"])[0].rpartition(".")[2]: [
            [name.strip().removeprefix("stargaze.") for name in layer.split("|")] for layer in contract["layers"]
        ]
        for contract in contracts
        if contract["type"] == "layers"
    }
    described = {
        row[0].strip("`"): [layer.split(", ") for layer in row[1].split(" > ")]
        for row in rows("docs/architecture.md")
        if " > " in row[1]
    }

    assert described == layers


def terms() -> list[list[str]]:
    """Return the rows of the glossary."""
    return [row for row in rows("docs/glossary.md") if row[0] != "term"]


def test_glossary_defines_each_term_once_in_one_sentence() -> None:
    names = [row[0] for row in terms()]

    assert len(names) == len(set(names))
    assert [row for row in terms() if len(row) != 3 or not row[1].endswith(".") or ". " in row[1]] == []


def test_glossary_names_modules_that_exist() -> None:
    modules = [module for row in terms() for module in re.findall(r"`([^`]+)`", row[2])]

    assert len(modules) >= len(terms())
    assert [module for module in modules if not (PACKAGE / module).exists()] == []


def test_glossary_terms_are_used() -> None:
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    pages = [prose(page) for page in PAGES if page != "docs/glossary.md"]
    separate_words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", "\n".join((*sources, *pages)))
    used = re.sub(r"[\s_-]+", " ", separate_words.lower())

    assert [row[0] for row in terms() if re.sub(r"[\s_-]+", " ", row[0].lower()) not in used] == []


def test_pre_commit_hooks_call_the_tools_of_make_check_and_download_nothing() -> None:
    config = yaml.safe_load(text(".pre-commit-config.yaml"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    tools = set(re.findall(r"^\t\$\(BIN\)/([a-z-]+)", text("Makefile"), re.MULTILINE))

    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks} <= tools
    assert {"ruff", "mypy", "lint-imports", "yamllint"} == {hook["entry"].split()[0].split("/")[-1] for hook in hooks}

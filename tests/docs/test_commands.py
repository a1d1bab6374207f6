"""Every command, option, make target, benchmark, config key and variable that the documentation quotes exists."""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from stargaze.cli import app
from stargaze.config import Config
from tests.docs.markdown import PAGES, ROOT, blocks, prose, snippets, spans

KEY = re.compile(r"([a-z]+)\.([a-z_]+)(?: = (.*))?")
TABLE = re.compile(r"\[([a-z]+)(?:\.([a-z]+))?\](?: (\w+) = .*)?")
VARIABLE = re.compile(r"\bSTARGAZE_[A-Z_]+\b")
SUFFIXES = {"json", "py", "csv", "parquet", "toml", "sqlite", "git", "svg", "html", "yml", "yaml", "jsonl", "md"}
SECTIONS = {section.name: getattr(Config(), section.name) for section in dataclasses.fields(Config)}


@functools.cache
def root() -> Any:
    """Return a root command of this module's own: one that parses without its parents keeps a help option without -h."""
    return typer.main.get_group(app)


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every command below a group with its full name."""
    for child_name, child in getattr(command, "commands", {}).items():
        yield f"{name} {child_name}", child
        yield from commands(child, f"{name} {child_name}")


def options() -> set[str]:
    """Return every option of every command."""
    parameters = [item for _, command in commands(root(), "stargaze") for item in command.params]
    return {option for item in parameters for option in (*item.opts, *item.secondary_opts)} | {"--help"}


def words_of(snippet: str) -> list[str]:
    """Return the words of a shell command without assignments in front; empty if it is none."""
    try:
        argv = shlex.split(snippet)
    except ValueError:
        return []
    while argv and re.fullmatch(r"[A-Z_]+=.*", argv[0]):
        argv = argv[1:]
    return argv


def quoted(page: str, program: str) -> list[list[str]]:
    """Return the arguments of each call of a program that a page quotes."""
    calls = (words_of(snippet) for snippet in snippets(page))
    return [argv[1:] for argv in calls if argv and argv[0].removeprefix(".venv/bin/") == program]


def resolve(argv: list[str]) -> tuple[Any, list[str]]:
    """Return the command that the words name, and its arguments."""
    command, arguments = root(), list(argv)
    while arguments and hasattr(command, "commands") and not arguments[0].startswith("-"):
        assert arguments[0] in command.commands, f"stargaze {' '.join(argv)}: no command {arguments[0]}"
        command = command.commands[arguments.pop(0)]
    return command, arguments


@pytest.mark.parametrize("page", PAGES)
def test_every_quoted_command_can_be_typed(page: str) -> None:
    for argv in quoted(page, "stargaze"):
        if any(word.isupper() for word in argv[:1]):  # stargaze COMMAND --help
            continue
        command, arguments = resolve(argv)
        if arguments and arguments not in (["--help"], ["--version"]):
            command.make_context("stargaze", arguments)


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_is_quoted_alone_exists(page: str) -> None:
    scripts = "".join(map(options_source, benchmarks(page)))
    for span in spans(page):
        if re.match(r"--[a-z]", span):
            option = span.split()[0].partition("=")[0]
            assert option in options() or f'"{option}"' in scripts, f"{page}: {span}"


def test_every_command_is_documented() -> None:
    documented = "\n".join(snippet for page in PAGES for snippet in snippets(page))
    missing = [name for name, _ in commands(root(), "stargaze") if not re.search(rf"{name}\b", documented)]

    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_quoted_make_target_exists(page: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for argv in quoted(page, "make"):
        assert {word for word in argv if "=" not in word} <= set(targets), f"{page}: make {' '.join(argv)}"


def benchmarks(page: str) -> set[str]:
    """Return the benchmark scripts that a page names."""
    return set(re.findall(r"benchmarks/\w+\.py", "\n".join(snippets(page))))


def options_source(name: str) -> str:
    """Return the source that defines a benchmark's options: its own, and the shared one if it calls that."""
    source = (ROOT / name).read_text(encoding="utf-8")
    shared = (ROOT / "benchmarks" / "evaluation.py").read_text(encoding="utf-8")
    return source + shared if "add_table_arguments(" in source else source


@pytest.mark.parametrize("page", PAGES)
def test_every_quoted_benchmark_exists_and_has_its_options(page: str) -> None:
    for name in benchmarks(page):
        assert (ROOT / name).is_file(), f"{page}: {name}"
    for argv in quoted(page, "python"):
        if argv[0].startswith("benchmarks/"):
            source = options_source(argv[0])
            assert [word for word in argv if word.startswith("--") and f'"{word}"' not in source] == []


def is_allowed(section: str, key: str, value: str) -> bool:
    """Return whether a TOML value is one of a key's choices, if it has any."""
    field = next(field for field in dataclasses.fields(SECTIONS[section]) if field.name == key)
    choices = field.metadata["choices"]
    return not choices or tomllib.loads(f"value = {value}")["value"] in choices


@pytest.mark.parametrize("page", PAGES)
def test_every_quoted_config_key_exists(page: str) -> None:
    for span in spans(page):
        key = KEY.fullmatch(span)
        if key and key[1] in SECTIONS and key[2] not in SUFFIXES:
            assert hasattr(SECTIONS[key[1]], key[2]), f"{page}: {span}"
            assert not key[3] or is_allowed(*key.groups()), f"{page}: {span}"
        table = TABLE.match(span)
        if table:
            assert table[1] in SECTIONS, f"{page}: {span}"
            names = {table[2]} if table[2] else {table[3]} if table[3] else set()
            assert all(hasattr(SECTIONS[table[1]], name) for name in names), f"{page}: {span}"


@pytest.mark.parametrize("page", [*PAGES, "Makefile"])
def test_every_quoted_variable_is_a_key_or_is_read_by_the_program(page: str) -> None:
    keys = {
        f"STARGAZE_{name}_{field.name}".upper()
        for name, section in SECTIONS.items()
        for field in dataclasses.fields(section)
    }
    code = prose(page) + "".join(block.text for block in blocks(page))
    for variable in set(VARIABLE.findall(code)) - keys:
        if not variable.endswith("_"):  # STARGAZE_<SECTION>_<KEY>
            assert source_contains(variable), f"{page}: {variable}"


@functools.cache
def source_contains(word: str) -> bool:
    """Return whether a module of the package or of the tests contains a word."""
    modules = (path for folder in ("stargaze", "tests") for path in (ROOT / folder).rglob("*.py"))
    return any(word in path.read_text(encoding="utf-8") for path in modules)


PROSE = re.compile(r"(?:an earlier|reinstall|of|this|newer|older|by|has no|version of) stargaze")
"""Where a hint speaks of the program, and names no command."""
COMMAND = re.compile(r"\bstargaze ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)((?:(?! stargaze|;|, or )[^\"`])*)")


def texts_of(node: ast.expr) -> Iterator[str]:
    """Yield the texts of an expression, with VALUE in place of computed parts."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in node.values)
        case _:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    yield from texts_of(child)


def hints() -> Iterator[tuple[str, str]]:
    """Yield each hint with its module: values of ``hint=`` and of names that contain ``hint``, and fixes of checks."""
    for path in sorted((ROOT / "stargaze").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found: list[ast.expr] = []
            if isinstance(node, ast.Call):
                found = [keyword.value for keyword in node.keywords if keyword.arg in ("hint", "fix")]
                found += node.args[3:4] if getattr(node.func, "id", "") == "Check" else []
            elif isinstance(node, ast.Assign) and any("hint" in ast.unparse(name).lower() for name in node.targets):
                found = [node.value]
            for text in (text for value in found for text in texts_of(value)):
                yield path.relative_to(ROOT).as_posix(), text


HINTS = list(dict.fromkeys(hints()))


def test_hints_are_found() -> None:
    assert len(HINTS) > 300


@pytest.mark.parametrize(("module", "hint"), HINTS)
def test_every_command_option_and_key_of_a_hint_exists(module: str, hint: str) -> None:
    for match in COMMAND.finditer(PROSE.sub("", hint)):
        words, rest = match[1].split(), match[2]
        if words[0] not in root().commands:
            assert not hint.startswith("stargaze"), f"{module}: no command {words[0]}"
            continue
        command = root().commands[words[0]]
        if hasattr(command, "commands"):
            assert words[1:], f"{module}: stargaze {words[0]} is a group"
            command = command.commands[words[1]]
        known = {option for item in command.params for option in (*item.opts, *item.secondary_opts)}
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest):
            assert option in known | {"--help"}, f"{module}: stargaze {match[1]} has no {option}"
    for section, name in re.findall(r"(?<![\w/.-])([a-z]+)\.([a-z]+(?:_[a-z]+)*)\b(?![./(])", hint):
        if section in SECTIONS and name not in {*SUFFIXES, "com"}:
            assert hasattr(SECTIONS[section], name), f"{module}: no key {section}.{name}"

"""The documentation as data: pages, their code, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), ROOT / "ansible" / "README.md")
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    language: str
    text: str


def text(page: str) -> str:
    """Return a page's Markdown."""
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", text(page))


def blocks(page: str) -> list[Block]:
    """Return a page's fenced code blocks."""
    return [Block(language, body) for language, body in FENCE.findall(text(page))]


def spans(page: str) -> list[str]:
    """Return a page's inline code."""
    return SPAN.findall(prose(page))


def snippets(page: str) -> Iterator[str]:
    """Yield inline code, and each line of shell blocks: the command, and commands named in its comment."""
    yield from spans(page)
    for block in blocks(page):
        if block.language == "sh":
            for line in block.text.splitlines():
                command, _, comment = line.partition(" #")
                yield command.strip()
                yield from (part for part in re.split(r"[:;,] ", comment) if part.startswith("stargaze "))


def links(page: str) -> list[str]:
    """Return the targets of a page's links."""
    return LINK.findall(prose(page))


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(prose(page))}


def rows(page: str) -> Iterator[list[str]]:
    """Yield the cells of each table row."""
    for line in prose(page).splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.strip("| ").split(" | ")]

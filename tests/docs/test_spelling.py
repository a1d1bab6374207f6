"""American spelling in file names, keys, names and texts, as in GitHub's API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = (
    "*.*",
    "Dockerfile",
    "Makefile",
    "ansible/**/*",
    "benchmarks/*",
    "docs/*",
    "examples/*",
    "stargaze/**/*",
    "tests/**/*",
    "tools/*",
)
SUFFIXES = {".css", ".html", ".j2", ".js", ".md", ".py", ".sh", ".toml", ".yml", ""}
BRITISH = re.compile(
    r"licen[c]e|colo[u]r|catalo[g]ue|behavio[u]r|artefa[c]t|neighbo[u]r|hono[u]r|favo[u]r|flavo[u]r|centr[e]\b|\bgre[y]"
    r"|cancell[e]d(?!\(\))|labell[e]d(?!by)|modell[e]d|modell[i]ng|judg[e]ment|learn[t]\b|fulfi[l]\b"
    r"|(?:seriali|normali|optimi|initiali|organi|recogni|summari|minimi|maximi|customi|randomi|generali|standardi|synchroni)s[ei]",
    re.IGNORECASE,
)
SPELLINGS_OF_SOURCES = {"stargaze/features/licenses.py"}


@pytest.mark.thorough
@pytest.mark.parametrize("pattern", PATTERNS)
def test_spelling_is_american(pattern: str) -> None:
    paths = [path for path in ROOT.glob(pattern) if path.is_file() and "__pycache__" not in path.parts]
    texts = {path.relative_to(ROOT).as_posix(): path for path in paths if path.suffix in SUFFIXES}
    british = {
        name: match[0]
        for name, path in texts.items()
        if name not in SPELLINGS_OF_SOURCES and (match := BRITISH.search(f"{name}\n{path.read_text(encoding='utf-8')}"))
    }

    assert british == {}

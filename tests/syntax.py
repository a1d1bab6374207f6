"""Syntax trees of modules, for tests of their structure."""

from __future__ import annotations

import ast
import functools
from pathlib import Path


@functools.cache
def syntax_of(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))

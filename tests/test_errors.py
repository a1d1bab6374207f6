"""Each class of errors has a code, which docs/page-and-api.md lists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import stargaze
from stargaze.errors import StargazeError, did_you_mean
from stargaze.serve.prediction_request import VISITOR_CODES
from stargaze.serve.web.problems import PROBLEMS
from tests.syntax import syntax_of

ROOT = Path(stargaze.__file__).parent
CODE = re.compile(r"[a-z]+(_[a-z]+)*")


@functools.cache
def codes_by_class() -> dict[str, str]:
    """Return the code in the source of each class below StargazeError; reading it imports no optional package."""
    classes = [
        node for path in ROOT.rglob("*.py") for node in ast.walk(syntax_of(path)) if isinstance(node, ast.ClassDef)
    ]
    known = {"StargazeError": StargazeError.code}
    while found := [
        item for item in classes if item.name not in known and any(ast.unparse(base) in known for base in item.bases)
    ]:
        known |= {item.name: _code(item) for item in found}
    return known


def _code(item: ast.ClassDef) -> str:
    """Return the code that the body of a class assigns; empty if it inherits one."""
    assigned = [node for node in item.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code"]
    return str(ast.literal_eval(assigned[0].value)) if assigned else ""


def test_each_class_of_errors_has_its_own_code() -> None:
    codes = codes_by_class()

    assert len(codes) > 15
    assert [name for name, code in codes.items() if not CODE.fullmatch(code)] == []
    assert len(set(codes.values())) == len(codes)


def documented_codes() -> set[str]:
    text = (ROOT.parent / "docs" / "page-and-api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", text, flags=re.MULTILINE)
    return {code for row in rows for code in re.findall(r"[a-z_]+", row)}


def test_the_documentation_lists_all_codes() -> None:
    assert set(codes_by_class().values()) - documented_codes() == set()


def test_all_errors_for_visitors_are_problems_that_visitors_may_read() -> None:
    kinds = [StargazeError]
    for kind in kinds:
        kinds += kind.__subclasses__()

    codes = {kind.code for kind in kinds if kind.for_visitors}

    assert codes - VISITOR_CODES == codes - set(PROBLEMS) == set()


def test_the_documentation_lists_all_problems_of_the_api() -> None:
    assert set(PROBLEMS) - documented_codes() == set()


def test_a_hint_with_the_name_of_a_column_stays_one_line() -> None:
    assert did_you_mean("pullRequests", ["pull\nRequests"], "") == r"Did you mean 'pull\nRequests'?"

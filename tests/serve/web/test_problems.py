"""Codes, statuses and titles of problem details."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import stargaze
from stargaze.serve.web.problems import PROBLEMS, code_of_status, problem_details, status_of_code

PROXY = Path(stargaze.__file__).parents[1] / "ansible/roles/proxy/templates/haproxy.cfg.j2"
DETAILS = {"code": "a_code_of_another_version", "message": "a test", "hint": ""}


def test_the_errors_of_the_proxy_are_problems_of_the_page() -> None:
    rows = re.findall(r"^    (\d+): \['(\w+)', '([^']+)'", PROXY.read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert len(rows) == 5
    assert {code: (int(status), title) for status, code, title in rows}.items() <= PROBLEMS.items()


@pytest.mark.parametrize("status", range(400, 600))
def test_each_status_has_a_code_of_its_kind(status: int) -> None:
    code = code_of_status(status)

    assert status_of_code(code) // 100 == status // 100


def test_an_unknown_code_is_an_error_of_the_server() -> None:
    assert status_of_code(DETAILS["code"]) == 500
    assert problem_details(500, DETAILS, "1")["title"] == "Internal error"

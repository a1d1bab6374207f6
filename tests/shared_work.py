"""What the tests of one process do once instead of once per test: build the command line, compile templates."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from types import CodeType
from typing import Any

import flask
import typer.main
from flask.templating import Environment
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule

Builder = Callable[..., Any]


class CompiledTemplates(BytecodeCache):
    """The compiled templates of all apps of this process, by name and content."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give a template its code, if it was compiled before."""
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        self._codes[bucket.key, bucket.checksum] = bucket.code


TEMPLATES = CompiledTemplates()


class SharedEnvironment(Environment):
    """The templates of one app."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, bytecode_cache=TEMPLATES, **options)


def share_work() -> None:
    """Let every test reuse what the ones before it built from the same sources."""
    flask.Flask.jinja_environment = SharedEnvironment
    Rule._compile_builder = _shared(Rule._compile_builder)  # a third of the time that an app takes
    typer.main.get_command = functools.cache(typer.main.get_command)
    gc.disable()


def _shared(compile_builder: Builder) -> Builder:
    """Return the function that compiles how the URLs of a rule are built; equal rules without defaults share the result."""
    compiled: dict[Any, Any] = {}

    def share(rule: Rule, *options: bool) -> Any:
        if rule.defaults:
            return compile_builder(rule, *options)
        key = (rule.rule, tuple(rule._trace), options)
        if key not in compiled:
            compiled[key] = compile_builder(rule, *options)
        return compiled[key]

    return share


def pytest_collection_finish() -> None:
    """Start garbage collection: rare, and without all that was imported, which takes as long as twenty tests."""
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()

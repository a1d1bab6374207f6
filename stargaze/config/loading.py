"""Load the config. Precedence: default < user file < project file < environment (``STARGAZE_<SECTION>_<KEY>``) < option."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stargaze.config.renamed_keys import OTHER_NAMES, REMOVED_KEYS, RENAMED_KEYS
from stargaze.config.sections import Config, describe_key
from stargaze.errors import ConfigError, MissingInputError, did_you_mean

DEFAULT_PATH = Path("stargaze.toml")
TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
TYPE_NAMES |= {list: "a list", dict: "a table"}
MAX_DIGITS = 20
"""Digits of a number in a list of the environment, beyond every limit of a key."""


def load(
    path: Path | None = None, *, environ: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None
) -> Config:
    """Return the effective config.

    ``path`` None means ``stargaze.toml`` in this directory, if it exists. ``options`` maps dotted names
    (``tuning.trials``) to values; None means "not given".
    """
    environ = os.environ if environ is None else environ
    config = Config()
    for file in filter(None, (_user_file(environ), find_config_file(path))):
        config = _merge(config, _read_toml(file), str(file))
    config = _merge(config, _read_environment(environ), "environment")
    config = _merge(config, _nest_options(options or {}), "option")
    _check_combinations(config)
    return config


def find_config_file(path: Path | None) -> Path | None:
    """Return the named config file, else ``stargaze.toml`` in this directory if it exists."""
    return path or (DEFAULT_PATH if DEFAULT_PATH.is_file() else None)


def parse_section(name: str, values: Mapping[str, Any], *, source: str) -> Any:
    """Return one section from values of another source, validated like those of a file."""
    return getattr(_merge(Config(), {name: values}, source), name)


def _user_file(environ: Mapping[str, str]) -> Path | None:
    """Return the user's config file if it exists; an unreadable or missing home directory contains none."""
    try:
        directory = Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
        path = directory / "stargaze" / "stargaze.toml"
        return path if path.is_file() else None
    except (OSError, RuntimeError):
        return None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such config file", hint=f"stargaze init {path}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path}: cannot be read: {reason}", hint="check it; stargaze init --print shows a valid one"
        ) from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}", hint="stargaze init --print shows a valid one") from error


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    sections = _section_types()
    known = {
        _variable(f"{name}.{field.name}"): (name, field.name)
        for name, section in sections.items()
        for field in dataclasses.fields(section)
    }
    for other, key in OTHER_NAMES.items():
        known[_variable(other)] = known[_variable(key)]
    prefixes = tuple(f"STARGAZE_{name}_".upper() for name in sections)
    table: dict[str, Any] = {}
    for variable in filter(lambda name: name.startswith(prefixes), environ):
        if variable not in known:
            renamed = {_variable(old): _variable(new) for old, new in RENAMED_KEYS.items()}
            removed = {_variable(old): reason for old, reason in REMOVED_KEYS.items()}
            raise _unknown_key(f"environment: {_shorten(variable)}", variable, list(known), renamed, removed)
        section, name = known[variable]
        table.setdefault(section, {})[name] = _parse_text(environ[variable], *_key_types(section, name))
    return table


def _parse_text(text: str, kind: type, item_type: type) -> Any:
    """Parse an environment variable as the type of its key; text that does not fit is returned and rejected later."""
    if kind is list:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        is_numeric = item_type is int and all(part.isdecimal() and len(part) <= MAX_DIGITS for part in parts)
        return [int(part) for part in parts] if is_numeric else parts
    if kind is dict:
        pairs = [[side.strip() for side in part.split("=", 1)] for part in text.split(",") if part.strip()]
        return dict(pairs) if all(len(pair) == 2 for pair in pairs) else text
    if kind is bool:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    for number_type in (int, float) if kind is float else (int,) if kind is int else ():
        try:
            return number_type(text)
        except ValueError:
            continue
    return text


def _nest_options(options: Mapping[str, Any]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for dotted_name, value in options.items():
        if value is not None:
            section, _, name = dotted_name.partition(".")
            table.setdefault(section, {})[name] = value
    return table


def _merge(config: Config, table: Mapping[str, Any], source: str) -> Config:
    changed: dict[str, Any] = {}
    sections = list(_section_types())
    for section_name, values in table.items():
        if section_name not in sections:
            hint = _suggest(section_name, sections)
            raise ConfigError(f"{source}: {_shorten(section_name)} is not a section", hint=hint)
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{source}: {section_name} should be a section, written [{section_name}]",
                hint="stargaze init --print shows how",
            )
        by_key = {_usual_name(section_name, name): value for name, value in values.items()}
        section = getattr(config, section_name)
        keys = [f"{section_name}.{field.name}" for field in dataclasses.fields(section)]
        for name in by_key:
            if f"{section_name}.{name}" not in keys:
                shown = f"{source}: {section_name}.{_shorten(name)}"
                raise _unknown_key(shown, f"{section_name}.{name}", keys, RENAMED_KEYS, REMOVED_KEYS)
        checked = {name: _validate(source, section_name, name, value) for name, value in by_key.items()}
        changed[section_name] = dataclasses.replace(section, **checked)
    return dataclasses.replace(config, **changed)


def _usual_name(section: str, name: str) -> str:
    """Return the name of a key that has another one."""
    return OTHER_NAMES.get(f"{section}.{name}", f"{section}.{name}").removeprefix(f"{section}.")


def _variable(dotted_name: str) -> str:
    return f"STARGAZE_{dotted_name.replace('.', '_')}".upper()


def _unknown_key(
    shown: str, name: str, known: list[str], renamed: Mapping[str, str], removed: Mapping[str, str]
) -> ConfigError:
    if name in removed:
        return ConfigError(f"{shown} was removed: {removed[name]}", hint="delete it")
    if name in renamed:
        return ConfigError(f"{shown} was renamed to {renamed[name]}", hint=f"write {renamed[name]}")
    return ConfigError(f"{shown} is not a key", hint=_suggest(name, known))


def _suggest(name: str, known: list[str]) -> str:
    return did_you_mean(name, known, "Known here: " + ", ".join(known))


@functools.cache
def _section_types() -> dict[str, Any]:
    """Return the class of each section."""
    return typing.get_type_hints(Config)


@functools.cache
def _key_types(section: str, name: str) -> tuple[type, type]:
    """Return the type of a key and the item type of a list; the latter is ``str`` for other keys."""
    hint = typing.get_type_hints(_section_types()[section])[name]
    return typing.get_origin(hint) or hint, next(iter(typing.get_args(hint)), str)


def _validate(source: str, section: str, name: str, value: Any) -> Any:
    """Return the value of a key in its normal form."""
    kind, item_type = _key_types(section, name)
    metadata = _section_types()[section].__dataclass_fields__[name].metadata
    unit = f" [{metadata['unit']}]" if metadata["unit"] else ""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else math.inf
    problem = _type_problem(value, kind, item_type, unit) or _value_problem(value, metadata, unit)
    normalized = value
    if metadata["normalize"] and not problem:
        try:
            normalized = metadata["normalize"](value)
        except ValueError as error:
            problem = str(error)
    if problem:
        raise ConfigError(f"{source}: {section}.{name} {problem}, not {_quote(value)}", hint=describe_key(metadata))
    return normalized


def _type_problem(value: Any, kind: type, item_type: type, unit: str) -> str:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return f"should be {TYPE_NAMES[kind]}{unit}"
    items = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    if all(isinstance(item, item_type) and not isinstance(item, bool) for item in items):
        return ""
    return f"should contain whole numbers only{unit}" if item_type is int else "should contain text only"


def _value_problem(value: Any, metadata: Mapping[str, Any], unit: str) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, (int, float)):
        return _number_problem(value, metadata["limits"], unit)
    texts = [value] if isinstance(value, str) else [*value, *value.values()] if isinstance(value, dict) else value
    if any(isinstance(text, str) and "\0" in text for text in texts):
        return "should not contain NUL characters"
    if metadata["not_empty"] and not value.strip():
        return "should not be empty"
    choices = metadata["choices"]
    chosen = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return f"should be one of {', '.join(choices)}" if choices and not set(choices).issuperset(chosen) else ""


def _number_problem(value: float, limits: tuple[float, float | None], unit: str) -> str:
    minimum, maximum = limits
    if maximum is None:
        infinite = not math.isfinite(value)
        return f"should be at least {minimum:g}{unit}{' and finite' * infinite}" if infinite or value < minimum else ""
    return "" if minimum <= value <= maximum else f"should be from {minimum:g} to {maximum:,}{unit}"


def _shorten(name: str) -> str:
    """Shorten a name that the user wrote, so that the message stays one short line."""
    return name if name.isprintable() and len(name) <= 60 else _quote(name)


def _quote(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python does not convert integers of thousands of digits to text
        return "a number too large to print"
    except RecursionError:
        return "nested too deeply to print"
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text):,} characters)"


def _check_combinations(config: Config) -> None:
    deploy = config.deploy
    if deploy.to == "swarm" and (deploy.publish_mode, deploy.endpoint_mode) == ("ingress", "dnsrr"):
        raise ConfigError(
            'deploy.publish_mode = "ingress" cannot be combined with deploy.endpoint_mode = "dnsrr"',
            hint='deploy.publish_mode = "host", or deploy.endpoint_mode = "vip"',
        )
    held_out = config.features.test_size + config.features.validation_size
    if held_out > 0.8:
        raise ConfigError(
            f"features.test_size + features.validation_size is {held_out:g}, which leaves too little to train on",
            hint="keep their sum at 0.8 or less",
        )
    policies, estimate = config.features.policies, config.tuning.estimate_policy
    if estimate not in policies:
        raise ConfigError(
            f'tuning.estimate_policy = "{estimate}" is not one of features.policies, {", ".join(policies)}',
            hint=f'tuning.estimate_policy = "{policies[-1]}", or add {estimate} to features.policies',
        )

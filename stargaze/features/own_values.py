"""Own columns of files: which ones the config names, the kinds of their values, and their conversion."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.config import FetchSection
from stargaze.errors import ConfigError, did_you_mean
from stargaze.features.ingest.field_mapping import FIELD_GETTERS, REQUIRED, flattened_path
from stargaze.features.ingest.parsing.grouped_numbers import AUTO
from stargaze.features.ingest.parsing.missing import MISSING, Bools
from stargaze.features.ingest.parsing.resemblance import quote_for_toml
from stargaze.features.ingest.validate import NO, YES, ClearedValues, Problem, shorten
from stargaze.features.own_columns import (
    MAX_COLUMNS,
    MAX_NUMBER,
    MAX_TEXT,
    OwnColumn,
    OwnKind,
    find_name_problem,
)
from stargaze.features.own_numbers import write_plainly
from stargaze.features.schema import FIELD_BY_NAME

DEFAULT_POLICY = "all"
"""The policy of a column of unknown origin: it may follow from popularity."""
MOST_UNUSABLE = 0.5
"""The largest share of the values of a column that may be unusable."""
DIGITS = frozenset({"0", "1", "0.0", "1.0"})
"""Spellings of true and false that are numbers too."""
INFINITE = frozenset({"inf", "infinity", "1.#inf"})
"""What programs write for a division by zero: no number, but no category either."""
MANY_VALUES = 20
"""From so many values on, a category whose values are mostly different ones deserves a warning."""
MAX_DOTS = 2
"""Paths with so many dots are not among the names that are remembered of JSON."""
UNREAD = "\0"
"""Stands for an object or a list, which is no value of any kind."""


@dataclass(frozen=True)
class OwnValues:
    """The converted values of an own column, with the values that became missing and why."""

    column: OwnColumn
    values: pd.Series
    cleared: list[ClearedValues]
    warning: str = ""
    """Why the values say little as they are."""


def check_own_columns(section: FetchSection, features: Container[str]) -> None:
    """Raise ConfigError if the config names a column that cannot be an own column or cannot be left out.

    ``features`` are the names of the feature catalog.
    """
    if len(section.extra) > MAX_COLUMNS:
        message = f"fetch.extra names {len(section.extra)} columns; the maximum is {MAX_COLUMNS}"
        raise ConfigError(message, hint="name those that may say something about the stars")
    for name in section.extra:
        _check_name(name, section, features)
    for key, names in (("extra_kinds", section.extra_kinds), ("extra_policies", section.extra_policies)):
        for name in names:
            if name not in section.extra:
                extra = ", ".join(map(quote_for_toml, [*section.extra, name]))
                hint = did_you_mean(name, section.extra, f"add it to fetch.extra: extra = [{extra}]")
                raise ConfigError(f"fetch.{key}: {shorten(name)} is not in fetch.extra", hint=hint)
    for name in section.exclude:
        if name in REQUIRED or name in section.columns.values():
            use = "every record needs it" if name in REQUIRED else "fetch.columns reads it"
            raise ConfigError(
                f"fetch.exclude: {shorten(name)} cannot be left out: {use}", hint="remove it from the list"
            )


def _check_name(name: str, section: FetchSection, features: Container[str]) -> None:
    shown, rename = shorten(name), "rename the column in the file, and here"
    if name in FIELD_BY_NAME:
        hint = "remove it from the list: fields are read without it"
        raise ConfigError(f"fetch.extra: {shown} is a field, and no own column", hint=hint)
    if problem := find_name_problem(name):
        raise ConfigError(f"fetch.extra: {shown}: {problem}", hint=rename)
    if name in features:
        raise ConfigError(f"fetch.extra: {shown} is a feature of stargaze", hint=rename)
    if field := _field_of(name):
        raise ConfigError(f"fetch.extra: {shown} is read as the field {field}", hint="remove it from the list")
    if field := next((field for field, column in section.columns.items() if column == name), ""):
        message = f"fetch.extra: {shown} is mapped to {field} in [fetch.columns]"
        raise ConfigError(message, hint="name it in one of them")
    if name in section.exclude:
        raise ConfigError(f"fetch.extra: {shown} is in fetch.exclude too", hint="name it in one of them")
    if section.extra.count(name) > 1:
        raise ConfigError(f"fetch.extra: {shown} is there twice", hint="remove one of them")


def _field_of(name: str) -> str:
    """Return the field that is read from a column or path of this name; empty if none is."""
    path = flattened_path(name)
    names = {name, ".".join(path)} if path else {name}
    found = (field for field, getters in FIELD_GETTERS.items() if any(getter.label in names for getter in getters))
    return next(found, "")


def check_crawled_columns(section: FetchSection, features: Container[str]) -> None:
    """Raise ConfigError if the config names columns of files while the repositories come from GitHub."""
    check_own_columns(section, features)
    if section.extra:
        message = "fetch.extra only applies to files; the repositories come from GitHub, which has no own columns"
        raise ConfigError(message, hint="remove it, or read files: stargaze fetch --from FILE...")
    for name in section.exclude:
        if name not in FIELD_BY_NAME:
            hint = did_you_mean(_field_of(name) or name, FIELD_BY_NAME, "name a field; stargaze features lists them")
            raise ConfigError(f"fetch.exclude: {shorten(name)} is not a field", hint=hint)


def check_found(section: FetchSection, found: Collection[str], names: Collection[str]) -> None:
    """Raise ConfigError for an own column that was not ``found`` in any file, and for an unknown name that is not read.

    ``names`` are all columns and keys of the files.
    """
    for name in section.extra:
        if name not in found:
            others = [other for other in names if other not in FIELD_BY_NAME and not _field_of(other)]
            hint = did_you_mean(name, others, "check the spelling; in JSON write a path, as metrics.score")
            raise ConfigError(f"fetch.extra: no file has a column or key {shorten(name)}", hint=hint)
    for name in section.exclude:
        if name not in names and name not in FIELD_BY_NAME and name.count(".") < MAX_DOTS:
            hint = did_you_mean(name, [*names, *FIELD_BY_NAME], "remove it from the list")
            raise ConfigError(f"fetch.exclude: no file has a column or key {shorten(name)}", hint=hint)


def convert_own_column(
    name: str, raw: pd.Series, kinds: Mapping[str, str], policies: Mapping[str, str], thousands: str = AUTO
) -> OwnValues:
    """Convert all values of an own column, of which the kind follows from the values if the config has none.

    ``thousands`` separates the thousands of its numbers; by default, the values show it. Unusable values become missing. Raise
    ConfigError if they are more than half of the values, BadDataError if 12.345 may be a whole number.

    Examples
    --------
    >>> found = convert_own_column("team", pd.Series(["yes", "no", ""]), {}, {})
    >>> found.column.kind, found.values.tolist()
    ('flag', [1.0, 0.0, nan])
    """
    all_texts = _to_texts(raw)
    codes, distinct = pd.factorize(all_texts)
    texts = pd.Series(distinct, dtype="object")
    declared = kinds.get(name)
    numbers = texts
    if declared in (None, "number"):
        numbers = write_plainly(name, texts, _find_entered(raw, all_texts), thousands)
    kind = declared or _infer_kind(texts, numbers)
    values, reasons = _CONVERT[kind](numbers if kind == "number" else texts)
    column = OwnColumn(name, kind, policies.get(name, DEFAULT_POLICY))  # type: ignore[arg-type]
    rows = [(np.flatnonzero(_spread(wrong, codes)), reason) for wrong, reason in reasons]
    cleared = [ClearedValues(name, reason, found, raw) for found, reason in rows if len(found)]
    _check_share(cleared, int((codes >= 0).sum()), is_declared=name in kinds)
    dtype = "str" if kind == "category" else "float64"
    converted = pd.Series(values, dtype="object" if kind == "category" else "float64").reindex(codes)
    warning = _find_warning(name, codes, texts, numbers) if kind == "category" else ""
    return OwnValues(column, pd.Series(converted.to_numpy(), index=raw.index, dtype=dtype), cleared, warning)


def convert_to_kind(column: OwnColumn, raw: pd.Series, thousands: str = AUTO) -> pd.Series:
    """Convert the values of a known own column; unusable ones become missing.

    Examples
    --------
    >>> convert_to_kind(OwnColumn("score", "number", "all"), pd.Series(["7", "many", ""])).tolist()
    [7.0, nan, nan]
    """
    all_texts = _to_texts(raw)
    codes, distinct = pd.factorize(all_texts)
    texts = pd.Series(distinct, dtype="object")
    if column.kind == "number":
        texts = write_plainly(column.name, texts, _find_entered(raw, all_texts), thousands)
    values, _ = _CONVERT[column.kind](texts)
    is_text = column.kind == "category"
    converted = pd.Series(values, dtype="object" if is_text else "float64").reindex(codes)
    return pd.Series(converted.to_numpy(), index=raw.index, dtype="str" if is_text else "float64")


def _find_entered(raw: pd.Series, texts: pd.Series) -> set[str]:
    """Return the values that are texts in the file."""
    if raw.dtype == "str":
        return set(texts.dropna())
    return {text for value, text in zip(raw, texts, strict=True) if isinstance(value, str) and text is not None}


def _find_warning(name: str, codes: np.ndarray, texts: pd.Series, numbers: pd.Series) -> str:
    """Return why the values of a category say little, or nothing."""
    sizes = np.bincount(codes[codes >= 0], minlength=len(texts))
    is_number = ~_to_numbers(numbers)[1][0][0]
    count, total = int(sizes[is_number].sum()), int(sizes.sum())
    if numbers is not texts and 2 * count >= total > count:
        example = shorten(texts.iloc[int(np.flatnonzero(~is_number)[0])])
        line = f'[fetch.extra_kinds] {quote_for_toml(name)} = "number"'
        shares = f"{count:,} of {total:,} values are numbers, but not {example}"
        return f"own column {shorten(name)} is a category: {shares}; {line} makes the others missing"
    if total >= MANY_VALUES and 2 * len(texts) > total:
        return (
            f"own column {shorten(name)} is a category with {len(texts):,} values in {total:,} records, of which the model"
            f" learns little: an identifier, date or free text; remove it from fetch.extra, or turn it into a number"
        )
    return ""


def _to_texts(raw: pd.Series) -> pd.Series:
    """Return values as texts, None where they are missing."""
    if raw.dtype == "str":
        texts = raw.str.strip()
        return texts.astype("object").mask(texts.isin(MISSING) | texts.isna(), None)
    return pd.Series([_to_text(value) for value in raw.tolist()], index=raw.index, dtype="object")


def _to_text(value: object) -> str | None:
    if isinstance(value, (dict, list, tuple, set, np.ndarray)):
        return UNREAD
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return None
    text = str(value)[: MAX_TEXT * 2].strip()
    return None if text in MISSING else text


def _infer_kind(texts: pd.Series, numbers: pd.Series) -> OwnKind:
    lower = texts.str.lower()
    if len(texts) and lower.isin(YES | NO).all() and not lower.isin(DIGITS).all():
        return "flag"
    finite = numbers[~lower.str.lstrip("+-").isin(INFINITE).to_numpy(dtype=bool)] if len(texts) else numbers
    return "number" if not any(wrong.any() for wrong, _ in _to_numbers(finite)[1]) else "category"


def _to_numbers(texts: pd.Series) -> tuple[pd.Series, list[Problem]]:
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
    wrong = ~np.isfinite(numbers.to_numpy())
    too_large = ~wrong & (numbers.abs() > MAX_NUMBER).to_numpy()
    problems = [(wrong, "not a number"), (too_large, f"larger than {MAX_NUMBER:g}")]
    return numbers.mask(wrong | too_large), problems


def _to_flags(texts: pd.Series) -> tuple[pd.Series, list[Problem]]:
    lower = texts.str.lower()
    yes, no = lower.isin(YES).to_numpy(dtype=bool), lower.isin(NO).to_numpy(dtype=bool)
    flags = pd.Series(np.where(yes, 1.0, np.where(no, 0.0, np.nan)))
    return flags, [(~(yes | no), "should be true or false")]


def _to_categories(texts: pd.Series) -> tuple[pd.Series, list[Problem]]:
    unread = (texts == UNREAD).to_numpy(dtype=bool)
    too_long = (texts.str.len() > MAX_TEXT).to_numpy(dtype=bool)
    printable = pd.Series(["".join(filter(str.isprintable, " ".join(text.split()))) for text in texts], dtype="object")
    return printable.mask(unread | too_long | (printable == ""), None), [
        (unread, "not a text"),
        (too_long, f"longer than {MAX_TEXT} characters"),
    ]


_CONVERT = {"number": _to_numbers, "flag": _to_flags, "category": _to_categories}


def _spread(wrong: Bools, codes: np.ndarray) -> Bools:
    """Return for each row whether its distinct value is wrong."""
    spread: Bools = np.append(wrong, False)[codes]  # the code of a missing value is -1
    return spread


def _check_share(cleared: list[ClearedValues], present: int, *, is_declared: bool) -> None:
    for item in cleared:
        if len(item.rows) > MOST_UNUSABLE * present:
            value, name = item.values.iloc[item.rows[0]], shorten(item.field)
            message = (
                f"fetch.extra: {len(item.rows):,} of {present:,} values of {name} are unusable, as {shorten(value)}"
            )
            hint = (
                f'[fetch.extra_kinds] {quote_for_toml(item.field)} = "category"'
                if is_declared
                else "remove it from the list"
            )
            if keys := [key for key in value if isinstance(key, str)] if isinstance(value, dict) else []:
                hint = f"name a value in it by its path: {shorten(f'{item.field}.{keys[0]}')}"
            raise ConfigError(f"{message}: {item.reason}", hint=hint)

"""Dates are read in the forms that programs write, and what could mean two days is not read."""

from __future__ import annotations

import time
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.features.ingest.parsing.dates import parse_dates

EXPECTED = pd.Timestamp("2019-11-04T22:06:07", tz="UTC")
SECONDS = int(EXPECTED.timestamp())


def parse(*values: object, dtype: str = "object") -> tuple[list[pd.Timestamp | None], list[bool]]:
    """Return dates (None where there is none) and which values are missing."""
    dates, absent = parse_dates(pd.Series(list(values), dtype=dtype))
    assert str(dates.dtype) == "datetime64[s, UTC]"
    return [None if pd.isna(value) else value for value in dates], absent.tolist()


@pytest.mark.parametrize("dtype", ["object", "str"])
@pytest.mark.parametrize(
    "text",
    [
        *("2019-11-04T22:06:07Z", "2019-11-04 22:06:07", "2019-11-04T23:06:07+01:00", "2019-11-04T22:06:07.987654321Z"),
        *("2019-11-04 22:06:07 UTC", "2019-11-04 22:06:07.25 UTC", "2019-11-04 22:06:07 +0000", "2019/11/04 22:06:07"),
        *("2019-11-04T22:06:07+00:00[UTC]", "20191104220607", "20191104T220607Z", "2019-11-4 22:06:07 GMT"),
        *(
            "Mon Nov 04 2019 23:06:07 GMT+0100 (Central European Standard Time)",
            "Mon Nov 04 2019 22:06:07 GMT+0000 (UTC)",
        ),
        *("Mon Nov 04 2019 23:06:07 GMT+0100 (Mitteleuropäische Normalzeit)", "Mon Nov 4 17:06:07 2019 -0500"),
        *("Mon, 04 Nov 2019 22:06:07 GMT", "Mon, 4 Nov 2019 17:06:07 -0500", "Mon Nov  4 22:06:07 2019"),
        *("Mon Nov  4 22:06:07 UTC 2019", "Mon Nov 04 22:06:07 +0000 2019", "November 4, 2019 10:06:07 PM"),
        *(
            "4 November 2019, 22:06:07",
            "04-Nov-2019 22:06:07",
            "Nov 4th, 2019 at 10:06:07 p.m.",
            " 2019-11-04 22:06:07 ",
        ),
        *(f"{SECONDS}", f"{SECONDS}.5", f"{SECONDS}000", f"{SECONDS}123", f"{SECONDS}000000", "1.572905167e9"),
    ],
)
def test_forms_of_one_date(text: str, dtype: str) -> None:
    assert parse(text, "2001-02-03", dtype=dtype)[0] == [EXPECTED, pd.Timestamp("2001-02-03", tz="UTC")]


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        SECONDS * 1000 + 5,
        SECONDS + 0.7,
        np.int64(SECONDS),
        Decimal(SECONDS),
        EXPECTED.to_pydatetime(),
        EXPECTED,
    ],
)
def test_dates_that_are_no_texts(value: object) -> None:
    assert parse(value)[0] == [EXPECTED]


def test_columns_of_numbers_and_dates() -> None:
    day = pd.Timestamp("2019-11-04", tz="UTC")

    assert parse_dates(pd.Series([SECONDS, 0, 7, 20191104]))[0].tolist()[::3] == [EXPECTED, day]
    assert parse_dates(pd.Series([SECONDS * 1e3, np.nan, np.inf]))[1].tolist() == [False, True, False]
    assert parse_dates(pd.Series([SECONDS, None], dtype="Int64"))[0].tolist()[0] == EXPECTED
    assert parse_dates(pd.Series([pd.Timestamp("2019-11-04"), pd.NaT]))[0].tolist()[0] == day
    assert parse(date(2019, 11, 4), np.datetime64("2019-11-04"), datetime(2019, 11, 4))[0] == [day] * 3  # noqa: DTZ001


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "\\N",
            "NaN",
            "null",
            "0000-00-00",
            "0000-00-00 00:00:00",
            "0001-01-01",
            "0001-01-01T00:00:00Z",
            "0",
            "0.0",
        ),
        *(
            "1970-01-01",
            "1970-01-01T00:00:00Z",
            "1969-12-31T19:00:00-05:00",
            "1899-12-30",
            "1900-01-01",
            "-62135596800",
        ),
        *("Thu Jan 01 1970 01:00:00 GMT+0100 (CET)", "Thu, 01 Jan 1970 00:00:00 GMT", 0, 0.0, -62135596800, None),
        *(float("nan"), datetime(1, 1, 1), pd.NaT, pd.Timestamp("1970-01-01")),  # noqa: DTZ001
    ],
)
def test_zero_dates_are_missing(value: object) -> None:
    assert parse(value, "2001-02-03") == ([None, pd.Timestamp("2001-02-03", tz="UTC")], [True, False])


@pytest.mark.parametrize(
    "value",
    [
        *(
            "01/02/2020",
            "1/2/20",
            "13/02/2020",
            "02.01.2020",
            "yesterday",
            "12",
            "-1",
            "12:30",
            "2019-13-01",
            "2019-02-30",
        ),
        *(
            "Feb 30, 2019",
            "2019-11-04T25:00:00Z",
            "99999-01-01",
            "2019-11-04 22:06:07 EST",
            "Smarch 4, 2019",
            "x" * 9999,
        ),
        *("Nov 4, 2019 13:00 PM", True, float("inf"), 10**400, 12345, [], {}, b"2019-11-04", "\ud800", "9" * 400),
    ],
)
def test_what_is_no_clear_date_is_neither_read_nor_missing(value: object) -> None:
    assert parse(value) == ([None], [False])


def test_crafted_texts_take_no_time() -> None:
    texts = [character * 100 for character in " 1aA-:,.[(+"] + ["Mon " * 25, "1 " * 50, "2019-11-04T" + "1:" * 40]
    before = time.process_time()

    parse(*texts * 20)

    assert time.process_time() - before < 2


@given(
    st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes()))
)
def test_any_values_are_dates_missing_or_neither(values: list[object]) -> None:
    dates, absent = parse_dates(pd.Series(values, dtype="object"))

    assert len(dates) == len(absent) == len(values)
    assert dates[absent].isna().all()


@given(st.datetimes(datetime(2007, 1, 1), datetime(2090, 1, 1)))  # noqa: DTZ001
def test_what_python_writes_is_read(moment: datetime) -> None:
    expected = pd.Timestamp(moment.replace(microsecond=0), tz="UTC")
    forms = (
        "%Y-%m-%d %H:%M:%S UTC",
        "%a %b %d %Y %H:%M:%S GMT+0000 (UTC)",
        "%a, %d %b %Y %H:%M:%S +0000",
        "%Y%m%d%H%M%S",
    )

    assert parse(*(moment.strftime(form) for form in forms), int(expected.timestamp()))[0] == [expected] * 5

"""A license has one key in all spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.features.licenses import KEY_BY_NAME, license_key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("MIT", "mit"),
        ("MIT License", "mit"),
        ("Apache License 2.0", "apache-2.0"),
        ("Apache-2", "apache-2.0"),
        ("GNU General Public License v3.0", "gpl-3.0"),
        ("GPL-3", "gpl-3.0"),
        ("AGPL-3.0-only", "agpl-3.0"),
        ("LGPL-2.1-or-later", "lgpl-2.1"),
        ("GPL v2", "gpl-2.0"),
        ("BSD-3", "bsd-3-clause"),
        ("BSD 3-Clause", "bsd-3-clause"),
        ('BSD 3-Clause "New" or "Revised" License', "bsd-3-clause"),
        ("CC BY-NC-ND 4.0", "cc-by-nc-nd-4.0"),
        ("The Unlicense", "unlicense"),
        ("MPL-2.0", "mpl-2.0"),
    ],
)
def test_the_spellings_of_a_license_have_one_key(text: str, key: str) -> None:
    assert license_key(text) == key


@pytest.mark.parametrize(
    "text", ["Other", "NOASSERTION", "https://x.org/LICENSE", "Modelica License 2", "Ask me first", "x" * 300]
)
def test_custom_terms_are_other(text: str) -> None:
    assert license_key(text) == "other"


@pytest.mark.parametrize("text", ["", " ", "None", "null", "undefined"])
def test_no_license_is_none(text: str) -> None:
    assert license_key(text) is None


@given(st.one_of(st.text(max_size=80), st.sampled_from(sorted(KEY_BY_NAME))))
def test_the_key_of_a_key_is_itself(text: str) -> None:
    key = license_key(text)

    assert key is None or license_key(key) == key


def test_a_license_that_python_printed_is_the_license() -> None:
    assert license_key('License(name="ISC License")') == "isc"
    assert license_key("License(key='mit')") == "mit"
    assert license_key('License(name="House rules")') == "other"

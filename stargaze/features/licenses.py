"""License keys, normalized from the spellings of all sources, and their families."""

from __future__ import annotations

import re

KEY_BY_NAME = {
    "academic free license v3.0": "afl-3.0",
    "apache": "apache-2.0",
    "apache license 2.0": "apache-2.0",
    "artistic license 2.0": "artistic-2.0",
    "blue oak model license 1.0.0": "blueoak-1.0.0",
    "boost software license 1.0": "bsl-1.0",
    'bsd 2-clause "simplified" license': "bsd-2-clause",
    'bsd 3-clause "new" or "revised" license': "bsd-3-clause",
    "bsd 3-clause clear license": "bsd-3-clause-clear",
    'bsd 4-clause "original" or "old" license': "bsd-4-clause",
    "bsd zero clause license": "0bsd",
    "creative commons attribution 4.0 international": "cc-by-4.0",
    "creative commons attribution share alike 4.0 international": "cc-by-sa-4.0",
    "creative commons zero v1.0 universal": "cc0-1.0",
    "do what the f*ck you want to public license": "wtfpl",
    "eclipse public license 1.0": "epl-1.0",
    "eclipse public license 2.0": "epl-2.0",
    "educational community license v2.0": "ecl-2.0",
    "european union public license 1.1": "eupl-1.1",
    "european union public license 1.2": "eupl-1.2",
    "gnu affero general public license v3.0": "agpl-3.0",
    "gnu free documentation license v1.3": "gfdl-1.3",
    "gnu general public license v2.0": "gpl-2.0",
    "gnu general public license v3.0": "gpl-3.0",
    "gnu lesser general public license v2.1": "lgpl-2.1",
    "gnu lesser general public license v3.0": "lgpl-3.0",
    "isc license": "isc",
    "latex project public license v1.3c": "lppl-1.3c",
    "microsoft public license": "ms-pl",
    "microsoft reciprocal license": "ms-rl",
    "mit license": "mit",
    "mit no attribution": "mit-0",
    "mozilla public license 2.0": "mpl-2.0",
    "mulan permissive software license, version 2": "mulanpsl-2.0",
    "open data commons open database license v1.0": "odbl-1.0",
    "open software license 3.0": "osl-3.0",
    "postgresql license": "postgresql",
    "sil open font license 1.1": "ofl-1.1",
    "the unlicense": "unlicense",
    "universal permissive license v1.0": "upl-1.0",
    "university of illinois/ncsa open source license": "ncsa",
    "vim license": "vim",
    "zlib license": "zlib",
}
"""GitHub's full names (lower case) and their keys, from its list of licenses."""

KEY_BY_ALIAS = {
    "bsd-1": "bsd-1-clause",
    "bsd-2": "bsd-2-clause",
    "bsd-2.0": "bsd-2-clause",
    "bsd-3": "bsd-3-clause",
    "bsd-3.0": "bsd-3-clause",
    "cc0": "cc0-1.0",
    "noassertion": "other",
    "proprietary": "other",
    "unlicense": "unlicense",
    "unlicensed": "other",
}
MISSING = frozenset({"", "nan", "none", "null", "undefined", "na", "n/a", "no license", "no licence"})
_KEY = re.compile(r"[a-z0-9][a-z0-9.+-]{0,49}")
_PRINTED = re.compile(r"""license\((?:key|name|spdx_id)=["']([^"']*)["']\)""")
"""A license of PyGithub as Python prints it."""
_VERSION = re.compile(r"(apache|a?gpl|lgpl|mpl|epl|eupl)[ -]?v?(\d)(\.\d)?(?:-only|-or-later|\+)?")


FAMILIES = {
    "permissive": r"mit|apache|0?bsd|isc|zlib|bsl|ncsa|postgresql|unlicense|wtfpl|artistic|afl|blueoak|upl|vim|ms-pl|mulan",
    "weak copyleft": r"lgpl|mpl|epl|eupl|cddl|ms-rl|lppl|osl|ecl",
    "strong copyleft": r"a?gpl",
    "content": r"cc|ofl|gfdl|odbl",
}
"""Prefixes of the keys of each family; content licenses are meant for texts, fonts and data."""


def license_family(key: str) -> str:
    """Return the family of a license key.

    Examples
    --------
    >>> [license_family(key) for key in ("mit", "lgpl-3.0", "agpl-3.0", "cc0-1.0", "other")]
    ['permissive', 'weak copyleft', 'strong copyleft', 'content', 'other']
    """
    return next((name for name, begin in FAMILIES.items() if re.match(f"(?:{begin})", key)), "other")


def license_key(text: str) -> str | None:
    """Return the license key in lower case, ``other`` for a custom license, None for no license.

    Examples
    --------
    >>> [license_key(text) for text in ("MIT License", "Apache-2", "GPL-3.0-or-later", "BSD 3-Clause", "My terms", "")]
    ['mit', 'apache-2.0', 'gpl-3.0', 'bsd-3-clause', 'other', None]
    """
    plain = " ".join(text.lower().split())
    if printed := _PRINTED.fullmatch(plain):
        plain = printed[1]
    if plain in MISSING:
        return None
    if plain in KEY_BY_NAME:
        return KEY_BY_NAME[plain]
    versioned = _VERSION.fullmatch(plain)
    if versioned:
        name, major, minor = versioned.groups()
        return f"{name}-{major}{minor or '.0'}"
    key = plain.replace(" ", "-")
    if key in KEY_BY_ALIAS:
        return KEY_BY_ALIAS[key]
    own_terms = "licen" in key or (" " in plain and not any(letter.isdigit() for letter in plain))
    return key if _KEY.fullmatch(key) and not own_terms else "other"

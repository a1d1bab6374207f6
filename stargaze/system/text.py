"""Text of unknown origin: without control characters, as one line, only its end, or its words."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")


def replace_unprintable(text: str, *, replacement: str = "\N{REPLACEMENT CHARACTER}", keep: str = "") -> str:
    r"""Return the text without the characters that a terminal or a browser would interpret.

    >>> replace_unprintable("a\x1b[2Jb", replacement="?")
    'a?[2Jb'
    """
    return "".join(char if char.isprintable() or char in keep else replacement for char in text)


def shorten_text(text: str) -> str:
    """Return a short text in quotes for a message of one line.

    >>> shorten_text("a"), shorten_text("b" * 1000)
    ("'a'", "'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'… (1,000 characters)")
    """
    return repr(text) if len(text) <= 60 else f"{text[:40]!r}… ({len(text):,} characters)"


def last_line(output: str | bytes, default: str = "no reason given") -> str:
    r"""Return the last line of a program's output that is not empty.

    >>> last_line(b"warning\nerror: no route\n\n"), last_line("")
    ('error: no route', 'no reason given')
    """
    return last_lines(output, 1) or default


def last_lines(output: str | bytes, count: int) -> str:
    """Return the last ``count`` lines of a program's output, without empty lines at its ends."""
    text = output.decode(errors="replace") if isinstance(output, bytes) else output
    return "\n".join(text.strip().splitlines()[-count:])


def find_words(text: str) -> list[str]:
    """Return the words of a text in lower case: letters and digits without anything between them.

    >>> find_words("A web-server, v2_0")
    ['a', 'web', 'server', 'v2', '0']
    """
    return _WORD.findall(text.lower())

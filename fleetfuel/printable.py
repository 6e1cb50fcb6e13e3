"""Pure: foreign text → text that can be shown: it cannot control the terminal, and is not too long.

What a feed, a bucket or a server says may hold anything: escape sequences that move the cursor or write to the
clipboard, marks that turn the reading direction round, megabytes. All of it goes through here before it reaches the
terminal, a log or the ledger.
"""

from __future__ import annotations

import functools
import re
from typing import Final

MOST: Final = 200
"""Characters of a value or a name that are shown."""

SENTENCE_MOST: Final = 1_000
"""Characters of a sentence that are kept in the ledger, foreign names in it included."""

_UNPRINTABLE: Final = (
    "["
    "\x00-\x09\x0b-\x1f\x7f-\x9f"  # C0 without the line feed, delete, C1
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # what has no width
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f"  # signs that span others
    "\u200b-\u200f\u2028-\u202f\u2060-\u206f"  # directions, separators of lines, joiners
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"  # fillers, variants, byte order mark, specials
    "\ud800-\udfff\ue000-\uf8ff"  # half characters, private use
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff"  # tags, variants, private use
    "]"
)
_COMBINING: Final = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_MARKS: Final = f"({_COMBINING}{{3}}){_COMBINING}+"
"""Marks piled up on one character: they would cover the lines above."""


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    """Compiled when foreign text is shown for the first time: `--help` shows none, and has to be fast."""
    return re.compile(text)


def printable(text: str) -> str:
    """The text, with every character that cannot be seen written as JSON escapes it; lines stay lines.

    JSON stays the same JSON: only strings of it can hold such characters.
    """
    return _pattern(_UNPRINTABLE).sub(_escape, text)


def one_line(text: str, most: int = MOST) -> str:
    """A foreign value or name on one line, at most so many characters."""
    line = text[: 4 * most].replace("\n", " ").replace("\r", " ").replace("\t", " ")
    line = _pattern(_MARKS).sub(r"\1", printable(line))
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 1]}…"


def sentence(text: str) -> str:
    """A sentence with foreign words in it, its lines kept, at most `SENTENCE_MOST` characters."""
    cut = printable(text[: 4 * SENTENCE_MOST])
    return cut if len(cut) <= SENTENCE_MOST and len(text) <= 4 * SENTENCE_MOST else f"{cut[: SENTENCE_MOST - 1]}…"


def counted(number: int, noun: str) -> str:
    """`1 record`, `2,000 records`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code > 0xFFFF:
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\u{code:04x}"

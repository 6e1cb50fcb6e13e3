"""Pure: questions about JSON texts, each answered with as little work as possible, as PostgreSQL's jsonb sees them."""

from __future__ import annotations

import decimal
import itertools
import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

json_value: msgspec.json.Decoder[object] = msgspec.json.Decoder(float_hook=str)  # 1e400 is a number to jsonb
json_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])

TOKEN: Final = re.compile(rb'"[^"]*"|[\[\]{},:]|[^\s"\[\]{},:]+|"')
"""A token of JSON, in a text `without_escapes`."""

DEEPEST: Final = 500
"""Brackets open at once at most: far more than any record has, far fewer than the database refuses, and as many as
every Python reads."""

DIGITS: Final = 40
"""A number of more characters, written out, is not read: nobody meant it."""

_SCALAR: Final = re.compile(rb'"[^"]*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|-?Infinity|NaN|true|false|null')
_NUMBER: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BRACKETS: Final = bytes(1 if code in b"[{" else 2 if code in b"]}" else 0 for code in range(256))
_NO_BRACKET: Final = bytes({*range(256)} - {*b"[]{}"})


def is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def decodes(text: bytes) -> bool:
    """Whether it is JSON, and UTF-8."""
    try:
        json_value.decode(text)
    except msgspec.ValidationError:  # JSON all the same: a whole number of thousands of digits
        return True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def reads_loosely(text: bytes) -> bool:
    """Whether it is JSON to a reader that accepts half a surrogate pair, NaN and bytes that are not UTF-8."""
    try:
        json.loads(text.decode("utf-8", "replace"))
    except RecursionError:
        return is_well_formed(text)
    except ValueError:
        return False
    return True


def is_well_formed(text: bytes) -> bool:
    """Whether brackets, commas and colons stand as in JSON, at any depth: how deep a recursive reader can go differs
    from one Python to the next. What strings hold is not looked at."""
    closers: list[bytes] = []
    expected = b"v"  # a value; "," what follows one; "k" a key; ":" what follows that
    may_close = False  # right after an opening bracket
    for found in TOKEN.finditer(without_escapes(text)):
        token = found[0]
        if token in (b"]", b"}"):
            if (expected != b"," and not may_close) or not closers or closers.pop() != token:
                return False
            expected, may_close = b",", False
            continue
        may_close = False
        if expected == b",":
            if token != b"," or not closers:
                return False
            expected = b"k" if closers[-1] == b"}" else b"v"
        elif expected == b":":
            if token != b":":
                return False
            expected = b"v"
        elif expected == b"k":
            if len(token) < 2 or token[:1] != b'"':
                return False
            expected = b":"
        elif token in (b"[", b"{"):
            closers.append(b"]" if token == b"[" else b"}")
            expected, may_close = b"v" if token == b"[" else b"k", True
        elif _SCALAR.fullmatch(token):
            expected = b","
        else:
            return False
    return expected == b"," and not closers


def without_escapes(text: bytes | memoryview) -> bytes | memoryview:
    """The text, with the same length, in which only the quotes around strings are left.

    So a pattern of a string needs no alternatives, which would cost memory for each character.
    """
    if not re.search(rb"\\", text):
        return text
    return bytes(text).replace(b"\\\\", b"__").replace(b'\\"', b"__")


def outside_strings(text: bytes) -> bytes:
    """What a text of JSON holds outside its strings."""
    return b'""'.join(bytes(without_escapes(text)).split(b'"')[::2])


def depth(text: bytes) -> int:
    """How many brackets are open at once, at most."""
    steps = outside_strings(text).translate(_BRACKETS, _NO_BRACKET)
    return max(itertools.accumulate((3 - 2 * step for step in steps), initial=0))


def numbers(text: bytes) -> Sequence[str]:
    """Its numbers, as they are written."""
    return [found[0].decode() for found in _NUMBER.finditer(outside_strings(text))]


def width(number: str) -> int:
    """About how many characters a JSON number takes if it is written out."""
    value = decimal.Decimal(number)
    _, _, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return max(value.adjusted(), 0) + 2 + max(-exponent, 0)


def written_out(number: str) -> str:
    """A JSON number as jsonb gives it, digit for digit. After `DIGITS` characters it is cut and ends with `…`, so that
    it is not read as a number."""
    if len(number) <= DIGITS and width(number) <= DIGITS:
        return format(decimal.Decimal(number), "f")
    value = decimal.Decimal(number)
    if not value and value.adjusted() >= 0:  # zero is zero, whatever its exponent
        return "0"
    digits = "".join(map(str, value.as_tuple().digits[:DIGITS]))
    whole = digits if value.adjusted() >= 0 else "0." + "0" * min(-value.adjusted() - 1, DIGITS) + digits
    return f"{'-' if value.is_signed() else ''}{whole.ljust(DIGITS, '0')[:DIGITS]}…"


def as_text(value: bytes) -> str | None:
    """A value as jsonb's `->>` gives it: a text, null, or the digits of a number."""
    if value[:1] == b'"':
        return str(msgspec.json.decode(value))
    if value == b"null":
        return None
    if value[:1] in b"-0123456789":
        return written_out(value.decode())
    return value.decode()

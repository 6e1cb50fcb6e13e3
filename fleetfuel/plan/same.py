"""Pure: whether two JSON texts are the same value, as jsonb sees it."""

from __future__ import annotations

import decimal
import json
from collections.abc import Mapping

import msgspec

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value: msgspec.json.Decoder[object] = msgspec.json.Decoder(float_hook=decimal.Decimal)


def changed_fields(before: bytes, after: bytes) -> list[str]:
    """Names of the top-level fields in which two JSON objects differ as values: 1.10 is 1.1, order does not count."""
    try:
        old, new = _fields.decode(before), _fields.decode(after)
    except (msgspec.ValidationError, RecursionError):  # somebody edited raw: it is no object, or nested too deep
        return ["raw"] if not same_json(before, after) else []
    names = [*new, *(name for name in old if name not in new)]
    return [name for name in names if name not in old or name not in new or not same_json(old[name], new[name])]


def same_json(before: msgspec.Raw | bytes, after: msgspec.Raw | bytes) -> bool:
    """Whether two JSON texts are the same value to jsonb. Texts nested deeper than any record's count as different."""
    if memoryview(before) == memoryview(after):
        return True
    try:
        return _same(_read_value(before), _read_value(after))
    except RecursionError:
        return False


def _read_value(text: msgspec.Raw | bytes) -> object:
    try:
        return _value.decode(text)
    except msgspec.ValidationError:  # a whole number of thousands of digits, as PostgreSQL writes 1e5000
        return json.loads(bytes(text), parse_int=decimal.Decimal, parse_float=decimal.Decimal)


def _same(before: object, after: object) -> bool:
    pairs = [(before, after)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if one.keys() != other.keys():
                return False
            pairs += [(value, other[key]) for key, value in one.items()]
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif isinstance(one, bool) or isinstance(other, bool):
            if one is not other:
                return False
        elif one != other:
            return False
    return True

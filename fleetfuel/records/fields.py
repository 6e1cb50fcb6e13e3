"""Pure: the texts of records → one column of text for each field that the rules know; and the names of the others."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence, Set
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from fleetfuel.records.care import as_strings, reads_otherwise
from fleetfuel.records.json_text import as_text, json_fields
from fleetfuel.records.values import BLANKS, TEXT_MOST
from fleetfuel.rules.book import Rules

ARROW_MOST: Final = 1 << 31
"""Arrow joins only texts of fewer bytes than this, all together."""


def known_names(rules: Rules) -> Set[str]:
    """Names of fields that the rules read or leave alone."""
    return {alias for names in rules.fields.values() for alias in names} | {ignored.field for ignored in rules.ignore}


def read_fields(strings: pl.Series, texts: Mapping[int, bytes], rules: Rules) -> pl.DataFrame:
    """One column of text a canonical field: the first of its aliases that holds something.

    `texts`: row → the text that is read, with care, instead of that row's string.
    """
    aliases = [alias for names in rules.fields.values() for alias in names]
    if strings.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(rules.fields, pl.String))
    if texts:
        own = as_strings(pa.array([*texts.values()], type=pa.large_binary()))
        odd = reads_otherwise(own, aliases).arg_true()
        strings = strings.scatter([*texts], own.scatter(odd, [_spelled_out(own[row].encode(), aliases) for row in odd]))
    frame = pl.read_ndjson(_lines(strings), schema=dict.fromkeys(aliases, pl.String))
    longest = frame.select(pl.all().str.len_bytes().max().fill_null(0)).row(0)
    long = [name for name, length in zip(frame.columns, longest, strict=True) if length > TEXT_MOST]
    frame = frame.with_columns(pl.col(long).str.head(TEXT_MOST))
    given = {column.name for column in frame if column.null_count() < len(column)}
    return frame.select(
        pl.coalesce(
            pl.when(pl.col(alias).str.contains(f"[^{BLANKS}]")).then(alias)
            for alias in [alias for alias in names if alias in given] or names[:1]
        ).alias(field)
        for field, names in rules.fields.items()
    )


def _lines(strings: pl.Series) -> bytes:
    texts = strings.to_arrow().cast(pa.large_binary())
    if texts.nbytes >= ARROW_MOST:
        return b"\n".join(texts.to_pylist())
    joined: bytes = pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], texts.cast(pa.binary())), b"\n")[0].as_py()
    return joined


def _spelled_out(text: bytes, names: Sequence[str]) -> str:
    """The record with its fields as jsonb's `->>` gives them: each a text or null, numbers digit for digit."""
    fields = json_fields.decode(text)
    return msgspec.json.encode({name: as_text(bytes(fields[name])) for name in names if name in fields}).decode()


def unknown_fields(texts: Mapping[int, bytes], markers: Set[int], rules: Rules) -> Mapping[str, tuple[int, str]]:
    """Field → how many of these records have it, and the first 60 bytes of the first value met. `texts` are by row;
    rows in `markers` are left out."""
    known = known_names(rules)
    strict = _strict_decoder(frozenset(known))
    found: dict[str, tuple[int, str]] = {}
    for row, text in texts.items():
        try:
            strict.decode(text)
        except msgspec.ValidationError:
            fields = json_fields.decode(text) if row not in markers else {}
            for name, value in fields.items():
                if name not in known:
                    count, sample = found.get(name, (0, bytes(value)[:60].decode("utf-8", "replace")))
                    found[name] = (count + 1, sample)
    return found


@functools.cache
def _strict_decoder(known: frozenset[str]) -> msgspec.json.Decoder[msgspec.Struct]:
    """A decoder that refuses a record with an unknown field: the cheapest way to find one."""
    names = sorted(known)
    record = msgspec.defstruct(
        "Record",
        [(f"field_{number}", msgspec.Raw, msgspec.Raw(b"null")) for number in range(len(names))],
        rename={f"field_{number}": name for number, name in enumerate(names)},
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(record)

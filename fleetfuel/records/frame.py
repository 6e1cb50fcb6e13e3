"""Pure: the texts of records → typed columns. No I/O, no clock, no verdict on values.

A record's text is kept to the byte, because that is what is stored and fingerprinted; the typed columns beside it are
read for validation and for deciding.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from polars._typing import PolarsDataType

from fleetfuel.model import Cut, Place, Rows, Unwrapped
from fleetfuel.records.care import UNREAD, as_strings, find_unstorable, reads_loosely, without_escapes, written_out
from fleetfuel.records.complete import MARKER_KEYS
from fleetfuel.records.envelope import TOKEN, json_fields
from fleetfuel.records.places import FeedTexts
from fleetfuel.records.shapes import find_plain
from fleetfuel.records.texts import as_number, fingerprint
from fleetfuel.records.values import BLANKS, TEXT_MOST, UTC_ZONE, integer, read_instants, read_numbers
from fleetfuel.rules.book import Rules
from fleetfuel.rules.fields import COMPUTED, FIELDS, NUMBERS, OF_FILL, READ, TEXTS, TIMES

CHUNK: Final = 40_000
"""Records read into columns at a time: what bounds memory."""

ARROW_MOST: Final = 1 << 31
"""Bytes from which on Arrow joins nothing."""

OPERATION_KEYS: Final = ("op", "operation", "action")
CARRIERS: Final = ("row", "data", "record", "after", "before")
UPSERTS: Final = frozenset({"insert", "update", "upsert", "create", "c", "u", "r"})
DELETES: Final = frozenset({"delete", "d"})

_OPERATION_NAMES: Final = [f'"{key}"'.encode() for key in OPERATION_KEYS]


def columns(names: Mapping[str, PolarsDataType]) -> pl.Schema:
    """A schema: column → type."""
    return pl.Schema(names)


INDEX: Final = columns({"file": pl.UInt32, "position": pl.UInt32, "fingerprint": pl.Int128})
"""Where a record lies, and its fingerprint."""

INSTANT: Final = pl.Datetime("us", "UTC")

TYPED: Final = columns(
    {
        "file": pl.UInt32,
        "position": pl.UInt32,
        "id": pl.Int64,
        "is_delete": pl.Boolean,  # a delete message: whatever else it holds, the record is gone
        "carries_values": pl.Boolean,  # it says what the record holds, not only that it is gone
        "is_deleted": pl.Boolean,  # the record says so itself: deleted_at or a delete flag
        **dict.fromkeys(TIMES, INSTANT),
        **dict.fromkeys(TEXTS, pl.String),
        **dict.fromkeys(NUMBERS, pl.Float64),
        COMPUTED: pl.Float64,
        **{f"{name}_text": pl.String for name in READ},
        "file_at": INSTANT,
        "source_at": INSTANT,  # the record's own updated_at where usable, else file_at
        "has_own_time": pl.Boolean,
    }
)
"""Columns of rows that can be stored and keyed."""

REFUSED: Final = columns(
    {"file": pl.UInt32, "position": pl.UInt32, "id": pl.Int64, "rule": pl.String, "reason": pl.String}
)
"""Records set aside, by a rule of the framing (no id, not an object, …) or of validation."""


def index_records(cut: Cut, number: int) -> pl.DataFrame:
    """`INDEX` of a cut's records."""
    return pl.DataFrame(
        {
            "file": pl.repeat(number, len(cut.records), dtype=pl.UInt32, eager=True),
            "position": pl.int_range(len(cut.records), dtype=pl.UInt32, eager=True),
            "fingerprint": cut.records.fingerprints,
        },
        schema=INDEX,
    )


# --- records, read into columns -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """A change message around a record: `{"op": "update", "id": 7, "row": {…}}`."""

    text: bytes
    """The record's own text; the message's where it carries no record."""
    id: str | None
    """The id the message names outside the record."""
    is_delete: bool
    carries_record: bool
    """Whether `text` is the record as it is now, rather than the message alone or the record as it was."""
    fault: tuple[str, str] | None = None
    """Rule and reason, where it is a message that says nothing to go by."""


def read_rows(index: pl.DataFrame, cuts: Sequence[Cut], rules: Rules, zone: ZoneInfo, seed: int) -> Rows:
    """Read the records that `index` (`INDEX`) names into columns; set aside what cannot be stored or keyed."""
    lying = FeedTexts([cut.records for cut in cuts]).take(index["file"], index["position"])
    strings = as_strings(lying)
    recovered = index["file"].is_in([number for number, cut in enumerate(cuts) if cut.is_recovered])
    odd = (~find_plain(strings, _known(rules)) | recovered).arg_true()
    given: dict[int, bytes] = dict(zip(odd.to_list(), lying.take(odd.to_arrow()).to_pylist(), strict=True))
    refusals = find_unstorable([*given.values()], strings.gather(odd), recovered.gather(odd))
    unstorable = {odd[number]: why for number, why in refusals.items()}
    texts = given | dict.fromkeys(unstorable, b"{}")
    messages = _messages(texts)
    texts |= {row: message.text for row, message in messages.items()}

    fields = _read_fields(strings, texts, rules)
    named = {
        row: message.id
        for row, message in messages.items()
        if message.id is not None and fields.item(row, "id") is None
    }
    if named:
        outside = pl.Series([named.get(row) for row in range(index.height)], dtype=pl.String)
        fields = fields.with_columns(id=pl.coalesce(pl.col("id"), outside))
    rows = (
        index.select(_PLACE)
        .hstack(_typed(fields, zone))
        .with_columns(
            is_delete=_flags(index.height, {row for row, message in messages.items() if message.is_delete}),
            carries_values=~_flags(
                index.height, {row for row, message in messages.items() if not message.carries_record}
            )
            & pl.Series(fields.select(pl.any_horizontal(pl.col(name).is_not_null() for name in OF_FILL)).to_series()),
            file_at=pl.Series([cut.file_at for cut in cuts], dtype=INSTANT).gather(index["file"]),
        )
        .with_columns(
            is_delete=pl.col("is_delete") | (pl.col("is_deleted") & ~pl.col("carries_values")),
            # A message's record tells when the record was last changed, not when it was deleted.
            has_own_time=_own_time_is_usable(rules) & ~pl.col("is_delete"),
        )
        .with_columns(source_at=pl.when("has_own_time").then("updated_at").otherwise("file_at"))
        .select(TYPED.names())
    )
    own = {
        row: as_number(fingerprint(message.text + named.get(row, "").encode(), seed))
        for row, message in messages.items()
    }

    why = dict(unstorable)
    markers: set[int] = set()
    for row in rows["id"].is_null().arg_true():
        if row in why:
            continue
        texts.setdefault(row, strings[row].encode())
        if _is_marker(texts[row]):
            markers.add(row)
        else:
            why[row] = _no_id(fields.item(row, "id"))
    for row, text in texts.items():
        if row not in why and text.count(b'"id"') > 1 and len(ids := dict.fromkeys(_legible_ids(text))) > 1:
            why[row] = ("id_ambiguous", f"the record names more than one id: {', '.join(map(str, ids))}")
    why |= {row: message.fault for row, message in messages.items() if message.fault}
    markers -= why.keys()
    aside = markers | why.keys()
    legible = {row: _legible_ids(given[row] if row in unstorable else texts[row]) for row in why}
    told_of = [*aside | messages.keys()]
    places: dict[int, Place] = dict(zip(told_of, index.select(_PLACE)[told_of].iter_rows(), strict=True))
    return Rows(
        typed=rows.filter(~pl.row_index().is_in(list(aside))) if aside else rows,
        refused=pl.DataFrame(
            [
                (*places[row], legible[row][-1] if legible[row] and rule in UNREAD else None, rule, reason)
                for row, (rule, reason) in sorted(why.items())
            ],
            schema=REFUSED,
            orient="row",
        ),
        legible_ids=sorted({found for ids in legible.values() for found in ids}),
        markers=[places[row] for row in sorted(markers)],
        unwrapped={
            places[row]: Unwrapped(text=message.text, fingerprint=own[row]) for row, message in messages.items()
        },
        unknown_fields=_unknown_fields(texts, markers, rules),
    )


_PLACE: Final = ["file", "position"]


def _known(rules: Rules) -> Set[str]:
    """Names of fields that the rules read or leave alone."""
    return {alias for names in rules.fields.values() for alias in names} | {ignored.field for ignored in rules.ignore}


def _read_fields(strings: pl.Series, texts: Mapping[int, bytes], rules: Rules) -> pl.DataFrame:
    """One column of text a canonical field: the first of its aliases that holds something.

    `texts`, by row, hold what is to be read instead of the string of that row, and with care.
    """
    aliases = [alias for names in rules.fields.values() for alias in names]
    if strings.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(rules.fields, pl.String))
    if texts:
        own = as_strings(pa.array([*texts.values()], type=pa.large_binary()))
        odd = own.to_frame("text").select(_is_odd(aliases)).to_series().arg_true()
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
    return msgspec.json.encode({name: _as_text(bytes(fields[name])) for name in names if name in fields}).decode()


def _as_text(value: bytes) -> str | None:
    if value[:1] == b'"':
        return str(msgspec.json.decode(value))
    if value == b"null":
        return None
    if value[:1] in b"-0123456789":
        return written_out(value.decode())
    return value.decode()


def _is_odd(names: Sequence[str]) -> pl.Expr:
    """Whether Polars may read a text otherwise than jsonb, or not at all. One cheap test each, not one for all."""
    text = pl.col("text").str
    return (
        text.contains(r'"\s*:\s*-?[0-9][0-9.]{15}')  # digits that a float has not
        | text.contains(r"[0-9][eE][+-]?[0-9]")
        | text.contains("[", literal=True)
        | (text.count_matches("{", literal=True) > 1)
        | text.contains(r"\u00", literal=True)  # an escaped key
        | text.contains("\n", literal=True)  # between tokens: a line would end there
        | text.contains("\r", literal=True)
        # Of repeated keys jsonb keeps the last, Polars the first.
        | pl.any_horizontal(text.count_matches(f'"{name}"', literal=True) > 1 for name in names)
    )


def _typed(fields: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """The columns of `TYPED` that come from a record's fields, from columns of text."""
    times = {
        field.name: read_instants(fields[field.name], zone if field.of_fill else UTC_ZONE, keeps_unknown=field.of_fill)
        for field in FIELDS
        if field.kind == "time"
    }
    return (
        fields.select("is_deleted", *TEXTS)
        .with_columns(
            fields.select(integer(pl.col("id"))).to_series(),
            (
                times["deleted_at"].is_not_null()
                | fields["is_deleted"].str.strip_chars(BLANKS).str.contains(r"^(?i:true|t|yes|y|1(\.0*)?)$")
            )
            .fill_null(value=False)
            .alias("is_deleted"),
            *times.values(),
            *(read_numbers(fields[name]) for name in NUMBERS),
            *fields.select(
                pl.when(~pl.col(name).str.contains(r"^\s*(0000-00-00.*|-?infinity)?\s*$"))
                .then(name)
                .alias(f"{name}_text")
                for name in READ
            ),
        )
        .with_columns(price_per_litre_kes=pl.when(pl.col("litres") > 0).then(pl.col("amount_kes") / pl.col("litres")))
    )


def _flags(height: int, rows: set[int]) -> pl.Series:
    return pl.select(pl.int_range(height).is_in(list(rows))).to_series()


def _own_time_is_usable(rules: Rules) -> pl.Expr:
    """A record's own time later than its file's, beyond a clock's error, would shut out every later version."""
    latest = pl.col("file_at") + pl.duration(minutes=round(rules.guards.future_source_time_hours * 60))
    return (pl.col("updated_at") <= latest).fill_null(value=False)


_ID: Final = re.compile(rb'"id"\s*:\s*(?:"\s*)?([+-]?[0-9]{1,19})(?![0-9])')
_WHOLE: Final = re.compile(rb'"?\s*([+-]?[0-9]{1,19})(?:\.0*)?\s*"?')


def _legible_ids(text: bytes) -> list[int]:
    """The ids that a record names where they can be read, whatever else is wrong with it: such a row is in the feed.

    Of ids at several depths (its own, its vehicle's; that of a record in a message) the outermost count; where brackets
    and quotes are not to be trusted, every one.
    """
    if not reads_loosely(text):
        return [key for whole in _ID.findall(text) if -(2**63) <= (key := int(whole)) < 2**63]
    found: dict[int, list[int]] = {}
    depth = 0
    before: tuple[bytes, bytes] = (b"", b"")
    for match in TOKEN.finditer(without_escapes(text)):
        token = match[0]
        depth += (token in (b"{", b"[")) - (token in (b"}", b"]"))
        if before == (b'"id"', b":") and (whole := _WHOLE.fullmatch(token)):
            key = int(whole[1])
            if -(2**63) <= key < 2**63:
                found.setdefault(depth, []).append(key)
        before = (before[1], token)
    return found[min(found)] if found else []


def _no_id(given: str | None) -> tuple[str, str]:
    if given is None:
        return "id_missing", "the record has no id"
    if re.fullmatch(r"\s*[+-]?[0-9]+(\.0*)?\s*", given):
        return "id_out_of_range", "the id is beyond bigint"
    return "id_unusable", "the id is not a whole number"


def _is_marker(text: bytes) -> bool:
    """`{}` or an object of the exporter about itself."""
    return set(json_fields.decode(text)) <= MARKER_KEYS


# --- change messages, unknown fields ---------------------------------------------------------------


def _messages(texts: Mapping[int, bytes]) -> Mapping[int, _Message]:
    """Row → the change message it is, for the rows that are one."""
    suspects = {row: text for row, text in texts.items() if any(key in text for key in _OPERATION_NAMES)}
    return {row: message for row, text in suspects.items() if (message := _message(text)) is not None}


def _message(text: bytes) -> _Message | None:
    try:
        fields = json_fields.decode(text)
        operation = next((msgspec.json.decode(fields[key]) for key in OPERATION_KEYS if key in fields), None)
    except msgspec.DecodeError:
        return None
    operation = operation.strip().lower() if isinstance(operation, str) else ""
    carriers: tuple[str, ...]
    if operation in DELETES:
        carriers = CARRIERS
    elif operation in UPSERTS:
        carriers = ("after", "row", "data", "record")
    else:
        if not any(bytes(fields.get(key, b""))[:1] == b"{" for key in CARRIERS):
            return None
        fault = "operation_unknown", "the message around the record names an operation that nobody agreed on"
        return _Message(text=text, id=None, is_delete=False, carries_record=False, fault=fault)
    carrier = next((key for key in carriers if bytes(fields.get(key, b""))[:1] == b"{"), None)
    inner = bytes(fields[carrier]) if carrier else None
    named = bytes(fields.get("id", b"null"))
    if inner is None and operation in UPSERTS:
        if "id" in fields and fields.keys() - {"id", *OPERATION_KEYS, *CARRIERS}:
            inner = text  # a plain row with its operation beside its fields
        else:
            fault = "record_missing", "the message announces a record and holds none"
            return _Message(text=text, id=None, is_delete=False, carries_record=False, fault=fault)
    return _Message(
        text=inner or text,
        id=_as_text(named),
        is_delete=operation in DELETES,
        carries_record=carrier not in (None, "before"),
    )


def _unknown_fields(texts: Mapping[int, bytes], markers: Set[int], rules: Rules) -> Mapping[str, tuple[int, str]]:
    """Field → in how many records it is, and the first value met."""
    known = _known(rules)
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
    """Decodes a record and refuses a field that is not known: the cheapest way to see one."""
    names = sorted(known)
    record = msgspec.defstruct(
        "Record",
        [(f"field_{number}", msgspec.Raw, msgspec.Raw(b"null")) for number in range(len(names))],
        rename={f"field_{number}": name for number, name in enumerate(names)},
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(record)

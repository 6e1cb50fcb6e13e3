"""Pure: a file's bytes → the exact text of each record → typed columns. No I/O, no clock, no verdict on values.

A record's text is kept to the byte, because that is what is stored and fingerprinted; the typed columns beside it are
read for validation and for deciding. `fuel.read_number` and `fuel.read_time` in the database read the same texts the
same way (a test holds the two together); the database's reading is the one that is stored.
"""

from __future__ import annotations

import decimal
import functools
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pyarrow as pa
import xxhash
from polars._typing import PolarsDataType

from fleetfuel import errors
from fleetfuel.model import Cut, Rows, SourceFile
from fleetfuel.rules import Rules

CHUNK: Final = 50_000
"""Records read into columns at a time: what bounds memory."""

LIST_KEYS: Final = ("records", "rows", "data", "items", "changes")
EXPORT_TIME_KEYS: Final = ("exported_at", "generated_at")
COUNT_KEYS: Final = ("record_count", "total", "count")
OPERATION_KEYS: Final = ("op", "operation", "action")
CARRIERS: Final = ("row", "data", "record", "after", "before")
UPSERTS: Final = frozenset({"insert", "update", "upsert", "create", "c", "u", "r"})
DELETES: Final = frozenset({"delete", "d"})
MARKER_KEYS: Final = frozenset(
    {"success", "message", "error", "status", "ok", "code", "description", "stack", "timestamp"}
)


def columns(names: Mapping[str, PolarsDataType]) -> pl.Schema:
    """A schema: column → type."""
    return pl.Schema(names)


INDEX: Final = columns({"file": pl.UInt32, "position": pl.UInt32, "fingerprint": pl.Binary})
"""Where a record lies, and its fingerprint."""

EAST_AFRICA: Final = ZoneInfo("Africa/Nairobi")

INSTANT: Final = pl.Datetime("us", "UTC")

INSTANTS: Final = ("created_at", "updated_at", "deleted_at", "filled_at")
TEXTS: Final = ("car", "driver", "department", "fuel_type")
NUMBERS: Final = ("litres", "amount_kes", "odometer_km")
VALUES: Final = (*TEXTS, *NUMBERS, "filled_at", "sender", "raw_message")
"""Fields that say something of the fill: a deleted record without any of them is only the news of its deletion."""

READ: Final = (*INSTANTS, *NUMBERS)
"""Fields whose text has to be read: `<field>_text` is what was written, null where nothing was."""

TYPED: Final = columns(
    {
        **INDEX,
        "id": pl.Int64,
        "is_delete": pl.Boolean,  # a delete message: whatever else it holds, the record is gone
        "carries_values": pl.Boolean,  # it says what the record holds, not only that it is gone
        "is_deleted": pl.Boolean,  # the record says so itself: deleted_at or a delete flag
        **dict.fromkeys(INSTANTS, INSTANT),
        **dict.fromkeys(TEXTS, pl.String),
        **dict.fromkeys(NUMBERS, pl.Float64),
        "price_per_litre_kes": pl.Float64,
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


# --- a file, cut into records -------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct):
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    rows: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    data: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    items: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    changes: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


_envelope = msgspec.json.Decoder(_Envelope)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any: msgspec.json.Decoder[object] = msgspec.json.Decoder(float_hook=str)  # 1e400 is a number to jsonb


class _Ambiguous(Exception):
    """Which of several lists is the export cannot be told; the message says what was found."""


def cut_file(file: SourceFile, zone: ZoneInfo, latest: datetime | None = None) -> Cut:
    """Cut a file into the texts of its records. Raises `BadInput`, with the offset where it has one.

    A time of the file's own that lies after `latest` is a wrong clock's and is not used: it would make stale whatever
    comes after it.
    """
    content = file.content
    if bytes(content[:3]) == b"\xef\xbb\xbf":
        content = content[3:]
    is_recovered = False
    try:
        metadata, records = _open_envelope(content)
    except _Ambiguous as error:
        raise errors.BadInput(key=file.key, reason=str(error)) from None
    except msgspec.ValidationError as error:
        raise errors.WrongEnvelope(key=file.key, shape=f"it holds {_shape(content)} ({error})") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        recovered = _recover(content)
        if recovered is None:
            raise _not_json(file, error) from None
        metadata, records = recovered
        is_recovered = True
    if records is None:
        raise errors.WrongEnvelope(key=file.key, shape=f"it holds {_shape(content)}")
    said = _metadata(metadata)
    exported_at = next((read_instant(said[name], zone) for name in EXPORT_TIME_KEYS if name in said), None)
    times = [("metadata", exported_at), ("key", file.key_at), ("modification time", file.modified_at)]
    said_at = [(origin, at) for origin, at in times if at is not None]
    usable = [(origin, at) for origin, at in said_at if latest is None or at <= latest]
    file_at_from, file_at = (usable or said_at[-1:])[0]
    return Cut(
        file=file,
        file_at=file_at,
        file_at_from=file_at_from,  # type: ignore[arg-type]
        remarks=tuple(
            f"{file.key} is of {file_at:%Y-%m-%dT%H:%M:%SZ}, by its {file_at_from}: its {origin} says {at:%Y-%m-%d}, "
            "which is yet to come"
            for origin, at in said_at
            if (origin, at) not in (usable or said_at)
        ),
        metadata=metadata.decode("utf-8", "replace"),
        declared=_announced(said),
        records=records,
        is_recovered=is_recovered,
    )


def _not_json(file: SourceFile, error: Exception) -> errors.BadInput:
    if isinstance(error, RecursionError):
        return errors.BadInput(key=file.key, reason="its brackets are nested deeper than any record's")
    if isinstance(error, UnicodeDecodeError):
        return errors.BadInput(key=file.key, reason="the name of a field is not UTF-8")
    found = re.search(r"byte (\d+)", str(error))
    why = (
        "it ends too early" if "truncated" in str(error) else re.sub(r"^JSON is malformed: | \(byte.*", "", str(error))
    )
    offset = int(found[1]) if found else file.size
    return errors.NotJson(key=file.key, reason=why, offset=offset, size=file.size)


def _open_envelope(content: memoryview) -> tuple[bytes, Sequence[msgspec.Raw | bytes] | None]:
    """Metadata and the list of records; None where there is no list."""
    start = bytes(content[:64]).lstrip()[:1]
    if start == b"[":
        elements = _list.decode(content)
        if len(elements) == 1:
            inner = memoryview(elements[0])
            if bytes(inner[:1]) == b"{" and _list_key(inner) is not None:
                return _open_envelope(inner)
        elif elements and bytes(elements[0])[:1] == b"{" and _list_key(memoryview(elements[0])) is not None:
            raise _Ambiguous(f"it holds {len(elements):,} exports, and which of them is the feed cannot be told")
        return b"null", elements
    envelope = _envelope.decode(content)
    for key in LIST_KEYS:
        found = getattr(envelope, key)
        if found is not msgspec.UNSET:
            _refuse_other_lists(content, found)
            return bytes(envelope.metadata), found
    names = set(_fields.decode(content))
    if names <= MARKER_KEYS:
        return b"null", [msgspec.Raw(bytes(content))]
    return b"null", None


def _refuse_other_lists(content: memoryview, records: Sequence[msgspec.Raw]) -> None:
    """Of a repeated key the decoder keeps the last: what lies around the records says whether a list was lost so."""
    start = end = 0
    if records:
        origin = pa.py_buffer(content).address
        first, last = pa.py_buffer(records[0]), pa.py_buffer(records[-1])
        start, end = first.address - origin, last.address - origin + last.size
    around = bytes(content[:start]) + bytes(content[end:])
    try:
        pairs = json.loads(around.decode("utf-8", "replace"), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return
    names = [name for name, _ in pairs]
    lists = [name for name, value in pairs if name in LIST_KEYS and isinstance(value, list)]
    full = [name for name, value in pairs if name in lists and value]
    if full or len(lists) != len(set(lists)):
        named = " and ".join(dict.fromkeys(lists))
        raise _Ambiguous(f"it holds more than one list of records ({named}), and which is the feed cannot be told")
    if names.count("metadata") > 1:
        raise _Ambiguous("it holds metadata twice, and which of them is true cannot be told")


def _list_key(content: memoryview) -> str | None:
    fields = _fields.decode(content)
    return next((key for key in LIST_KEYS if key in fields and bytes(fields[key])[:1] == b"["), None)


def _metadata(text: bytes) -> Mapping[str, object]:
    try:
        said = _any.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if re.fullmatch(r"\s*[0-9]{1,18}\s*", str(value)) else None


def _shape(content: memoryview) -> str:
    """What a file holds, in words, without quoting its values."""
    try:
        fields = _fields.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        first = bytes(content[:64]).lstrip()[:1]
        return {b"[": "an array", b'"': "a text", b"n": "null"}.get(first, "a single value")
    names = ", ".join(sorted(fields)[:6])
    return f"an object with the fields {names}" if names else "an empty object"


_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s"\[\]{},:]+|"', re.DOTALL)


_LIST: Final = re.compile(rb'"(?:%s)"\s*:\s*\[' % "|".join(LIST_KEYS).encode())


def _recover(content: memoryview) -> tuple[bytes, Sequence[msgspec.Raw | bytes]] | None:
    """Metadata and elements of a file whose JSON is broken inside elements only; None where that is not sure.

    It is sure where all brackets pair up to the end, what lies around the list is whole, and each broken element either
    reads as JSON but for a character that is none, or is one of exactly as many elements as the metadata announces: a
    quote lost in one record and found in another would swallow those between.
    """
    spans: list[tuple[int, int]] = []
    metadata = b"null"
    closers: list[bytes] = []
    before: list[bytes] = []  # the last two tokens
    list_depth, start, metadata_start = -1, -1, -1
    opened = closed = 0
    for found in _TOKEN.finditer(content):
        token = found[0]
        if token == b'"' or (not closers and before):
            return None
        if token in (b"]", b"}"):
            if not closers or closers.pop() != token:
                return None
            if len(closers) == list_depth - 1:
                if start >= 0:
                    spans.append((start, found.start()))
                list_depth, start, closed = -2, -1, found.start()
            elif metadata_start >= 0 and len(closers) == 1:
                metadata, metadata_start = bytes(content[metadata_start : found.end()]), -1
        elif list_depth == len(closers) and token == b",":
            spans.append((start, found.start()))
            start = -1
        elif start < 0 <= list_depth and list_depth == len(closers):
            start = found.start()
        if token in (b"[", b"{"):
            is_list = token == b"[" and (
                not closers
                or (before[-1:] == [b":"] and before[-2].strip(b'"').decode("utf-8", "replace") in LIST_KEYS)
            )
            if token == b"{" and before[-2:] == [b'"metadata"', b":"] and list_depth < 0:
                metadata_start = found.start()
            closers.append(b"]" if token == b"[" else b"}")
            if list_depth == -2 and is_list and len(closers) == 2:
                return None  # a second list of records
            if list_depth == -1 and is_list and len(closers) <= 2:
                list_depth, opened = len(closers), found.end()
        before = [*before[-1:], token]
    if closers or list_depth != -2 or any(start < 0 for start, _ in spans):
        return None
    if not _reads_loosely(bytes(content[:opened]) + bytes(content[closed:])):
        return None
    texts = [bytes(content[start:end]).rstrip() for start, end in spans]
    if texts and _LIST.search(texts[0]):  # an envelope in an array
        return _recover(memoryview(texts[0])) if len(texts) == 1 else None
    broken = [text for text in texts if not _decodes(text)]
    said = _metadata(metadata)
    if any(not _reads_loosely(text) for text in broken) and _announced(said) != len(texts):
        return None
    return metadata, texts


def _announced(said: Mapping[str, object]) -> int | None:
    return next((count for name in COUNT_KEYS if (count := _count(said.get(name))) is not None), None)


def _reads_loosely(text: bytes) -> bool:
    """Whether it is JSON to a reader that takes half a surrogate pair, NaN and bytes that are no UTF-8."""
    try:
        json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True


def fingerprints(cut: Cut, number: int, seed: int) -> pl.DataFrame:
    """`INDEX` of a cut's records: XXH3-128 of each text, seeded with the rules it is validated under."""
    digest = xxhash.xxh3_128_digest
    return pl.DataFrame(
        {
            "file": pl.repeat(number, len(cut.records), dtype=pl.UInt32, eager=True),
            "position": pl.int_range(len(cut.records), dtype=pl.UInt32, eager=True),
            "fingerprint": pl.Series([digest(text, seed) for text in cut.records], dtype=pl.Binary),
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
    places = list(index.select("file", "position").iter_rows())
    texts = [bytes(cuts[file].records[position]) for file, position in places]
    why = _unstorable(texts, [cuts[file].is_recovered for file, _ in places])
    readable = [b"{}" if row in why else text for row, text in enumerate(texts)]
    messages = _messages(readable)
    texts = [messages[row].text if row in messages else text for row, text in enumerate(texts)]
    readable = [messages[row].text if row in messages else text for row, text in enumerate(readable)]

    fields = _read_fields(readable, rules)
    named = {
        row: message.id
        for row, message in messages.items()
        if message.id is not None and fields.item(row, "id") is None
    }
    if named:
        outside = pl.Series([named.get(row) for row in range(len(texts))], dtype=pl.String)
        fields = fields.with_columns(id=pl.coalesce(pl.col("id"), outside))
    rows = (
        index.hstack(_typed(fields, zone))
        .with_columns(
            is_delete=_flags(len(texts), {row for row, message in messages.items() if message.is_delete}),
            carries_values=~_flags(len(texts), {row for row, message in messages.items() if not message.carries_record})
            & pl.Series(fields.select(pl.any_horizontal(pl.col(name).is_not_null() for name in VALUES)).to_series()),
            file_at=pl.Series([cut.file_at for cut in cuts], dtype=INSTANT).gather(index["file"]),
        )
        .with_columns(
            is_delete=pl.col("is_delete") | (pl.col("is_deleted") & ~pl.col("carries_values")),
            # A message's record tells when the record was last changed, not when it was deleted.
            has_own_time=_own_time_is_usable(rules) & ~pl.col("is_delete"),
        )
        .with_columns(source_at=pl.when("has_own_time").then("updated_at").otherwise("file_at"))
    )
    if messages:
        own = [
            xxhash.xxh3_128_digest(messages[row].text + named.get(row, "").encode(), seed) if row in messages else None
            for row in range(len(texts))
        ]
        rows = rows.with_columns(fingerprint=pl.coalesce(pl.Series(own, dtype=pl.Binary), pl.col("fingerprint")))

    markers: set[int] = set()
    for row, given in rows.select(pl.row_index(), fields["id"].alias("given")).filter(rows["id"].is_null()).iter_rows():
        if row in why:
            continue
        if _is_marker(texts[row]):
            markers.add(row)
        else:
            why[row] = _no_id(given)
    for row in _strings(readable).str.count_matches('"id"', literal=True).gt(1).arg_true():
        if row not in why and len(named_ids := dict.fromkeys(_legible_ids(texts[row]))) > 1:
            why[row] = ("id_ambiguous", f"the record names more than one id: {', '.join(map(str, named_ids))}")
    why |= {row: message.fault for row, message in messages.items() if message.fault}
    markers -= why.keys()
    aside = markers | why.keys()
    legible = {row: _legible_ids(texts[row]) for row in why}
    return Rows(
        typed=rows.select(TYPED.names()).filter(~pl.row_index().is_in(list(aside)))
        if aside
        else rows.select(TYPED.names()),
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
        unwrapped={places[row]: message.text for row, message in messages.items()},
        unknown_fields=_unknown_fields([text for row, text in enumerate(readable) if row not in markers], rules),
    )


def record_text(cuts: Sequence[Cut], unwrapped: Mapping[tuple[int, int], bytes], file: int, position: int) -> bytes:
    """The exact text of one record, without the message around it."""
    return unwrapped.get((file, position)) or bytes(cuts[file].records[position])


def _read_fields(texts: Sequence[bytes], rules: Rules) -> pl.DataFrame:
    """One column of text a canonical field: the first of its aliases that holds something."""
    if not texts:
        return pl.DataFrame(schema=dict.fromkeys(rules.fields, pl.String))
    aliases = [alias for names in rules.fields.values() for alias in names]
    plain = list(texts)
    for row in pl.select(text=_strings(texts)).select(_is_odd(aliases)).to_series().arg_true():
        plain[row] = _spelled_out(texts[row], aliases)
    lines = b"\n".join(text.replace(b"\n", b" ").replace(b"\r", b" ") for text in plain)  # only between tokens in JSON
    frame = pl.read_ndjson(io.BytesIO(lines), schema=dict.fromkeys(aliases, pl.String))
    return frame.select(
        pl.coalesce(pl.when(pl.col(alias).str.strip_chars(BLANKS) != "").then(alias) for alias in names).alias(field)
        for field, names in rules.fields.items()
    )


_ODD: Final = r"[0-9][0-9.]{15}|[0-9][eE][+-]?[0-9]|\\u00"
"""What Polars reads otherwise than jsonb, or not at all: numbers of many digits or with an exponent, escaped keys."""


def _spelled_out(text: bytes, names: Sequence[str]) -> bytes:
    """The record with its fields as jsonb's `->>` gives them: each a text or null, numbers digit for digit."""
    fields = _fields.decode(text)
    return msgspec.json.encode({name: _as_text(bytes(fields[name])) for name in names if name in fields})


def _as_text(value: bytes) -> str | None:
    if value[:1] == b'"':
        return str(msgspec.json.decode(value))
    if value == b"null":
        return None
    if value[:1] in b"-0123456789":
        return format(decimal.Decimal(value.decode()), "f")
    return value.decode()


def _is_odd(names: Sequence[str]) -> pl.Expr:
    """Whether a text has to be spelled out: of repeated keys jsonb keeps the last, Polars the first."""
    text = pl.col("text")
    repeated = "|".join(rf'"{name}"\s*:.*"{name}"\s*:' for name in map(re.escape, names))
    return text.str.contains(_ODD) | text.str.contains(f"(?s){repeated}")


def _typed(fields: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """The columns of `TYPED` that come from a record's fields, from columns of text."""
    deleted_at = read_instants(fields["deleted_at"], UTC_ZONE)
    return (
        fields.select("is_deleted", *TEXTS)
        .with_columns(
            fields.select(integer(pl.col("id"))).to_series(),
            (
                deleted_at.is_not_null()
                | fields["is_deleted"].str.strip_chars(BLANKS).str.contains(r"^(?i:true|t|yes|y|1(\.0*)?)$")
            )
            .fill_null(value=False)
            .alias("is_deleted"),
            read_instants(fields["created_at"], UTC_ZONE),
            read_instants(fields["updated_at"], UTC_ZONE),
            deleted_at,
            read_instants(fields["filled_at"], zone, keeps_unknown=True),
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


# --- reading a text -----------------------------------------------------------------------------------------------

BLANKS: Final = " \t\n\r"

UTC_ZONE: Final = ZoneInfo("UTC")
EAT_OFFSET: Final = timedelta(hours=3)

_USUAL_DAY = r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
_DAY = r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
_CLOCK = r"([01][0-9]|2[0-3])"
_TIME: Final = (
    rf"^{_DAY}(?:-{_CLOCK}-([0-5][0-9])"
    rf"|[T ]{_CLOCK}:([0-5][0-9])(?::([0-5][0-9])(?:[.,]([0-9]{{1,9}}))?)?"
    r"(?: ?(Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?))?)?$"
)


def instant(text: pl.Expr, zone: ZoneInfo, *, keeps_unknown: bool = False) -> pl.Expr:
    """The instant a text names, UTC; null where it names none. `fuel.read_time` in the database reads the same.

    Reading order: `YYYY-MM-DD-HH-MM`, as the producer writes it, in East Africa; `Z` or an offset as written; without
    either in `zone`; a date alone is midnight in East Africa. 1970-01-01 00:00 UTC is how "unknown" is written: null,
    unless a check wants to see it.
    """
    parts = text.str.strip_chars(BLANKS).str.to_uppercase().str.extract_groups(_TIME).struct
    day, dashed, offset = parts.field("1"), parts.field("2").is_not_null(), parts.field("8")
    has_clock = dashed | parts.field("4").is_not_null()
    clock = pl.concat_str(
        day, pl.lit(" "),
        pl.coalesce(parts.field("2"), parts.field("4"), pl.lit("00")), pl.lit(":"),
        pl.coalesce(parts.field("3"), parts.field("5"), pl.lit("00")), pl.lit(":"),
        parts.field("6").fill_null("00"),
    ).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)  # fmt: skip
    fraction = (pl.lit("0.") + parts.field("7").fill_null("0")).cast(pl.Float64) * 1_000_000
    clock = clock + pl.duration(microseconds=fraction.round(mode="half_to_even").cast(pl.Int64), time_unit="us")
    minutes = (
        offset.str.slice(1, 2).cast(pl.Int32, strict=False).fill_null(0) * 60
        + offset.str.slice(3).str.strip_chars(":").cast(pl.Int32, strict=False).fill_null(0)
    ) * pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    as_written = clock.dt.replace_time_zone("UTC") - pl.duration(minutes=minutes)
    found = (
        pl.when(dashed | ~has_clock)
        .then(_in_zone(clock, EAST_AFRICA))
        .when(offset.is_null())
        .then(_in_zone(clock, zone))
        .otherwise(as_written)
    )
    is_one = (found >= _FIRST) & (found < _LAST) & (day.str.slice(0, 4) != "0000")
    return pl.when(is_one if keeps_unknown else is_one & (found != _EPOCH)).then(found)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Years of four digits in any zone."""


def _in_zone(clock: pl.Expr, zone: ZoneInfo) -> pl.Expr:
    """A clock's time as an instant; where clocks go back the later one, where they go forward as if they had not."""
    if zone.key == "UTC":
        return clock.dt.replace_time_zone("UTC")
    hour = pl.duration(hours=1)
    plain = clock.dt.replace_time_zone(zone.key, ambiguous="latest", non_existent="null")
    skipped = (clock - hour).dt.replace_time_zone(zone.key, ambiguous="latest", non_existent="null") + hour
    return pl.coalesce(plain, skipped).dt.convert_time_zone("UTC")


_CURRENCY: Final = (
    r"^[ \t\n\r\f\v]*(?:(?:KSHS?|KES)[.:]?)?[ \t\n\r\f\v]*|[ \t\n\r\f\v]*(?:/=|/-|(?:KSHS?|KES)\.?)?[ \t\n\r\f\v]*$"
)


def number(text: pl.Expr) -> pl.Expr:
    """The number a text holds, with thousands commas or spaces, `KSH` or `/=` around it or not; null where it is none,
    or too large to be meant (1e18 and beyond). `fuel.read_number` in the database reads the same."""
    plain = text.str.strip_chars(BLANKS)
    bare = plain.str.normalize("NFKC").str.to_uppercase().str.replace_all(_CURRENCY, "")
    bare = (
        pl.when(bare.str.contains(r"^[+-]?[0-9]{1,3}(?:(?:,[0-9]{3})+|(?: [0-9]{3})+)(?:\.[0-9]*)?$"))
        .then(bare.str.replace_all("[, ]", ""))
        .otherwise(bare)
    )
    is_number = bare.str.contains(r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:E[+-]?[0-9]{1,2})?$") & (
        plain.str.len_chars() <= 200
    )
    read = pl.when(is_number).then(bare.str.strip_prefix("+")).cast(pl.Float64, strict=False)
    return pl.when(read.abs() < 1e18).then(read)


def read_numbers(texts: pl.Series) -> pl.Series:
    """`number` of a column, the plain digits that most texts are without its care."""
    plain = pl.when(pl.col(texts.name).str.contains(r"^[0-9]{1,15}(\.[0-9]{1,6})?$")).then(texts.name)
    return _read(texts, plain.cast(pl.Float64, strict=False), number(pl.col(texts.name)))


def read_instants(texts: pl.Series, zone: ZoneInfo, *, keeps_unknown: bool = False) -> pl.Series:
    """`instant` of a column, the shapes that most texts have without its care."""
    text = pl.col(texts.name)
    dashed = pl.when(text.str.contains(rf"^{_USUAL_DAY}-{_CLOCK}-[0-5][0-9]$")).then(text)
    zulu = pl.when(text.str.contains(rf"^{_USUAL_DAY}T{_CLOCK}:[0-5][0-9]:[0-5][0-9](\.[0-9]{{3}})?Z$")).then(text)
    quick = [
        dashed.str.to_datetime("%Y-%m-%d-%H-%M", time_unit="us", strict=False).dt.replace_time_zone("UTC") - EAT_OFFSET,
        zulu.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False).dt.replace_time_zone("UTC"),
    ]
    if zone == UTC_ZONE:
        naive = pl.when(text.str.contains(rf"^{_USUAL_DAY} {_CLOCK}:[0-5][0-9]:[0-5][0-9]$")).then(text)
        quick.append(
            naive.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).dt.replace_time_zone("UTC")
        )
    return _read(texts, pl.coalesce(quick), instant(text, zone, keeps_unknown=keeps_unknown))


def _read(texts: pl.Series, quick: pl.Expr, careful: pl.Expr) -> pl.Series:
    """The quick reading where there is one, the careful one of the texts that are left."""
    read = texts.to_frame().select(quick.alias(texts.name)).to_series()
    left = (read.is_null() & texts.is_not_null()).arg_true()
    if left.is_empty():
        return read
    return read.scatter(left, texts.gather(left).to_frame().select(careful.alias(texts.name)).to_series())


def integer(text: pl.Expr) -> pl.Expr:
    """The bigint a text holds (`123`, ` 123 `, `123.0`); null for a fraction, a truth value, or beyond bigint."""
    return text.str.extract(r"^\s*([+-]?[0-9]+)(?:\.0*)?\s*$", 1).str.strip_prefix("+").cast(pl.Int64, strict=False)


_USUAL_TIME: Final = re.compile(
    r"20\d\d-(?:0[1-9]|1[0-2])-(?:[01][1-9]|10|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{3})?Z"
)
"""How exporters write a time: read without setting a query engine in motion, once a file."""


def read_instant(value: object, zone: ZoneInfo) -> datetime | None:
    """One text as an instant, read like a column of them."""
    if not isinstance(value, str):
        return None
    if _USUAL_TIME.fullmatch(value):
        return datetime.fromisoformat(value).astimezone(UTC)
    found: datetime | None = pl.select(instant(pl.lit(value), zone)).item()
    return found.astimezone(UTC) if found else None


# --- what cannot be stored or keyed -------------------------------------------------------------------------------

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUMBER: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)', re.DOTALL)
DEEPEST: Final = 500
"""Brackets open at once: far beyond any record, far below what the database refuses."""


LONG: Final = 10_000
"""Bytes from which on a record may hold a number of too many digits."""

UNREAD: Final = frozenset(
    {
        "broken_json",
        "invalid_utf8",
        "nul_character",
        "nested_too_deep",
        "lone_surrogate",
        "number_out_of_range",
        "id_ambiguous",
        "operation_unknown",
        "record_missing",
    }
)
"""Rules of the framing that refuse a record whose id may still be legible."""


def _unstorable(texts: Sequence[bytes], recovered: Sequence[bool]) -> dict[int, tuple[str, str]]:
    """Row → rule and reason, for each text that jsonb would refuse or that is no object."""
    text = pl.col("text")
    suspect = pl.select(text=_strings(texts)).select(
        text.is_null()
        | ~text.str.starts_with("{")
        | text.str.contains("\\u", literal=True)
        | text.str.contains(r"[eE][+-]?[0-9]{4}")
        | (text.str.len_bytes() > LONG)
        | (text.str.count_matches(r"[\[{]") > DEEPEST)
        | pl.Series(recovered, dtype=pl.Boolean)
    )
    suspects = suspect.to_series().arg_true()
    return {row: why for row in suspects if (why := _why_unstorable(texts[row], is_recovered=recovered[row]))}


def _strings(texts: Sequence[bytes]) -> pl.Series:
    """Texts as strings; null where one is not UTF-8."""
    try:
        return pl.Series(texts, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series([text.decode() if _is_utf8(text) else None for text in texts], dtype=pl.String)


def _why_unstorable(text: bytes, *, is_recovered: bool) -> tuple[str, str] | None:
    if text[:1] != b"{":
        return "not_an_object", "the element is not an object, so it is no record"
    if not _is_utf8(text):
        return "invalid_utf8", "the text is not UTF-8"
    if _NUL.search(text):
        return "nul_character", "the text holds \\u0000, which PostgreSQL cannot store"
    if _depth(text) > DEEPEST:
        return "nested_too_deep", f"brackets are nested deeper than {DEEPEST}"
    if b"\\u" in text and not _decodes(text) and _has_lone_surrogate(text):
        return "lone_surrogate", "the text holds half a surrogate pair, which is no character"
    if not _numbers_fit(text):
        return "number_out_of_range", "a number is beyond what PostgreSQL can store"
    if (is_recovered or b"\\u" in text) and not _decodes(text):
        return "broken_json", "the record's JSON is broken; its neighbours are not"
    return None


def _has_lone_surrogate(text: bytes) -> bool:
    try:
        json.dumps(json.loads(text, parse_int=str), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_storable(text: bytes) -> bool:
    """Whether jsonb takes this text."""
    return _why_unstorable(b"{" + text + b"}", is_recovered=False) is None and _decodes(text)


def _decodes(text: bytes) -> bool:
    try:
        _any.decode(text)
    except msgspec.ValidationError:  # JSON all the same: a whole number of thousands of digits
        return True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _depth(text: bytes) -> int:
    deepest = depth = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text, re.DOTALL):
        if token[0] in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in (b"]", b"}"):
            depth -= 1
    return deepest


def _numbers_fit(text: bytes) -> bool:
    """Whether each number fits `numeric`: 131,072 digits before the point, 16,383 after it."""
    for found in _NUMBER.finditer(text):
        if found[1] is None:
            continue
        try:
            value = decimal.Decimal(found[1].decode())
        except decimal.InvalidOperation:  # an exponent of twenty digits
            return False
        exponent = value.as_tuple().exponent
        if value.adjusted() >= 131_072 or (isinstance(exponent, int) and exponent < -16_383):
            return False
    return True


_ID: Final = re.compile(rb'"id"\s*:\s*"?\s*([+-]?[0-9]{1,19})(?![0-9])')
_WHOLE: Final = re.compile(rb'"?\s*([+-]?[0-9]{1,19})(?:\.0*)?\s*"?')


def _legible_ids(text: bytes) -> list[int]:
    """The ids that a record names where they can be read, whatever else is wrong with it: such a row is in the feed.

    Of ids at several depths (its own, its vehicle's; that of a record in a message) the outermost count; where brackets
    and quotes are not to be trusted, every one.
    """
    if not _reads_loosely(text):
        return [key for whole in _ID.findall(text) if -(2**63) <= (key := int(whole)) < 2**63]
    found: dict[int, list[int]] = {}
    depth = 0
    before: tuple[bytes, bytes] = (b"", b"")
    for match in _TOKEN.finditer(text):
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
    return set(_fields.decode(text)) <= MARKER_KEYS


# --- change messages, unknown fields ---------------------------------------------------------------


def _messages(texts: Sequence[bytes]) -> Mapping[int, _Message]:
    """Row → the change message it is, for the rows that are one."""
    keys = "|".join(OPERATION_KEYS)
    suspects = _strings(texts).str.contains(f'"(?:{keys})"').arg_true()
    return {row: message for row in suspects if (message := _message(texts[row])) is not None}


def _message(text: bytes) -> _Message | None:
    try:
        fields = _fields.decode(text)
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


def _unknown_fields(texts: Sequence[bytes], rules: Rules) -> Mapping[str, tuple[int, str]]:
    known = {alias for names in rules.fields.values() for alias in names} | {ignored.field for ignored in rules.ignore}
    strict = _strict_decoder(frozenset(known))
    found: dict[str, tuple[int, str]] = {}
    for text in texts:
        try:
            strict.decode(text)
        except msgspec.ValidationError:
            for name, value in _fields.decode(text).items():
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


def storable_text(content: bytes) -> str | None:
    """A record's bytes as text that PostgreSQL can hold, or None where they are none."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text

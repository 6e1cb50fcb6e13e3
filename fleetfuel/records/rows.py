"""Pure: the texts of records → typed columns, step by step. No I/O, no clock, no verdict on values.

A record's text is kept to the byte, because that is what is stored and fingerprinted. The typed columns are read from
it to validate and to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from polars._typing import PolarsDataType

from fleetfuel.model.records import Cut, Place, Rows, Unwrapped
from fleetfuel.records.care import REASONS, Why, as_strings, find_plain, find_rejected
from fleetfuel.records.complete import is_marker
from fleetfuel.records.fields import known_names, read_fields, unknown_fields
from fleetfuel.records.ids import legible_ids, why_no_id
from fleetfuel.records.messages import CLEAR_TYPE, Message, find_messages, record_names
from fleetfuel.records.places import FeedTexts
from fleetfuel.records.texts import as_number, fingerprint
from fleetfuel.records.values import BLANKS, UTC_ZONE, integer, read_instants, read_numbers
from fleetfuel.rules.book import Rules
from fleetfuel.rules.fields import COMPUTED, FIELDS, FLAGS, NUMBERS, OF_FILL, READ, TEXTS, TIMES

CHUNK: Final = 40_000
"""Records read into columns at a time: this bounds memory."""


def columns(names: Mapping[str, PolarsDataType]) -> pl.Schema:
    """A schema: column → type."""
    return pl.Schema(names)


INDEX: Final = columns({"file": pl.UInt32, "position": pl.UInt32, "fingerprint": pl.Int128})
"""Where a record lies, and its fingerprint."""

INSTANT: Final = pl.Datetime("us", "UTC")

YES: Final = r"^(?i:true|t|yes|y|1(\.0*)?)$"
YES_OR_NO: Final = r"^(?i:true|t|yes|y|1(\.0*)?|false|f|no|n|0(\.0*)?|)$"
"""What a flag may hold. The database's trigger reads the same texts as yes (`YES`). Anything else is noticed, and means
no."""

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
        **{f"{name}_text": pl.String for name in (*READ, *FLAGS)},
        "file_at": INSTANT,
        "source_at": INSTANT,  # the record's own updated_at if usable, else file_at
        "has_own_time": pl.Boolean,
    }
)
"""Columns of rows that can be stored and keyed."""

REJECTED: Final = columns(
    {"file": pl.UInt32, "position": pl.UInt32, "id": pl.Int64, "rule": pl.String, "reason": pl.String}
)
"""Rejected records, by a rule of the reading (no id, not an object, …) or of validation."""


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


PLACE: Final = ["file", "position"]

LEGIBLE: Final = {reason.code for reason in REASONS if reason.proof} - {"not_an_object"} | {
    *("id_ambiguous", "operation_unknown", "record_missing")
}
"""Rules that reject a record whose id may still be legible."""


def read_rows(index: pl.DataFrame, cuts: Sequence[Cut], rules: Rules, zone: ZoneInfo, seed: int) -> Rows:
    """Read the records that `index` (`INDEX`) names into columns; reject what cannot be stored or keyed.

    Rows are counted within `index`. `odd` holds the few texts that need care, as they lie; `own` what is read instead.
    """
    strings, odd, unstorable = _look(index, cuts, rules)
    messages = find_messages({row: text for row, text in odd.items() if row not in unstorable}, record_names(rules))
    own = odd | dict.fromkeys(unstorable, b"{}") | {row: message.text for row, message in messages.items()}

    fields = read_fields(strings, own, rules)
    ids_outside = {
        row: message.id
        for row, message in messages.items()
        if message.id is not None and fields.item(row, "id") is None
    }
    typed = _typed(_with_ids(fields, ids_outside), index, cuts, messages, rules, zone)

    keyless = {row: own.get(row) or strings[row].encode() for row in typed["id"].is_null().arg_true()}
    markers = {row for row, text in keyless.items() if row not in unstorable and is_marker(text)}
    rejected = dict(unstorable)
    for row in keyless.keys() - rejected.keys() - markers:
        rejected[row] = why_no_id(fields.item(row, "id"))
    rejected |= _ambiguous({row: text for row, text in own.items() if row not in rejected})
    rejected |= {row: message.fault for row, message in messages.items() if message.fault}
    markers -= rejected.keys()

    legible = {row: legible_ids(odd[row] if row in unstorable else own.get(row) or keyless[row]) for row in rejected}
    apart = [*markers | rejected.keys()]
    places = _places(index, {*apart, *messages})
    return Rows(
        typed=typed.filter(~pl.row_index().is_in(apart)) if apart else typed,
        rejected=_rejected(rejected, legible, places),
        legible_ids=sorted({found for ids in legible.values() for found in ids}),
        markers=[places[row] for row in sorted(markers)],
        unwrapped={
            places[row]: Unwrapped(
                text=message.text,
                fingerprint=as_number(fingerprint(message.text + (ids_outside.get(row) or "").encode(), seed)),
            )
            for row, message in messages.items()
        },
        unknown_fields=unknown_fields(own, markers, rules),
    )


def _look(index: pl.DataFrame, cuts: Sequence[Cut], rules: Rules) -> tuple[pl.Series, dict[int, bytes], dict[int, Why]]:
    """The texts as strings (null if not UTF-8); those that need care, by row; and why some cannot be stored."""
    lying = FeedTexts([cut.records for cut in cuts]).take(index["file"], index["position"])
    strings = as_strings(lying)
    recovered = index["file"].is_in([number for number, cut in enumerate(cuts) if cut.is_recovered])
    is_plain = find_plain(strings, known_names(rules)) & ~strings.str.contains(CLEAR_TYPE).fill_null(value=True)
    rows = (~is_plain | recovered).arg_true()
    odd: dict[int, bytes] = dict(zip(rows.to_list(), lying.take(rows.to_arrow()).to_pylist(), strict=True))
    found = find_rejected([*odd.values()], strings.gather(rows), recovered.gather(rows))
    return strings, odd, {rows[number]: why for number, why in found.items()}


def _with_ids(fields: pl.DataFrame, ids_outside: Mapping[int, str]) -> pl.DataFrame:
    """The fields with the ids that only the messages around the records name."""
    if not ids_outside:
        return fields
    outside = pl.Series([ids_outside.get(row) for row in range(fields.height)], dtype=pl.String)
    return fields.with_columns(id=pl.coalesce(pl.col("id"), outside))


def _typed(
    fields: pl.DataFrame,
    index: pl.DataFrame,
    cuts: Sequence[Cut],
    messages: Mapping[int, Message],
    rules: Rules,
    zone: ZoneInfo,
) -> pl.DataFrame:
    """`TYPED`, one row a text, whatever is wrong with it."""
    deletes = {row for row, message in messages.items() if message.is_delete}
    hollow = {row for row, message in messages.items() if not message.carries_record}
    says_something = fields.select(pl.any_horizontal(pl.col(name).is_not_null() for name in OF_FILL)).to_series()
    return (
        index.select(PLACE)
        .hstack(_values(fields, zone))
        .with_columns(
            is_delete=_flags(index.height, deletes),
            carries_values=~_flags(index.height, hollow) & says_something,
            file_at=pl.Series([cut.file_at for cut in cuts], dtype=INSTANT).gather(index["file"]),
        )
        .with_columns(
            is_delete=pl.col("is_delete") | (pl.col("is_deleted") & ~pl.col("carries_values")),
            # The record in a delete message says when it was last changed, not when it was deleted.
            has_own_time=_own_time_is_usable(rules) & ~pl.col("is_delete"),
        )
        .with_columns(source_at=pl.when("has_own_time").then("updated_at").otherwise("file_at"))
        .select(TYPED.names())
    )


def _values(fields: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """The columns of `TYPED` that come from a record's fields, from columns of text."""
    times = {
        field.name: read_instants(
            fields[field.name], zone if field.of_fill else UTC_ZONE, feed=zone, keeps_unknown=field.of_fill
        )
        for field in FIELDS
        if field.kind == "time"
    }
    return (
        fields.select("is_deleted", *TEXTS)
        .with_columns(
            fields.select(integer(pl.col("id"))).to_series(),
            (times["deleted_at"].is_not_null() | fields["is_deleted"].str.strip_chars(BLANKS).str.contains(YES))
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
            *fields.select(
                pl.when(~pl.col(name).str.strip_chars(BLANKS).str.contains(YES_OR_NO)).then(name).alias(f"{name}_text")
                for name in FLAGS
            ),
        )
        .with_columns(price_per_litre_kes=pl.when(pl.col("litres") > 0).then(pl.col("amount_kes") / pl.col("litres")))
    )


def _flags(height: int, rows: set[int]) -> pl.Series:
    return pl.select(pl.int_range(height).is_in(list(rows))).to_series()


def _own_time_is_usable(rules: Rules) -> pl.Expr:
    """Whether `updated_at` is at most `future_source_time_hours` after the file's time: a later one would keep out all
    versions after it."""
    latest = pl.col("file_at") + pl.duration(minutes=round(rules.guards.future_source_time_hours * 60))
    return (pl.col("updated_at") <= latest).fill_null(value=False)


def own_time_is_disbelieved() -> pl.Expr:
    """Over `TYPED`: whether the record has an own time that lies too long after the file's to be used."""
    return pl.col("updated_at").is_not_null() & ~pl.col("has_own_time") & ~pl.col("is_delete")


def _ambiguous(texts: Mapping[int, bytes]) -> Mapping[int, Why]:
    """Row → why, for the texts that name more than one id."""
    ids = {row: dict.fromkeys(legible_ids(text)) for row, text in texts.items() if text.count(b'"id"') > 1}
    return {
        row: ("id_ambiguous", f"the record names more than one id: {', '.join(map(str, found))}")
        for row, found in ids.items()
        if len(found) > 1
    }


def _places(index: pl.DataFrame, rows: set[int]) -> Mapping[int, Place]:
    numbers = [*rows]
    return dict(zip(numbers, index.select(PLACE)[numbers].iter_rows(), strict=True))


def _rejected(
    why: Mapping[int, Why], legible: Mapping[int, Sequence[int]], places: Mapping[int, Place]
) -> pl.DataFrame:
    rows = [
        (*places[row], legible[row][-1] if legible[row] and rule in LEGIBLE else None, rule, reason)
        for row, (rule, reason) in sorted(why.items())
    ]
    return pl.DataFrame(rows, schema=REJECTED, orient="row")

"""Pure: the delivery's records against the table's rows → what has to be written.

Whose word is taken is decided in `evidence`, what several words on one id leave in `fold`; here the outcome is compared
with the row.
"""

from __future__ import annotations

import decimal
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa

from fleetfuel.model import Diff, RowSample, Sample, State
from fleetfuel.plan import fold
from fleetfuel.plan.evidence import Mark, snapshot_lacks
from fleetfuel.printable import shown
from fleetfuel.records.fills import FillNames, tell_fills
from fleetfuel.records.rows import INSTANT, TYPED, columns
from fleetfuel.records.values import EAST_AFRICA
from fleetfuel.rules.book import Rules

_DECIDING: Final = (
    *("file", "position", "id", "is_delete", "carries_values", "is_deleted"),
    *("deleted_at", "source_at", "has_own_time"),
)
CANDIDATES: Final = columns({name: TYPED[name] for name in _DECIDING})
"""What of an accepted record the decision needs, its fingerprint and its file's time apart."""

WRITES: Final = columns(
    {
        "action": pl.String,
        "id": pl.Int64,
        "file": pl.UInt32,  # the file that says so
        "position": pl.UInt32,  # where in it the record's text lies; null where `raw` is left as it is
        "fingerprint": pl.Int128,
        "source_at": INSTANT,
        "change_at": INSTANT,
        "deleted_at": INSTANT,
        "absent_since": INSTANT,
        "changed": pl.List(pl.String),  # names of fields, as the feed calls them
        "before": pl.String,  # JSON text of the row before; null for an insert
        "plate": pl.String,  # of the row before
        "filled_at": INSTANT,
        "seen": pl.Int64,  # tells whether the row is still the one that the plan saw; null for an insert
    }
)
"""Rows to write. Actions: insert, update, restore, soft_delete_flagged, soft_delete_absent; and, without meaning for a
reader of the table, refresh (fingerprint and times of an unchanged row), forget (newer change files are void) and
mark_absent (a deleted row is gone, too)."""

DECISIONS: Final = columns({**WRITES, "said_by": pl.UInt32})
"""`WRITES` with two more actions, unchanged and stale, which write nothing. `said_by` is the file whose version wins;
null for a row that is absent."""

INSERTS: Final = columns(
    {name: WRITES[name] for name in ("id", "file", "position", "fingerprint", "source_at", "change_at")}
)
"""What is to be said of a row that is new, neither deleted nor absent: the other columns of `WRITES` are null."""

TOGETHER: Final = 2_000_000
"""Fingerprints looked up at a time, roughly: the hash table of a join takes more room than both its sides."""

NAMED: Final = 100
"""Changed fields that are named: those that changed in most rows."""

LOOKED_AT: Final = 5_000
"""Updated rows that are looked at for samples."""

QUIET: Final = ("refresh", "forget", "mark_absent")


def match_rows(
    index: pl.DataFrame, state: State, mark: Mark, file_times: Sequence[datetime] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records whose very text the table holds as it stands (`INDEX` with `row`, the place in `state.rows`), and the
    others (`INDEX`).

    Changes come with the times of their files: that a newer file said the same has to be noted, so such a record is
    among the others. A snapshot needs no such note: its mark speaks of every row.
    """
    rows = state.rows.select("fingerprint").with_row_index("row")
    is_sound = state.rows["fingerprint"].is_not_null() & state.rows["is_present"]
    row = _look_up(index["fingerprint"], rows if is_sound.all() else rows.filter(is_sound))
    is_held = row.is_not_null()
    if file_times is not None:
        times = pl.Series(file_times, dtype=INSTANT).gather(index["file"])
        is_noted = (times <= state.rows["change_at"].gather(row)).fill_null(value=False)
        if mark.at is not None:
            is_noted |= times < mark.at - mark.overlap
        is_held &= is_noted
    if is_held.all():
        return index.with_columns(row), index.clear()
    if not is_held.any():
        return index.with_columns(row).clear(), index
    return index.with_columns(row).filter(is_held), index.filter(~is_held)


def match_nothing(index: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What `match_rows` gives if no fingerprint is trusted."""
    return index.clear().with_columns(row=pl.lit(None, dtype=pl.UInt32)), index


def _look_up(fingerprints: pl.Series, rows: pl.DataFrame) -> pl.Series:
    """For each fingerprint, in order, the `row` that has it, or null."""
    looked_up = fingerprints.to_frame()
    found = pl.Series("row", [None], dtype=pl.UInt32).new_from_index(0, looked_up.height)
    if rows.is_empty():  # a first load: not even a table of what there is to look up
        return found
    parts = 1 << (max(looked_up.height, rows.height) // TOGETHER).bit_length()
    if parts == 1:
        return _join(looked_up, rows)
    part = (pl.col("fingerprint") & (parts - 1)).cast(pl.UInt16)
    looked_up, rows = looked_up.with_columns(part=part), rows.with_columns(part=part)
    for number in range(parts):
        asked = looked_up["part"] == number
        met = _join(looked_up.filter(asked).select("fingerprint"), rows.filter(part=number))
        found = found.scatter(asked.arg_true(), met)
    return found


def _join(looked_up: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    found = looked_up.join(rows.select("row", "fingerprint"), on="fingerprint", how="left", maintain_order="left")
    if found.height > looked_up.height:  # a row was copied by hand: of two that are alike, none is taken at its word
        return _join(looked_up, rows.filter(pl.col("fingerprint").is_unique()))
    return found["row"]


def split_repeated(known: pl.DataFrame, accepted_ids: pl.Series, state: State) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`known` without, and only, the records whose id occurs again in the delivery: their order has to be found."""
    again = rows_of(accepted_ids, state).gather(known["row"])
    if rows_met(known, state).sum() < known.height:
        again |= known["row"].is_duplicated()
    return (known.filter(~again), known.filter(again)) if again.any() else (known, known.clear())


def rows_met(known: pl.DataFrame, state: State) -> pl.Series:
    """Whether a row of the table is that of a known record, for each row."""
    return pl.repeat(value=False, n=state.rows.height, eager=True).scatter(known["row"], values=True)


def rows_of(ids: pl.Series, state: State) -> pl.Series:
    """Whether a row of the table has one of these ids, for each row."""
    if ids.is_empty() or state.rows.is_empty():  # no table of all ids for nothing
        return pl.repeat(value=False, n=state.rows.height, eager=True)
    return state.rows["id"].is_in(ids.implode())


def last_words(candidates: pl.DataFrame) -> pl.DataFrame:
    """One row an id of a snapshot, the version that wins: by source time, then file, then position.

    A delete message that wins keeps the values of the newest version before it: `value_file` and `value_position` say
    where those lie (null for a delete message alone).
    """
    carries = fold.carries_values()
    place = {"value_file": "file", "value_position": "position"}
    ordered = candidates if candidates["id"].is_sorted() else candidates.sort("id")
    if not (ordered["id"] == ordered["id"].shift()).any():  # as in nearly every file: nothing to choose from
        has_values = bool(ordered.select(carries.all()).item())
        return ordered.with_columns(
            (pl.col(name) if has_values else pl.when(carries).then(name)).alias(said) for said, name in place.items()
        )
    ordered = candidates.sort("id", "source_at", "file", "position")
    values = ordered.filter(carries).unique("id", keep="last").select("id", **place)
    return ordered.unique("id", keep="last", maintain_order=True).join(
        values, on="id", how="left", maintain_order="left"
    )


def meet_rows(words: pl.DataFrame, details: pl.DataFrame) -> pl.DataFrame:
    """`words` with what the settling needs to know of the row each meets (`state.DETAILS`): see `fold`."""
    met = details.select(
        "id",
        row_own_at="own_at",
        row_change_at="change_at",
        row_deleted_at="deleted_at",
        row_is_absent=pl.col("absent_since").is_not_null(),
        is_met=pl.lit(value=True),
    )
    return words.join(met, on="id", how="left", maintain_order="left").with_columns(
        pl.col("row_is_absent", "is_met").fill_null(value=False)
    )


def compare_rows(settled: pl.DataFrame, details: pl.DataFrame, texts: pa.Array, mark: Mark) -> pl.DataFrame:
    """Decide each settled id (`fold`, with its `fingerprint`) against the row it meets (`state.DETAILS`) → `DECISIONS`.

    `texts` (large binary) holds the text of the values for each id that meets a row; null for a delete message without
    values.

    | word taken | row           | says         | differs           | action                                   |
    |------------|---------------|--------------|-------------------|------------------------------------------|
    | always     | none          | whatever     |                   | insert                                   |
    | no         | whatever      | whatever     | yes               | stale                                    |
    | no         | whatever      | whatever     | no                | unchanged                                |
    | yes        | live          | live         | no                | unchanged, or refresh: its evidence only |
    | yes        | live          | live         | yes               | update                                   |
    | yes        | live          | deleted      | whatever          | soft_delete_flagged                      |
    | yes        | deleted       | deleted      | no                | unchanged or refresh                     |
    | yes        | deleted       | deleted      | yes               | update                                   |
    | yes        | deleted       | live         | whatever          | restore                                  |
    | yes        | absent        | live         | whatever          | restore                                  |
    | yes        | absent        | deleted      | yes, or now there | update                                   |
    | yes        | absent        | deleted      | no, still absent  | unchanged or refresh                     |
    """
    met = settled.join(
        details.select(
            "id",
            *(
                pl.col(name).alias(f"row_{name}")
                for name in ("raw", "fingerprint", "deleted_at", "absent_since", "source_at", "change_at")
            ),
            row_plate="plate",
            row_filled_at="filled_at",
            row_seen="seen",
        ),
        on="id",
        how="left",
        maintain_order="left",
    )
    is_met = met["row_raw"].is_not_null()
    before, after = met["row_raw"].filter(is_met).to_list(), texts.filter(is_met.to_arrow()).to_pylist()
    changed = pa.array(
        [changed_fields(old.encode(), new) if new is not None else [] for old, new in zip(before, after, strict=True)],
        type=pa.list_(pa.string()),
    )
    place = pl.select(pl.when(is_met).then(is_met.cum_sum() - 1)).to_series()

    exists = pl.col("row_raw").is_not_null()
    is_taken = pl.col("is_taken")
    differs = pl.col("changed").list.len() > 0
    was_deleted = pl.col("row_deleted_at").is_not_null()
    was_absent = pl.col("row_absent_since").is_not_null()
    will_delete = pl.col("deleted_at").is_not_null()
    is_back = was_absent & ~pl.col("is_absent")
    was_live = ~was_deleted & ~was_absent
    will_live = ~will_delete & ~pl.col("is_absent")
    stays = ~is_taken | (~differs & (will_delete == was_deleted) & ~is_back)
    is_older = ~is_taken & (differs | (pl.col("says_deleted") != was_deleted))

    writes_raw = ~exists | (is_taken & differs)
    has_value = pl.col("value_position").is_not_null()
    is_sound = ~pl.col("is_delete") & ~pl.col("is_absent")  # else the text alone does not say what the row is
    brings_fingerprint = is_sound & pl.col("fingerprint").ne_missing(pl.col("row_fingerprint"))
    brings_evidence = (
        brings_fingerprint
        | pl.col("change_at").ne_missing(pl.col("row_change_at"))
        | (pl.lit(mark.is_forced) & (pl.col("source_at") != pl.col("row_source_at")))
    )
    action = (
        pl.when(~exists)
        .then(pl.lit("insert"))
        .when(stays & is_older)
        .then(pl.lit("stale"))
        .when(stays & is_taken & brings_evidence)
        .then(pl.lit("refresh"))
        .when(stays)
        .then(pl.lit("unchanged"))
        .when(was_live & will_delete)
        .then(pl.lit("soft_delete_flagged"))
        .when(~was_live & will_live)
        .then(pl.lit("restore"))
        .otherwise(pl.lit("update"))
    )
    is_told = pl.col("is_delete") & (will_delete != was_deleted)
    return (
        met.with_columns(changed=pl.Series(changed.take(place.to_arrow())))
        .with_columns(action=action)
        .select(
            "action",
            "id",
            pl.when(writes_raw & has_value).then("value_file").otherwise("file").alias("file"),
            pl.when(writes_raw).then(pl.when(has_value).then("value_position").otherwise("position")).alias("position"),
            fingerprint=pl.when(is_sound & (is_taken | ~exists)).then("fingerprint"),
            source_at=pl.when(is_taken).then("source_at").otherwise("row_source_at"),
            change_at="change_at",
            deleted_at="deleted_at",
            absent_since=pl.when("is_absent").then(pl.coalesce("row_absent_since", pl.lit(mark.at, dtype=INSTANT))),
            changed=pl.when(exists).then(
                pl.when(is_told).then(pl.col("changed").list.concat(pl.lit(["deleted_at"]))).otherwise("changed")
            ),
            before=pl.col("row_raw"),
            plate=pl.col("row_plate"),
            filled_at=pl.col("row_filled_at"),
            seen=pl.col("row_seen"),
            said_by="file",
        )
        .cast(dict(DECISIONS.items()))
    )


def part_inserts(decided: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`DECISIONS` → the rows that are simply new (`INSERTS`), and what else is written (`WRITES`)."""
    is_new = (pl.col("action") == "insert") & pl.all_horizontal(pl.col("deleted_at", "absent_since").is_null())
    writes = ~pl.col("action").is_in(["unchanged", "stale"])
    return decided.filter(is_new).select(INSERTS.names()), decided.filter(writes & ~is_new).select(WRITES.names())


def batches(diff: Diff, height: int) -> Iterator[pl.DataFrame]:
    """What is written, all of it (`WRITES`), `height` rows at most at a time."""
    for rows in diff.inserts.iter_slices(height):
        yield pl.concat([WRITES.to_frame(), rows], how="diagonal").with_columns(action=pl.lit("insert"))
    yield from diff.others.iter_slices(height)


def find_absent(state: State, known: pl.DataFrame, other_ids: pl.Series) -> pl.Series:
    """Ids of the rows that a complete snapshot does not hold: absent, if they are not newer than it."""
    is_absent = state.rows["is_present"] & ~rows_met(known, state)
    if is_absent.any():
        is_absent &= ~rows_of(other_ids, state)
    return state.rows["id"].filter(is_absent)


def without_unkeyed(details: pl.DataFrame, unkeyed: Sequence[bytes]) -> pl.DataFrame:
    """Rows that a snapshot lacks (`state.DETAILS`), without those whose values a record with a broken id holds: such a
    record is the row, so the row is there."""
    values = {_values(text) for text in unkeyed} - {None}
    if not values:
        return details
    return details.filter(pl.Series([_values(raw.encode()) not in values for raw in details["raw"]], dtype=pl.Boolean))


def _values(text: bytes) -> str | None:
    """What a record says but for its id, equal for equal JSON values; None where it says nothing else."""
    try:
        fields = json.loads(text.decode("utf-8", "replace"), parse_int=decimal.Decimal, parse_float=decimal.Decimal)
        said = {name: value for name, value in fields.items() if name != "id"}
        return json.dumps(said, sort_keys=True, default=lambda number: [str(number.normalize())]) if said else None
    except (ValueError, RecursionError, AttributeError, ArithmeticError):
        return None


def mark_absent(details: pl.DataFrame, snapshot_at: datetime, mark: Mark) -> pl.DataFrame:
    """Rows that the snapshot lacks (`state.DETAILS`) → `DECISIONS` for those whose lack is taken for their absence."""
    return (
        details.filter(snapshot_lacks(snapshot_at, mark))
        .select(
            action=pl.when(pl.col("deleted_at").is_null())
            .then(pl.lit("soft_delete_absent"))
            .otherwise(pl.lit("mark_absent")),
            id="id",
            file=pl.lit(0, dtype=pl.UInt32),
            position=pl.lit(None, dtype=pl.UInt32),
            fingerprint=pl.lit(None, dtype=pl.Int128),
            source_at="source_at",
            change_at=_still_known(snapshot_at),
            deleted_at="deleted_at",
            absent_since=pl.lit(snapshot_at, dtype=INSTANT),
            changed=pl.lit(["absent_since"]),
            before="raw",
            plate="plate",
            filled_at="filled_at",
            seen="seen",
            said_by=pl.lit(None),
        )
        .cast(dict(DECISIONS.items()))
    )


def find_forgotten(state: State, snapshot_at: datetime, decided_ids: pl.Series) -> pl.Series:
    """Ids of the rows of which a restored source says nothing, and of which a change file newer than it did."""
    is_newer = (state.rows["change_at"] > snapshot_at).fill_null(value=False)
    return (
        state.rows["id"].filter(is_newer & ~rows_of(decided_ids, state))
        if is_newer.any()
        else pl.Series(dtype=pl.Int64)
    )


def forget_changes(details: pl.DataFrame, snapshot_at: datetime) -> pl.DataFrame:
    """Rows that keep what they hold (`state.DETAILS`) → `DECISIONS` that make void what newer change files said."""
    return details.select(
        action=pl.lit("forget"),
        id="id",
        file=pl.lit(0, dtype=pl.UInt32),
        position=pl.lit(None, dtype=pl.UInt32),
        fingerprint="fingerprint",
        source_at="source_at",
        change_at=_still_known(snapshot_at),
        deleted_at="deleted_at",
        absent_since="absent_since",
        changed=pl.lit([], dtype=pl.List(pl.String)),
        before="raw",
        plate="plate",
        filled_at="filled_at",
        seen="seen",
        said_by=pl.lit(None),
    ).cast(dict(DECISIONS.items()))


def _still_known(snapshot_at: datetime) -> pl.Expr:
    return pl.when(pl.col("change_at") <= pl.lit(snapshot_at, dtype=INSTANT)).then("change_at")


# --- equality of JSON values, as jsonb sees it --------------------------------------------------------------------

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value: msgspec.json.Decoder[object] = msgspec.json.Decoder(float_hook=decimal.Decimal)


def changed_fields(before: bytes, after: bytes) -> list[str]:
    """Names of the top-level fields in which two JSON objects differ as values: 1.10 is 1.1, order does not count."""
    try:
        old, new = _fields.decode(before), _fields.decode(after)
    except msgspec.ValidationError:  # a row whose raw somebody made something else than an object
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


def changed_columns(writes: pl.DataFrame, rules: Rules) -> Mapping[str, int]:
    """Column → in how many rows it changed, most first; a field the rules do not know goes by its own name."""
    canonical = {alias: field for field, aliases in rules.fields.items() for alias in aliases}
    counted = (
        writes.filter(pl.col("action").is_in(["update", "restore", "soft_delete_flagged"]))
        .select(pl.col("changed").list.eval(pl.element().replace(canonical)).list.unique().explode())
        .drop_nulls()
        .group_by("changed")
        .len()
        .sort("len", "changed", descending=[True, False])
    )
    columns: Counter[str] = Counter()
    for number, (name, rows) in enumerate(counted.iter_rows()):
        columns[shown(name) if number < NAMED or name in rules.fields else "other fields"] += rows
    return dict(columns)


def sample_changes(
    writes: pl.DataFrame, text_of: Callable[[int, int], bytes], rules: Rules, *, each: int = 3, most: int = 8
) -> tuple[Mapping[str, Sequence[Sample]], Counter[tuple[str, str, str]]]:
    """A few changes of each column to show, never of a personal one; and (field, types before, after) → updated rows.

    Looks at the first `LOOKED_AT` updated rows only: a sample says what kind of change it is, not how many.
    """
    canonical = {alias: field for field, aliases in rules.fields.items() for alias in aliases}
    samples: dict[str, list[Sample]] = {}
    flips: Counter[tuple[str, str, str]] = Counter()
    changed = writes.filter((pl.col("action") == "update") & pl.col("position").is_not_null()).head(LOOKED_AT)
    for row in changed.select("id", "file", "position", "changed", "before", "plate", "filled_at").iter_rows(
        named=True
    ):
        try:
            old = _fields.decode(row["before"].encode())
        except msgspec.ValidationError:  # somebody made the row's raw something else than an object
            continue
        new = _fields.decode(text_of(row["file"], row["position"]))
        day = row["filled_at"].astimezone(EAST_AFRICA).date().isoformat() if row["filled_at"] else ""
        for name in row["changed"]:
            before, after = (bytes(side.get(name, b"null")) for side in (old, new))
            types = json_type(before), json_type(after)
            if "null" not in types and types[0] != types[1]:
                flips[name, *types] += 1
            column = canonical.get(name)
            if column is None or column in rules.personal:
                continue
            shown = samples.setdefault(column, []) if len(samples) < most or column in samples else None
            if shown is not None and len(shown) < each:
                about = row["plate"] or f"id {row['id']}"
                shown.append(Sample(before=before.decode(), after=after.decode(), plate=about, day=day))
    return samples, flips


def sample_rows(
    diff: Diff, text_of: Callable[[int, int], bytes], names: FillNames, *, each: int = 3
) -> Mapping[str, Sequence[RowSample]]:
    """`soft_deletes`, `inserts` → the first few of those rows, with the fill that each is of."""
    gone = diff.others.filter(pl.col("action").is_in(["soft_delete_absent", "soft_delete_flagged"])).head(each)
    new = pl.concat([diff.inserts, diff.others.filter(action="insert")], how="diagonal_relaxed").head(each)
    places = new.select("file", "position").iter_rows()
    texts = {
        "soft_deletes": (gone["id"], gone["before"]),
        "inserts": (new["id"], pl.Series([text_of(*place).decode() for place in places], dtype=pl.String)),
    }
    return {name: _told_rows(ids, records, names) for name, (ids, records) in texts.items() if ids.len()}


def _told_rows(ids: pl.Series, records: pl.Series, names: FillNames) -> list[RowSample]:
    fills = tell_fills(records, names).select("plate", "day").iter_rows()
    return [
        RowSample(id=number, plate=plate or "", day=day.isoformat() if day else "")
        for number, (plate, day) in zip(ids, fills, strict=True)
    ]


def json_type(text: bytes) -> str:
    """The JSON type of a value's text, in words."""
    words = {b'"': "text", b"{": "object", b"[": "list", b"t": "truth value", b"f": "truth value", b"n": "null"}
    return words.get(text[:1], "number")

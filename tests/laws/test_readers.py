"""A field's text means the same to the plan and to the database, else the merge would not be what was planned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st
from table import NOON

from fleetfuel.records import envelope, values
from fleetfuel.records.rows import index_records, read_rows

from .quick import File, Quick, examples, source_file

# --- texts, mostly nearly right -----------------------------------------------------------------------------------

DAYS = (
    *("2026-06-11", "2024-02-29", "2026-02-29", "2026-02-30", "1900-02-29", "2000-02-29", "2026-04-31", "2026-13-01"),
    *("0000-00-00", "0001-01-01", "0001-01-02", "9999-12-30", "9999-12-31", "1970-01-01", "1969-12-31", "0999-05-05"),
    *("3000-01-01", "26-06-11", "2026-6-1", "2026-06-00", "1908-05-01", "1928-07-01", "1930-01-04", "1936-12-31"),
    *("1942-07-31", "20260611", "2026/06/11", "\u0662\u0660\u0662\u0666-06-11", "infinity", "now", "epoch", ""),
)
CLOCKS = (
    *("", "00:00", "00:00:00", "03:00", "17:24", "17:24:33", "23:59:59", "24:00", "24:00:00", "23:60", "7:24", "00:15"),
    *("17:24:33.5", "17:24:33.123456", "17:24:33.1234567", "17:24:33.9999995", "23:59:59.9999999", "17:24:33,25"),
    *("17:24:33.0000005", "17:24:33.0000015", "17:24:33.123456789", "17:24:33.1234567891", "17:24:33.", "17:24:60"),
    *("17-24", "17-24-33", "03-00", "24-00", "1724", "172433", "\uff11\uff17:24"),
)
ZONES = (
    *("", "Z", "z", " Z", "  Z", "+00", "+03", "+03:00", "+0300", "-03:00", "+14:00", "+15:00", "+13:59", "+03:60"),
    *(" +03:00", "+3", " UTC", " EAT", "+03:00:00", "-14:00", "Z+3"),
)
BETWEEN = ("T", " ", "-", "t", "  ", "_", "\u00a0", "")
AROUND = ("", "", "", "", " ", "\t", "\n", "\u00a0", "x", "\v")
TIMES = st.builds(
    lambda before, day, between, clock, zone, after: f"{before}{day}{between}{clock}{zone}{after}",
    st.sampled_from(AROUND),
    st.sampled_from(DAYS),
    st.sampled_from(BETWEEN),
    st.sampled_from(CLOCKS),
    st.sampled_from(ZONES),
    st.sampled_from(AROUND),
)
PRICES = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(AROUND),
    st.sampled_from(("", "", "", "KSH ", "KES.", "ksh", "Kshs. ", "KSH:", "$", "/=", "\uff2b\uff25\uff33")),
    st.sampled_from(("", "", "", "-", "+", "--", "\u2212")),
    st.sampled_from(
        (
            *("1", "0", "45", "45,5", "1,234", "12,34", "7 200", "145 230", "1 2 3", "1,234,567", "1 234,567", "007"),
            *("9" * 17, "9" * 18, "9" * 19, "9" * 201, "", "1_000", "0x10", "full", "NaN", "Infinity", "7\u00a0200"),
            *("\u0661", "\uff11", "\u00bd"),
        )
    ),
    st.sampled_from(("", "", "", ".", ".5", ".50", ".5.", ",50", ".000000000000000000001")),
    st.sampled_from(("", "", "", "e2", "E-2", "e99", "e100", "e17", "e18", "e", " e2")),
    st.sampled_from(("", "", "", "/=", "/-", " KSH", "KES.", " L", "%")),
    st.sampled_from(AROUND),
)  # fmt: skip


# --- text for text ------------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(texts=st.lists(TIMES | st.text(max_size=6), min_size=1, max_size=60))
@example(
    texts=["9999-12-31T00:00:00+14:00", "0001-01-02T00:00:00+14", "1970-01-01-03-00", "1970-01-01", "2026-06-11t17:24"]
)
def test_a_time_is_the_same_instant_to_both(quick: Quick, texts: list[str]) -> None:
    texts = [text.replace("\0", "") for text in texts]
    said = _asked(quick, "fuel.read_time(text, 'UTC') as utc, fuel.read_time(text, 'Africa/Nairobi') as eat", texts)
    column = pl.Series("text", texts)
    for name, zone in (("utc", values.UTC_ZONE), ("eat", values.EAST_AFRICA)):
        careful = pl.select(text=column).select(values.instant(pl.col("text"), zone)).to_series().to_list()
        quickly = values.read_instants(column, zone).to_list()
        wanted = [_utc(row[name]) for row in said]
        assert _reported(texts, careful) == _reported(texts, wanted)
        assert _reported(texts, quickly) == _reported(texts, wanted)


@settings(max_examples=examples(60))
@given(texts=st.lists(PRICES | st.text(max_size=6), min_size=1, max_size=60))
def test_a_number_is_the_same_number_to_both(quick: Quick, texts: list[str]) -> None:
    texts = [text.replace("\0", "").strip(values.BLANKS) for text in texts]
    said = [row["number"] for row in _asked(quick, "fuel.read_number(text)::text as number", texts)]
    column = pl.Series("text", texts)
    careful = [
        _as_double(number) for number in pl.select(text=column).select(values.number(pl.col("text"))).to_series()
    ]
    wanted = [_as_double(number) for number in said]
    assert _reported(texts, careful) == _reported(texts, wanted)
    assert _reported(texts, [_as_double(number) for number in values.read_numbers(column)]) == _reported(texts, wanted)


def _as_double(number: str | float | None) -> float | None:
    """The double; none if it is as good as 1e18, from which on numbers are not read: doubles do not tell."""
    return None if number is None or abs(float(number)) > 999_999_999_999_990_000 else float(number)


def _asked(quick: Quick, what: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    return quick.ask(
        f"select {what} from jsonb_array_elements_text($1::text::jsonb) with ordinality as given (text, place)"
        " order by place",
        json.dumps(texts),
    )


def _utc(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" if moment else None


def _reported(texts: Sequence[object], values: Sequence[object]) -> list[tuple[object, object]]:
    shown = [_utc(value) if isinstance(value, datetime) else value for value in values]
    return list(zip(texts, shown, strict=True))


# --- record for record --------------------------------------------------------------------------------------------

FLAGS = (
    *(
        "true",
        "false",
        "null",
        "1",
        "0",
        "1.0",
        "1.00",
        "10e-1",
        "2",
        "-1",
        '"1"',
        '"1.0"',
        '"1.00"',
        '"true"',
        '"TRUE"',
    ),
    *('" t "', '"yes"', '"Y"', '"no"', '""', '"1 "', "[true]", '{"a":1}', '"\\u0074rue"', '"\\u00a01"', "1e0", '"on"'),
)
TIME_VALUES = TIMES.map(json.dumps) | st.sampled_from(
    ("null", "0", "1", "false", "true", "20260611", "1e3", "[]", "{}")
)
IDS = (
    "1",
    '"2"',
    "3.0",
    '" 4 "',
    "5e0",
    "9007199254740993",
    "9007199254740993.0",
    '"9223372036854775807"',
    "-7",
    "70e-1",
)
MEMBERS = (
    st.tuples(st.sampled_from(('"deleted_at"', '"updated_at"', '"d\\u0065leted_at"')), TIME_VALUES)
    | st.tuples(st.just('"is_deleted"'), st.sampled_from(FLAGS))
    | st.tuples(
        st.sampled_from(('"liters"', '"amount"', '"x"')), st.sampled_from(("1", '"1"', "1e400", "1e-7", "1.50"))
    )
)
RECORDS = st.builds(
    lambda key, members: '{"id":' + key + "".join(f",{name}:{value}" for name, value in members) + "}",
    st.sampled_from(IDS),
    st.lists(MEMBERS, max_size=4),
)


@settings(max_examples=examples(80))
@given(records=st.lists(RECORDS, min_size=1, max_size=30))
def test_what_decides_on_a_record_is_read_alike(quick: Quick, records: list[str]) -> None:
    records = [record.replace("\\u0000", "") for record in records]
    content = ("[" + ",".join(records) + "]").encode()
    cut = envelope.cut_file(source_file(File(at=NOON, content=content)), values.EAST_AFRICA)
    rows = read_rows(index_records(cut, 0), [cut], quick.rules, values.EAST_AFRICA, 0)
    said = quick.ask(
        "select round((record ->> 'id')::numeric)::bigint as id, d.deleted_at, d.source_updated_at"
        " from jsonb_array_elements_text($1::text::jsonb) with ordinality as given (text, place)"
        " cross join lateral (select text::jsonb as record) as parsed"
        " cross join lateral fuel.derive(record, $2::text::timestamptz) as d order by place",
        json.dumps(records),
        NOON.isoformat(),
    )
    assert rows.rejected.is_empty()
    here = rows.typed.select(
        "id", "is_deleted", "updated_at", deleted_at=pl.coalesce("deleted_at", pl.when("is_deleted").then("updated_at"))
    ).to_dicts()
    for record, mine, theirs in zip(records, here, said, strict=True):
        assert (record, mine["id"]) == (record, theirs["id"])
        assert (record, mine["is_deleted"]) == (record, theirs["deleted_at"] is not None)
        assert (record, _utc(mine["updated_at"])) == (record, _utc(theirs["source_updated_at"]))
        if mine["deleted_at"]:
            assert (record, _utc(mine["deleted_at"])) == (record, _utc(theirs["deleted_at"]))


@settings(max_examples=examples(25))
@given(records=st.lists(RECORDS, min_size=1, max_size=12))
def test_no_reading_of_a_record_blocks_its_load(quick: Quick, records: list[str]) -> None:
    quick.reset()
    for hour in range(2):
        content = ("[" + ",".join(records[hour:]) + "]").encode()
        quick.apply([File(at=NOON, content=content, key=f"{hour}.json")], "snapshot")
        again = quick.apply([File(at=NOON, content=content, key=f"{hour}.json")], "snapshot")
        assert again.diff.height == 0

"""No record makes a view, a refresh of facts or a change of rules fail: whatever JSON is loaded, every view is read."""

from __future__ import annotations

import json
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from .quick import Quick, examples

NUMBERS: Final = (
    *("0", "1", "-1", "45", "0.01", "1e-9", "1e-8", "1e-99", "-1e-9", "1e17", "999999999999999999", "1e18", "1e131000"),
    *("99999999999999999", f'"99999999999999999.{"0" * 194}1E-99"', '"1E-99"', '".000000001"', '"0.00000001"'),
    *('"9999999999999999.9"', "1e-16383", '"-99999999999999999"', '"1e17"', '"1E-40"', "2147483647", "2147483648"),
    *("9223372036854775807", "2000000", "2000001", "84210", "84650", "85100", "null", '""', '"x"', "true", "[]", "{}"),
    *('"7 200"', '"KSH 7,200/="', '"NaN"', '"Infinity"', "0.0000001", "123456789.123456789123456789"),
)
TIMES: Final = (
    *("2026-06-10-09-30", "2026-06-10-09-31", "2026-06-11-09-30", "2026-06-10", "1970-01-01-03-00", "0001-01-02"),
    *("0001-01-02T00:00:00Z", "9999-12-30T23:59:59Z", "9999-12-30 23:59:59.999999", "9999-12-30-23-59", "0099-01-01"),
    *("2015-01-01", "2999-12-31-00-00", "infinity", "x", ""),
)
TEXTS: Final = (
    *(
        "DIESEL",
        "PETROL",
        "V-POWER",
        "x",
        "",
        "%s",
        "\\",
        "'",
        "{}",
        "\u202e",
        "a" * 3000,
        "a\u0327\u0301" * 400,
        "\x1b[2J",
    ),
)
PLATES: Final = ("KCA 542Q", "KCA 542Q", "KCA 542Q", "UAX 123B", "KMFF 099Z", "GENSET 2", "", "x" * 2000)

number = st.sampled_from(NUMBERS)
time = st.sampled_from(TIMES).map(json.dumps)
text = st.sampled_from(TEXTS).map(json.dumps)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(("a", "id")), inner, max_size=2),
    max_leaves=4,
).map(json.dumps)

FIELDS: Final = {
    "liters": number,
    "amount": number,
    "odometer": number,
    "datetime": time,
    "created_at": time,
    "updated_at": time,
    "deleted_at": st.sampled_from(('""', "null", "null", '"2026-06-10 00:00:00"', "1")),
    "car": st.sampled_from(PLATES).map(json.dumps),
    "driver": text,
    "department": text,
    "type": text,
}
RECORDS: Final = st.fixed_dictionaries(
    {"car": FIELDS["car"]}, optional={name: value | anything for name, value in FIELDS.items() if name != "car"}
).map(lambda fields: "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}")


def plain(**fields: str) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in {"car": '"KCA 542Q"', **fields}.items()) + "}"


OVERFLOWING: Final = [
    plain(
        liters=f'"99999999999999999.{"0" * 194}1E-99"',
        datetime=f'"2026-06-{day}-09-30"',
        odometer=str(80_000 + day * 400),
    )
    for day in range(10, 15)
]
"""Litres of 17 digits and as good as 300 decimal places, five times: their ratios overflowed a float."""

GREAT: Final = [
    plain(liters=litres, amount=amount, datetime=f'"2026-06-{day}-09-30"', odometer=odometer)
    for day, (litres, amount, odometer) in enumerate(
        [
            ("1e-9", "999999999999999999", "1"),
            ('"999999999999999999"', '"1e-9"', "2000000"),
            ("1e-9", "1e-9", "3"),
            ('"999999999999999999"', "999999999999999999", "999999999999999999"),
            ("1e-9", "999999999999999999", "-999999999999999999"),
        ],
        10,
    )
]


@settings(max_examples=examples(40))
@given(records=st.lists(RECORDS, min_size=1, max_size=7))
@example(records=OVERFLOWING)
@example(records=GREAT)
@example(records=[plain(liters=value, amount=other) for value in NUMBERS[:12] for other in NUMBERS[12:20]])
@example(
    records=[plain(odometer=value, datetime=f'"2026-06-{n:02}"', liters="40") for n, value in enumerate(NUMBERS, 1)]
)
@example(records=[plain(datetime=json.dumps(value), created_at=json.dumps(value)) for value in TIMES])
def test_every_view_is_read_whatever_was_loaded(quick: Quick, records: list[str]) -> None:
    quick.reset()
    views = [
        row["view"]
        for row in quick.ask(
            "select format('%I.%I', n.nspname, c.relname) as view from pg_class as c join pg_namespace as n"
            " on n.oid = c.relnamespace where n.nspname in ('fuel', 'reporting') and c.relkind = 'v' order by 1"
        )
    ]
    assert len(views) > 6
    quick.ask(
        "insert into fuel.records (id, raw) select n, r::jsonb"
        " from jsonb_array_elements_text($1::text::jsonb) with ordinality as given (r, n) returning id",
        json.dumps(records),
    )
    for _ in range(2):  # computed as they are read, then stored
        for view in views:
            quick.ask_again(f"select sum(length(v::text)) as length from {view} as v")
        quick.ask("select vehicles from fuel.refresh_fill_facts(1000)")

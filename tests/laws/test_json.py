"""Two readers of JSON, the pipeline's and PostgreSQL's, agree: on what is equal, and on what can be stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from table import NOON

from fleetfuel import errors
from fleetfuel.model.records import Rows
from fleetfuel.plan import same
from fleetfuel.records import envelope, values
from fleetfuel.records.rows import index_records, read_rows

from .quick import File, Quick, examples, source_file

KEYS = ('"a"', '"b"', '"\\u0061"', '"id"', '""', '"\u00e4"')
NUMBERS = (
    *("0", "-0", "0.0", "1", "1.0", "1.10", "1.1", "11e-1", "110E-2", "1e2", "100", "-1", "1e400", "1e-400"),
    *("9007199254740993", "9007199254740992", "9007199254740993.0", "0.1", "0.10000000000000000001"),
)
TEXTS = (
    *('""', '"a"', '"\\u0061"', '"1"', '"\\n"', '"\\u000a"', '"\u00e4"', '"\\u00e4"', '"a\u0308"'),
    *('"\\ud83d\\ude9a"', '"\U0001f69a"', '"\\/"', '"/"', '"\x7f"'),
)
SPACE = st.sampled_from(("", "", "", " ", "\n", "\t \r"))


def _array(items: list[tuple[str, str]]) -> str:
    return "[" + ",".join(f"{space}{item}{space}" for item, space in items) + "]"


def _object(items: list[tuple[str, str, str]]) -> str:
    return "{" + ",".join(f"{key}{space}:{space}{item}" for key, item, space in items) + "}"


SCALARS = st.sampled_from((*NUMBERS, *TEXTS, "true", "false", "null"))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(st.tuples(inner, SPACE), max_size=3).map(_array)
        | st.lists(st.tuples(st.sampled_from(KEYS), inner, SPACE), max_size=3).map(_object)
    ),
    max_leaves=8,
)
PAIRS = st.tuples(VALUES, VALUES) | VALUES.flatmap(lambda text: st.tuples(st.just(text), st.just(respelled(text))))


def respelled(text: str) -> str:
    """The same text read and written by somebody else: often equal, sometimes rounded."""
    return json.dumps(json.loads(text, parse_float=str, parse_int=int), sort_keys=True).replace('"1.1"', "1.1")


@settings(max_examples=examples(60))
@given(pairs=st.lists(PAIRS, min_size=1, max_size=40))
@example(pairs=[("1" * 5000, "1" * 4999 + "1"), ("1" * 5000, "1" * 4999 + "2"), ("1e5000", "1" + "0" * 5000)])
@example(pairs=[("[" * 400 + "1" + "]" * 400, "[" * 400 + "1.0" + "]" * 400)])
def test_values_are_equal_here_exactly_if_jsonb_says_so(quick: Quick, pairs: list[tuple[str, str]]) -> None:
    said = quick.ask(
        "select (pair ->> 0)::jsonb = (pair ->> 1)::jsonb as same"
        " from jsonb_array_elements($1::text::jsonb) with ordinality as given (pair, place) order by place",
        json.dumps(pairs),
    )
    here = [same.same_json(one.encode(), other.encode()) for one, other in pairs]
    assert [(pair, same) for pair, same in zip(pairs, here, strict=True)] == [
        (pair, row["same"]) for pair, row in zip(pairs, said, strict=True)
    ]


FIELDS = st.lists(st.tuples(st.sampled_from(KEYS), SCALARS, SPACE), max_size=4).map(_object)


@settings(max_examples=examples(40))
@given(pairs=st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=40))
def test_the_changed_fields_are_those_that_differ_in_the_database(quick: Quick, pairs: list[tuple[str, str]]) -> None:
    said = quick.ask(
        "select array(select key from jsonb_each((pair ->> 0)::jsonb) old full join jsonb_each((pair ->> 1)::jsonb) new"
        " using (key) where old.value is distinct from new.value) as changed"
        " from jsonb_array_elements($1::text::jsonb) with ordinality as given (pair, place) order by place",
        json.dumps(pairs),
    )
    here = [sorted(same.changed_fields(one.encode(), other.encode())) for one, other in pairs]
    assert here == [sorted(row["changed"]) for row in said]


# --- what can be stored -------------------------------------------------------------------------------------------

ODD_PIECES = (
    *(
        b"\\u0000",
        b"\\\\u0000",
        b"\\\\\\u0000",
        b"\\ud800",
        b"\\udc00",
        b"\\ud83d\\ude9a",
        b"\\ude9a\\ud83d",
        b"\\u00e4",
    ),
    *(b"\\n", b'\\"', b"\\\\", b"\xff", b"\xc3\xa4", b"\xed\xa0\x80", b"\xf0\x9f\x9a\x9a", b"\xc0\x80", b"\x7f"),
    *(b"\xe2\x80\xa8", b"\xef\xbf\xbf", b"a", b"{", b"]"),
)
ODD_TEXTS = st.lists(st.sampled_from(ODD_PIECES), max_size=4).map(lambda pieces: b'"' + b"".join(pieces) + b'"')
DIGITS = (1, 2, 9_999, 10_001, 16_383, 16_384, 131_071, 131_072, 131_073)
EXPONENTS = (*(0, 1, -1, 308, 400, 9_999, -9_999), *(16_383, -16_383, -16_384, 131_071, 131_072, -131_072, 10**25))


def _number(whole: int, part: int, exponent: int) -> bytes:
    after = "." + "0" * (part - 1) + "5" if part else ""
    return f"{'7' * whole}{after}e{exponent}".encode()


ODD_NUMBERS = st.builds(
    _number, st.sampled_from(DIGITS), st.sampled_from((0, 1, 2, 9_999, 16_383, 16_384)), st.sampled_from(EXPONENTS)
)
ODD_NESTS = st.integers(490, 505).map(lambda depth: b"[" * depth + b"]" * depth)
ODD_RECORDS = st.lists(st.tuples(ODD_TEXTS, ODD_TEXTS | ODD_TEXTS | ODD_NUMBERS | ODD_NESTS), max_size=2).map(
    lambda items: b'{"id":1' + b"".join(b"," + name + b":" + value for name, value in items) + b"}"
)

DELIBERATE = {"nested_too_deep", "id_ambiguous"}
"""What jsonb would take and fleetfuel does not."""


@settings(max_examples=examples(60))
@given(records=st.lists(ODD_RECORDS, min_size=1, max_size=12))
@example(records=[b'{"id":1,"a":0e99999}', b'{"id":1,"a":-0e-17000}'])
def test_a_record_is_rejected_exactly_if_jsonb_refuses_it(quick: Quick, records: list[bytes]) -> None:
    try:
        rows = _read(quick, records)
    except errors.BadInput:
        assume(False)
    rejected = dict(rows.rejected.select("position", "rule").iter_rows())
    storable = [
        position
        for position, record in enumerate(records)
        if rejected.get(position) != "invalid_utf8"  # which no statement can carry
    ]
    for position in set(range(len(records))) - set(storable):
        with pytest.raises(UnicodeDecodeError):
            records[position].decode()
    said = quick.ask(
        "select pg_input_is_valid(text, 'jsonb') as taken"
        " from jsonb_array_elements_text($1::text::jsonb) with ordinality as given (text, place) order by place",
        json.dumps([records[position].decode() for position in storable]),
    )
    for position, row in zip(storable, said, strict=True):
        if rejected.get(position) not in DELIBERATE:
            assert (position not in rejected) == row["taken"], (records[position][:300], rejected.get(position))


def _read(quick: Quick, records: list[bytes]) -> Rows:
    content = b"[" + b",".join(records) + b"]"
    cut = envelope.cut_file(source_file(File(at=NOON, content=content)), values.EAST_AFRICA)
    return read_rows(index_records(cut, 0), [cut], quick.rules, values.EAST_AFRICA, 0)


@settings(max_examples=examples(40))
@given(records=st.lists(ODD_RECORDS | FIELDS.map(str.encode), min_size=1, max_size=8))
def test_no_record_fails_the_load_of_another(quick: Quick, records: list[bytes]) -> None:
    quick.reset()
    numbered = [record.replace(b'"id":1', b'"id":%d' % key, 1) for key, record in enumerate(records)]
    content = b'[{"id":1000},' + b",".join(numbered) + b"]"
    file = File(at=NOON, content=content)
    try:
        plan = quick.apply([file], "changes")
    except errors.BadInput:
        return
    assert 1000 in quick.live()
    again = quick.apply([file], "changes")
    assert again.diff.height == 0
    assert again.counts.rejected == plan.counts.rejected

"""Law: a record of a plain shape reads as it does with the close look that it is spared."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from table import NOON

from fleetfuel.model.records import Rows
from fleetfuel.records import envelope, fields, rows, values
from fleetfuel.records.care import find_plain
from fleetfuel.records.rows import index_records, read_rows
from fleetfuel.rules.book import load_rules

from .quick import File, examples, source_file
from .test_json import NUMBERS, SPACE, TEXTS

RULES = load_rules()
NAMES = st.sampled_from(
    (
        *('"id"', '"car"', '"liters"', '"litres"', '"datetime"', '"deleted_at"', '"is_deleted"'),
        *('"op"', '"row"', '"x"', '"i\\u0064"'),
    )
)
VALUES = st.sampled_from(
    (
        *NUMBERS,
        *TEXTS,
        *(
            '"2026-06-11-17-24"',
            '"1,234"',
            '" 7 "',
            '"}, {"',
            '"\\"id\\": 5"',
            '"\x7f"',
            '"id"',
            "12345678901234.5",
            "7E3",
        ),
        *('{"id": 8}', "[]", "true", "false", "null", '"delete"', "1e5", "-0.50"),
    )
)
RECORDS = st.builds(
    lambda pairs: "{" + ",".join(f"{one}{name}{two}:{one}{value}{two}" for name, value, one, two in pairs) + "}",
    st.lists(st.tuples(NAMES, VALUES, SPACE, SPACE), max_size=5),
)


def read(texts: list[str]) -> Rows:
    file = source_file(File(key="k", at=NOON, content=("[" + ",".join(texts) + "]").encode()))
    cut = envelope.cut_file(file, values.EAST_AFRICA)
    return read_rows(index_records(cut, 0), [cut], RULES, values.EAST_AFRICA, 7)


@settings(max_examples=examples(100))
@given(st.lists(RECORDS, min_size=2, max_size=12))
@example(['{"id":1,"car":"KCA 542Q"}', '{"id":2,"car":"KCA 542Q","car":"KDA 717B"}', '{"id":3,"car":"a","car":null}'])
@example(
    ['{"id":1,"car":"a"}', '{"id":2,"car":"\\u0000"}', '{"id":12345678901234567,"car":"a"}', '{"id":2e0,"car":""}']
)
def test_a_plain_record_reads_as_under_a_close_look(texts: list[str]) -> None:
    found = read(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "find_plain", lambda strings, _: pl.repeat(value=False, n=len(strings), eager=True))
        patch.setattr(fields, "ARROW_MOST", 0)  # lines put together the other way
        closely = read(texts)
    assert found.typed.equals(closely.typed), (found.typed, closely.typed)
    assert found.rejected.equals(closely.rejected)
    assert (found.markers, found.unwrapped, found.legible_ids) == (
        closely.markers,
        closely.unwrapped,
        closely.legible_ids,
    )
    assert found.unknown_fields == closely.unknown_fields


def test_records_of_one_shape_are_plain_whatever_shape_that_is_and_others_are_not() -> None:
    names = {"id", "car", "liters"}
    plain = ['{"id":1,"car":"KCA 542Q","liters":40.5}', '{"id": "2", "car": null, "liters": "40.5"}']
    other_shape = ['{"car":"","id":3}', '{"car":"\\n","id":4}']
    odd = [
        '{"id":5,"car":"a","liters":1,"car":"b"}',
        '{"id":5,"car":"a","liters":1e3}',
        '{"id":5,"car":"a","liters":1234567890.123456}',
        '{"id":5,"car":"\\u0041","liters":1}',
        '{"id":5,"car":["a"],"liters":1}',
        '{"id":5,"car":"a","liters":1,"x":1}',
        '{"id":5,"car":\n"a","liters":1}',
        '{"id":5,"car":"a","liters":' + "[" * 100_000,
    ]
    texts = pl.Series([*plain, None, *other_shape, *odd], dtype=pl.String)
    assert find_plain(texts.reverse(), names).any()
    assert find_plain(texts, names).to_list() == [True, True, False, True, True] + [False] * 8

"""Which fill a record is of: the quick reading of a column and the careful one of a record say the same."""

from __future__ import annotations

import json
from datetime import date
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetfuel.records.fills import FILL, fill_names, read_fills
from fleetfuel.rules.book import load_rules

NAMES = fill_names(load_rules(), ZoneInfo("Africa/Nairobi"))


def reported(*texts: str | None) -> list[tuple[object, ...]]:
    return read_fills(pl.Series(texts, dtype=pl.String), NAMES).rows()


@pytest.mark.parametrize(
    ("record", "fill"),
    [
        ({"car": " KCA ", "department": "OSP", "datetime": "2026-06-10-09-30"}, ("KCA", "OSP", date(2026, 6, 10))),
        ({"plate": "KCA 542Q", "date": "2026-06-10T22:30:00Z"}, ("KCA 542Q", None, date(2026, 6, 11))),
        ({"car": "", "vehicle": "KCA", "datetime": "soon"}, ("KCA", None, None)),
        ({"car": 12, "department": {"a": 1}, "datetime": None}, ("12", None, None)),
        ({"car": ["KCA"], "department": True}, (None, None, None)),
        ({"car": "a\nb", "datetime": "1970-01-01T00:00:00Z"}, ("a\nb", None, None)),
        ({}, (None, None, None)),
    ],
)  # fmt: skip
def test_a_fill_is_read_as_written(record: object, fill: tuple[object, ...]) -> None:
    assert reported(json.dumps(record)) == [fill]
    assert reported(json.dumps(record, ensure_ascii=False), "[]") == [fill, (None, None, None)]


def test_of_repeated_keys_the_last_counts_as_in_the_database() -> None:
    assert reported('{"car": "first", "car": "last"}')[0][0] == "last"


def test_what_is_no_object_is_of_no_fill() -> None:
    assert reported(None, "5", "null", "[]", "{", "") == [(None,) * len(FILL)] * 6


TEXT = st.one_of(
    st.none(), st.text(max_size=8), st.integers(0, 99), st.booleans(), st.lists(st.text(max_size=2), max_size=1)
)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["car", "plate", "department", "datetime", "date", "other"]), TEXT), max_size=5
    )
)
def test_quick_and_careful_reading_agree(records: list[dict[str, object]]) -> None:
    texts = [json.dumps(record, ensure_ascii=False) for record in records]
    assert reported(*texts) == reported(*texts, "[]")[:-1]

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from fleetfuel import errors
from fleetfuel.model.files import SourceFile
from fleetfuel.model.records import Cut, Rows
from fleetfuel.records import envelope, values
from fleetfuel.records.json_text import reads_loosely
from fleetfuel.records.places import FeedTexts
from fleetfuel.records.rows import index_records, read_rows
from fleetfuel.rules.book import load_rules

NOON = datetime(2026, 6, 11, 12, tzinfo=UTC)
RULES = load_rules()


def file(content: bytes, key_at: datetime | None = None) -> SourceFile:
    return SourceFile(
        key="latest.json", etag="e", size=len(content), modified_at=NOON, key_at=key_at, content=memoryview(content)
    )


def cut(content: bytes, key_at: datetime | None = None, seed: int = 0) -> Cut:
    return envelope.cut_file(file(content, key_at), values.EAST_AFRICA, seed=seed)


def texts(content: bytes) -> list[bytes]:
    return [bytes(record) for record in cut(content).records]


def cut_list(*records: str) -> Cut:
    return cut(("[" + ",".join(records) + "]").encode())


def rows(*records: str) -> Rows:
    one = cut_list(*records)
    return read_rows(index_records(one, 0), [one], RULES, values.EAST_AFRICA, 0)


def typed(record: str) -> dict[str, object]:
    [row] = rows(record).typed.to_dicts()
    return row


# --- envelopes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b'{"metadata": {"source": "x"}, "records": [{"id": 1.10}, 5]}',
        b'[{"metadata": {"source": "x"}, "records": [{"id": 1.10}, 5]}]',
        b'\xef\xbb\xbf{"records": [ {"id": 1.10} , 5 ]}',
        b'[{"id": 1.10}, 5]',
        b'{"rows": [{"id": 1.10}, 5]}',
        b'{"data": [{"id": 1.10}, 5], "total": 2}',
        b'{"items": [{"id": 1.10}, 5]}',
        b'{"changes": [{"id": 1.10}, 5]}',
    ],
)
def test_the_records_are_cut_to_the_byte_from_any_envelope(content: bytes) -> None:
    assert texts(content) == [b'{"id": 1.10}', b"5"]


def test_an_empty_list_is_a_file_without_records() -> None:
    assert texts(b"[]") == texts(b'{"records": []}') == []


def test_a_lone_marker_is_one_element() -> None:
    assert texts(b'{"success": true}') == [b'{"success": true}']


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (b'{"foo": 1, "bar": 2}', "an object with the fields bar, foo"),
        (b"null", "it holds null"),
        (b'"text"', "it holds a text"),
        (b"5", "it holds a single value"),
        (b'{"records": {"id": 1}}', "an object with the fields records"),
    ],
)
def test_a_wrong_envelope_is_reported_by_its_shape(content: bytes, shape: str) -> None:
    with pytest.raises(errors.WrongEnvelope, match=shape):
        cut(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it ends too early at byte 0 of 0"),
        (b'{"records": [{"id": 1}', "it ends too early at byte 22 of 22"),
        (b"<html>", "at byte 0 of 6"),
        (b'{"records": [}', "at byte 13 of 14"),
    ],
)
def test_what_is_not_json_is_reported_with_its_byte(content: bytes, said: str) -> None:
    with pytest.raises(errors.NotJson, match=said):
        cut(content)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a\xff": 1}'])
def test_what_no_decoder_stands_is_bad_input_too(content: bytes) -> None:
    with pytest.raises(errors.BadInput):
        cut(content)


def test_one_broken_record_does_not_cost_its_neighbours() -> None:
    found = cut(b'{"metadata": {"record_count": 3}, "records": [{"id": 1}, {"id": 2, "x": NaN}, {"id": 3}]}')
    assert found.is_recovered
    assert [bytes(record) for record in found.records] == [b'{"id": 1}', b'{"id": 2, "x": NaN}', b'{"id": 3}']


def test_the_time_of_a_file_is_its_export_time_else_its_keys_else_its_own() -> None:
    key_at = datetime(2026, 6, 11, 9, tzinfo=UTC)
    exported = b'{"metadata": {"exported_at": "2026-06-11T08:00:00.000Z"}, "records": []}'
    assert (cut(exported, key_at).file_at.hour, cut(exported).claims[0][0]) == (8, "metadata")
    assert (cut(b"[]", key_at).file_at, cut(b"[]", key_at).claims[0][0]) == (key_at, "key")
    assert (cut(b"[]").file_at, cut(b"[]").claims[0][0]) == (NOON, "modification time")


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ('"record_count": 7', (7,)),
        ('"total": "7"', (7,)),
        ('"record_count": 7, "total": 8, "count": 7', (7, 8)),
        ('"recordCount": 7, "totalCount": " 8 "', (7, 8)),
        ('"count": 7.0', (7,)),
        ('"count": "7.00"', (7,)),
        ('"TotalRecords": 7', (7,)),
        ('"num_records": 7, "recordsTotal": 8', (8, 7)),
        ('"pagination": {"total": 7, "limit": 5}', (7,)),
        ('"meta": {"count": 7}, "total": 8', (8, 7)),
        ('"summary": {"total": 280000.5, "record_count": 7}', (7,)),
        ('"depot": {"count": 7}', ()),
        ('"count": "1,040"', (1040,)),
        ('"count": "1 040 000"', (1040000,)),
        ('"count": "1\\u202f040"', (1040,)),
        ('"count": null', ()),
        ('"count": ""', ()),
        ('"count": 7, "ratio": NaN', (7,)),
        ('"count": 7, "digest": ' + "1" * 5000, (7,)),
        ('"note": "7"', ()),
        *(
            (f'"count": {value}', None)
            for value in ('"1.040"', '"1,04"', "-1", "7.5", "true", '"²"', '"many"', "[7]", '{"value": 7}', "1" * 5000)
        ),
    ],
)
def test_the_announced_number_of_records_is_read_or_noticed_in_and_next_to_metadata(
    said: str, counts: tuple[int, ...] | None
) -> None:
    """None: no number of records is read, and it is noticed."""
    for text in (f'{{"metadata": {{{said}}}, "records": []}}', f'{{{said}, "records": []}}', f'{{"data": [], {said}}}'):
        found = cut(text.encode())
        assert found.declared == (counts or ())
        assert [remark.split(" has a ")[1].split(":")[0] for remark in found.remarks] == (
            ["count that is no number of records"] if counts is None else []
        )


@pytest.mark.parametrize("metadata", ['"none"', "null", "[]", "7"])
def test_metadata_that_is_no_object_announces_nothing(metadata: str) -> None:
    assert cut(f'{{"metadata": {metadata}, "records": []}}'.encode()).declared == ()


def test_what_is_said_next_to_the_list_is_heard_of_a_file_with_a_broken_record_too() -> None:
    broken = '{"id": 1, "x": NaN}'
    for said in ('"has_more": true', '"ratio": NaN, "has_more": true', '"metadata": {"ratio": NaN, "has_more": true}'):
        for text in (f'{{{said}, "records": [{broken}]}}', f'{{"records": [{broken}], {said}}}'):
            assert cut(text.encode()).partial == "has_more: true", text


@pytest.mark.parametrize(
    "around",
    [
        '"exported_at": "2026-06-11T08:00:00.000Z"',
        '"exported_at": "last night", "generated_at": "2026-06-11T08:00:00Z"',
        '"metadata": {"exported_at": "2026-06-11"}, "generatedAt": "2026-06-11T08:00:00Z"',
        '"metadata": {"exported_at": "2026-06-11T08:00:00Z"}, "exported_at": "2026-06-11T11:00:00Z"',
    ],
)
def test_a_time_of_export_next_to_the_list_is_one(around: str) -> None:
    for text in (f'{{{around}, "records": []}}', f'{{"records": [], {around}}}'):
        found = cut(text.encode())
        assert (found.file_at.hour, found.claims[0][0]) == (8, "metadata")


# --- reading a text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-06-11-17-24", "2026-06-11T14:24:00"),
        ("2026-06-11T17:24:33.000Z", "2026-06-11T17:24:33"),
        ("2026-06-11T17:24:33+03:00", "2026-06-11T14:24:33"),
        ("2026-06-11 17:24:33", "2026-06-11T17:24:33"),
        (" 2026-06-11 17:24 ", "2026-06-11T17:24:00"),
        ("2026-06-11", "2026-06-10T21:00:00"),
        ("2026-06-11 17:24:33.1234567", "2026-06-11T17:24:33.123457"),
    ],
)
def test_a_time_in_each_of_its_spellings(text: str, instant: str) -> None:
    assert values.read_instant(text, ZoneInfo("UTC")) == datetime.fromisoformat(instant).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "0000-00-00 00:00:00", "infinity", "2026-02-30", "2026-06-11 24:00", "1970-01-01-03-00"]
)
def test_what_names_no_instant_is_null(text: str) -> None:
    assert values.read_instant(text, ZoneInfo("UTC")) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("45", 45), ("1,234.50", 1234.5), ("KSH 7 200/=", 7200), (" 45.5 ", 45.5), (".5", 0.5), ("1e3", 1000), ("-3", -3)],
)
def test_a_number_as_people_write_it(text: str, number: float) -> None:
    assert values.read_numbers(pl.Series("x", [text])).to_list() == [number]


@pytest.mark.parametrize("text", ["45,5", "12.89.", "1 2", "1e18", "NaN", "full tank", "", "٤٥"])
def test_what_is_no_number_is_null(text: str) -> None:
    assert values.read_numbers(pl.Series("x", [text])).to_list() == [None]


# --- records ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["123", '"123"', "123.0", '" 123 "', "1.23e2", '"+123"'])
def test_the_id_is_one_whatever_it_is_written_as(written: str) -> None:
    assert typed(f'{{"id": {written}}}')["id"] == 123


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ('{"car": "x"}', "id_missing"),
        ('{"id": ""}', "id_missing"),
        ('{"id": 1.5}', "id_unusable"),
        ('{"id": false}', "id_unusable"),
        ('{"id": 9223372036854775808}', "id_out_of_range"),
        ("7", "not_an_object"),
        ('{"id": 1, "x": "\\u0000"}', "nul_character"),
        ('{"id": 1, "x": "\\udc00"}', "lone_surrogate"),
        ('{"id": 1, "x": 1e200000}', "number_out_of_range"),
    ],
)
def test_what_cannot_be_stored_or_keyed_is_rejected_by_name(record: str, rule: str) -> None:
    found = rows('{"id": 5}', record)
    assert found.typed["id"].to_list() == [5]
    assert found.rejected.select("position", "rule").rows() == [(1, rule)]


def test_the_first_alias_that_holds_something_is_read() -> None:
    row = typed('{"id": 1, "car": " ", "plate": "KCA 542Q", "vehicle": "x", "litres": "40.50", "fuel_type": "Diesel"}')
    assert (row["car"], row["litres"], row["fuel_type"]) == ("KCA 542Q", 40.5, "Diesel")


def test_a_field_keeps_the_text_it_was_read_from() -> None:
    row = typed('{"id": 1, "liters": "45,5", "datetime": "yesterday", "deleted_at": "0000-00-00 00:00:00"}')
    assert (row["litres"], row["litres_text"]) == (None, "45,5")
    assert (row["filled_at"], row["filled_at_text"]) == (None, "yesterday")
    assert (row["deleted_at"], row["deleted_at_text"], row["is_deleted"]) == (None, None, False)


def test_the_source_time_is_the_records_own_unless_that_lies_in_the_future() -> None:
    own, ahead, none = (
        rows(
            '{"id": 1, "updated_at": "2026-06-11 10:00:00"}',
            '{"id": 2, "updated_at": "2036-01-01 00:00:00"}',
            '{"id": 3}',
        )
        .typed.select("source_at", "has_own_time")
        .rows()
    )
    assert own == (datetime(2026, 6, 11, 10, tzinfo=UTC), True)
    assert ahead == none == (NOON, False)


@pytest.mark.parametrize("text", ["{}", '{"success": true}', '{"message": "timeout", "error": {"code": 1}}'])
def test_a_marker_is_no_record(text: str) -> None:
    found = rows(text, '{"id": 1}')
    assert list(found.markers) == [(0, 0)]
    assert (found.typed.height, found.rejected.height) == (1, 0)


def test_a_message_is_unwrapped_and_its_record_fingerprinted_like_a_plain_one() -> None:
    record = json.dumps({"id": 7, "liters": 40})
    texts = [f'{{"op": "update", "row": {record}}}', record]
    found = rows(*texts)
    texts_of = FeedTexts([cut_list(*texts).records], found.unwrapped)
    numbers = texts_of.fingerprints(found.typed["file"], found.typed["position"])
    assert numbers[0] == numbers[1]
    message = found.typed.to_dicts()[0]
    assert (message["id"], message["litres"], message["is_delete"]) == (7, 40, False)


def test_a_delete_message_takes_its_place_in_time_from_its_file() -> None:
    row = typed('{"op": "delete", "before": {"id": 7, "updated_at": "2026-06-01 00:00:00"}}')
    assert (row["id"], row["is_delete"], row["carries_values"]) == (7, True, False)
    assert (row["has_own_time"], row["source_at"]) == (False, NOON)


def test_unknown_fields_are_counted_with_a_sample() -> None:
    found = rows('{"id": 1, "colour": "red"}', '{"id": 2, "colour": "blue", "car": "x"}', "{}")
    assert dict(found.unknown_fields) == {"colour": (2, '"red"')}


def test_a_fingerprint_depends_on_the_text_and_on_the_rules() -> None:
    content = b'[{"id":1},{"id":1},{"id": 1}]'
    first, same, spaced = cut(content, seed=1).records.fingerprints
    assert first == same != spaced
    assert cut(content, seed=2).records.fingerprints[0] != first


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ("[]", True),
        (' {"a": [1, -2.5e3, NaN, "x, [\\"", {}], "b": null} ', True),
        ("7", True),
        ("", False),
        ("[1,]", False),
        ("[,1]", False),
        ("[1 2]", False),
        ('["a" "b"]', False),
        ('{"a" 1}', False),
        ('{"a": 1,}', False),
        ("{1: 2}", False),
        ('{"a": b}', False),
        ("[1}", False),
        ("[] []", False),
        ('["a', False),
    ],
)
def test_a_text_of_any_depth_is_read_as_json_is(text: str, is_json: bool) -> None:
    """The same as by a reader that calls itself, as deep as that cannot go."""
    for deep in (0, 100_000):
        assert reads_loosely(b"[" * deep + text.encode() + b"]" * deep) == is_json or (deep > 0 and not text)

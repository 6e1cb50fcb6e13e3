"""Bad records and bad files, each with a name and with what has to become of it.

In a text, `ROW` is the id of the row of the table that the record stands for, `OTHER` that of a second one, `BEFORE`
that of the healthy record before it in the file, and `REST` the fields of the healthy record
`ROW` that the text does not name itself.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Final, Literal

from table import fill


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRecord:
    """One record between healthy neighbours, in a snapshot of a table that holds `ROW` and `OTHER`."""

    name: str
    text: bytes
    becomes: Literal["accepted", "flagged", "rejected", "marker", "superseded"]
    rules: tuple[str, ...] = ()
    """Flagged: these at least warn of it. Rejected: the one rule."""
    row: str = "ROW"
    """The row that an accepted record is loaded into."""
    keeps: tuple[str, ...] = ()
    """Rejected: the rows that count as present all the same."""
    is_deleted: bool = False
    """Accepted: whether the row is deleted then."""
    breaks_json: bool = False
    """Whether a file that holds it is no JSON, and its records have to be told apart by their brackets."""


def accepted(name: str, text: bytes, row: str = "ROW", *, is_deleted: bool = False) -> BadRecord:
    return BadRecord(name=name, text=text, becomes="accepted", row=row, is_deleted=is_deleted)


def flagged(name: str, text: bytes, *rules: str) -> BadRecord:
    return BadRecord(name=name, text=text, becomes="flagged", rules=rules)


def rejected(name: str, text: bytes, rule: str, *keeps: str) -> BadRecord:
    return BadRecord(name=name, text=text, becomes="rejected", rules=(rule,), keeps=keeps)


def broken(name: str, text: bytes, rule: str = "broken_json", *keeps: str) -> BadRecord:
    keeps = keeps or ("ROW",)
    return BadRecord(name=name, text=text, becomes="rejected", rules=(rule,), keeps=keeps, breaks_json=True)


def marker(name: str, text: bytes) -> BadRecord:
    return BadRecord(name=name, text=text, becomes="marker")


def note(value: bytes) -> bytes:
    """The healthy record with one more field of this text."""
    return b'{"id": ROW, REST, "note": ' + value + b"}"


DEEP: Final = 501
FIVE_MEGABYTES: Final = 5 * 2**20

IDS: Final = (
    accepted("id as a number", b'{"id": ROW, REST}'),
    accepted("id as a text", b'{"id": "ROW", REST}'),
    accepted("id in spaces", b'{"id": "  ROW ", REST}'),
    accepted("id before a line feed", b'{"id": "ROW\\n", REST}'),
    accepted("id with a zero fraction", b'{"id": ROW.0, REST}'),
    accepted("id as a text with a zero fraction", b'{"id": "ROW.00", REST}'),
    accepted("id with a plus", b'{"id": "+ROW", REST}'),
    accepted("id with leading zeros", b'{"id": "000ROW", REST}'),
    accepted("id with an exponent", b'{"id": ROWe0, REST}'),
    accepted("id with its key escaped", b'{"\\u0069d": ROW, REST}'),
    accepted("id minus zero", b'{"id": -0, REST}', "0"),
    accepted("id negative", b'{"id": -ROW, REST}', "-ROW"),
    accepted("id twice, the same", b'{"id": ROW, REST, "id": "ROW"}'),
    rejected("id twice, differing", b'{"id": ROW, REST, "id": OTHER}', "id_ambiguous", "ROW", "OTHER"),
    rejected("id twice, the last null", b'{"id": ROW, REST, "id": null}', "id_missing", "ROW"),
    rejected("id null", b'{"id": null, REST}', "id_missing", "ROW"),
    rejected("id not given", b"{REST}", "id_missing", "ROW"),
    rejected("id not given and values changed", b'{REST, "amount": 1}', "id_missing"),
    rejected("id empty", b'{"id": "", REST}', "id_missing", "ROW"),
    rejected("id blank", b'{"id": "   ", REST}', "id_missing", "ROW"),
    rejected("id a fraction", b'{"id": ROW.5, REST}', "id_unusable", "ROW"),
    rejected("id a fraction beyond a double", b'{"id": ROW12345678901234567.5, REST}', "id_unusable", "ROW"),
    rejected("id with a letter", b'{"id": "ROWa", REST}', "id_unusable", "ROW"),
    rejected("id in hexadecimal", b'{"id": "0xROW", REST}', "id_unusable", "ROW"),
    rejected("id with a thousands comma", b'{"id": "1,000", REST}', "id_unusable", "ROW"),
    rejected("id in full-width digits", '{"id": "１２", REST}'.encode(), "id_unusable", "ROW"),
    rejected("id a word", b'{"id": "twelve", REST}', "id_unusable", "ROW"),
    rejected("id the text NaN", b'{"id": "NaN", REST}', "id_unusable", "ROW"),
    rejected("id true", b'{"id": true, REST}', "id_unusable", "ROW"),
    rejected("id false", b'{"id": false, REST}', "id_unusable", "ROW"),
    rejected("id a list", b'{"id": [ROW], REST}', "id_unusable", "ROW"),
    rejected("id an empty list", b'{"id": [], REST}', "id_unusable", "ROW"),
    rejected("id an object", b'{"id": {"id": ROW}, REST}', "id_unusable", "ROW"),
    rejected("id an empty object", b'{"id": {}, REST}', "id_unusable", "ROW"),
    rejected("id tiny", b'{"id": 1e-5, REST}', "id_unusable", "ROW"),
    rejected("id one beyond bigint", b'{"id": 9223372036854775808, REST}', "id_out_of_range", "ROW"),
    rejected("id one below bigint", b'{"id": "-9223372036854775809", REST}', "id_out_of_range", "ROW"),
    rejected("id of 5,000 digits", b'{"id": ' + b"7" * 5000 + b", REST}", "id_out_of_range", "ROW"),
    rejected("id with an exponent of 400", b'{"id": 1e400, REST}', "id_out_of_range", "ROW"),
    rejected("id with an exponent beyond numeric", b'{"id": 1e200000, REST}', "number_out_of_range", "ROW"),
    rejected("id with a NUL escape", b'{"id": "ROW\\u0000", REST}', "nul_character", "ROW"),
    rejected("id with half a surrogate pair", b'{"id": "ROW\\ud83d", REST}', "lone_surrogate", "ROW"),
    rejected("id with bytes that are no UTF-8", b'{"id": "ROW\xff", REST}', "invalid_utf8", "ROW"),
)

TEXTS: Final = (
    rejected("NUL escape in a value", note(b'"a\\u0000b"'), "nul_character", "ROW"),
    rejected("NUL escape in a key", b'{"id": ROW, REST, "a\\u0000": 1}', "nul_character", "ROW"),
    rejected("NUL escape deep inside", note(b'{"a": [{"b": "\\u0000"}]}'), "nul_character", "ROW"),
    rejected("NUL escape after an escaped backslash", note(b'"\\\\\\u0000"'), "nul_character", "ROW"),
    rejected(
        "NUL escape, the vehicle's id first",
        b'{"vehicle": {"id": OTHER}, "id": ROW, REST, "note": "\\u0000"}',
        "nul_character",
        "ROW",
    ),
    accepted("backslash and the letters u0000", note(b'"\\\\u0000"')),
    rejected("high surrogate alone", note(b'"\\ud83d"'), "lone_surrogate", "ROW"),
    rejected("low surrogate alone", note(b'"\\ude9a"'), "lone_surrogate", "ROW"),
    rejected("surrogates swapped", note(b'"\\ude9a\\ud83d"'), "lone_surrogate", "ROW"),
    rejected("high surrogate before a letter", note(b'"\\ud83dx"'), "lone_surrogate", "ROW"),
    broken("surrogate in a key", b'{"id": ROW, REST, "\\ud800": 1}', "lone_surrogate"),
    accepted("surrogate pair", note(b'"\\ud83d\\ude9a"')),
    rejected("byte FF in a value", note(b'"\xff"'), "invalid_utf8", "ROW"),
    rejected("Latin-1 in a value", note(b'"Andr\xe9"'), "invalid_utf8", "ROW"),
    rejected("UTF-8 cut off in a value", note(b'"\xf0\x9f\x9a"'), "invalid_utf8", "ROW"),
    rejected("UTF-8 too long in a value", note(b'"\xc0\x80"'), "invalid_utf8", "ROW"),
    rejected("surrogate in UTF-8", note(b'"\xed\xa0\x80"'), "invalid_utf8", "ROW"),
    rejected("beyond Unicode in a value", note(b'"\xf5\x80\x80\x80"'), "invalid_utf8", "ROW"),
    broken("byte FF in a key", b'{"id": ROW, REST, "\xff": 1}', "invalid_utf8"),
    accepted("control characters, escaped", note(b'"\\u0001\\b\\f\\n\\r\\t\\u001f"')),
    accepted("DEL and non-characters", note('"\x7f\ufffe\uffff\u2028\u2029"'.encode())),
    accepted("byte order mark in a value", note('"\ufeff"'.encode())),
    accepted("empty key", b'{"id": ROW, REST, "": 1}'),
    accepted("quotes and backslashes", note(b'"\\"\\\\\\"\'`\\/"')),
    accepted("SQL in a value", note(b'"\'); drop table fuel.records; --"')),
    accepted("SQL in a key", b'{"id": ROW, REST, "a\'); drop schema fuel cascade; --": 1}'),
    accepted("formula in a value", note(b'"=HYPERLINK(\\"http://a.invalid\\")"')),
    accepted("placeholders in a value", note(b'"%s %(id)s {0} $1 ${HOME}"')),
    accepted("copy's end mark and null mark", note(b'"\\\\.\\n\\\\N"')),
    accepted("right-to-left and zero-width characters", note('"\u202eKCA\u200b 542Q\u2066"'.encode())),
    accepted("plate of 10,000 letters", b'{"id": ROW, REST, "car": "' + b"K" * 10_000 + b'"}'),
    accepted("text of 5 MB", note(b'"' + b"x" * FIVE_MEGABYTES + b'"')),
    accepted("line feeds between the fields", b'{\n"id"\r\n:\tROW ,\n REST\r}'),
)

NUMBERS: Final = (
    rejected("number of 131,073 digits, short", note(b"1e131072"), "number_out_of_range", "ROW"),
    rejected("number of 131,073 digits, in full", note(b"9" * 131_073), "number_out_of_range", "ROW"),
    rejected("number finer than numeric", note(b"1e-16384"), "number_out_of_range", "ROW"),
    rejected("exponent of twenty digits", note(b"1e99999999999999999999"), "number_out_of_range", "ROW"),
    accepted("number as large as numeric", note(b"1e131071")),
    accepted("number beyond a double", note(b"-1e400")),
    flagged("litres beyond a double", b'{"id": ROW, REST, "liters": 1e400}', "litres_unreadable"),
    flagged(
        "litres twice, the last a word", b'{"id": ROW, REST, "liters": 40, "liters" : "full"}', "litres_unreadable"
    ),
    flagged("litres a word", b'{"id": ROW, REST, "liters": "full tank"}', "litres_unreadable"),
    flagged("litres a list", b'{"id": ROW, REST, "liters": [40]}', "litres_unreadable"),
    flagged("litres true", b'{"id": ROW, REST, "liters": true}', "litres_unreadable"),
    flagged("litres negative", b'{"id": ROW, REST, "liters": -40}', "litres_not_positive"),
    flagged("litres of a lost decimal comma", b'{"id": ROW, REST, "liters": 4550}', "litres_too_many", "price_too_low"),
    flagged("amount minus zero", b'{"id": ROW, REST, "amount": -0}', "amount_not_positive"),
    flagged("amount a price per litre", b'{"id": ROW, REST, "amount": 180}', "price_too_low"),
    flagged(
        "amount in another currency", b'{"id": ROW, REST, "amount": 7200000}', "amount_too_large", "price_too_high"
    ),
    flagged("odometer with doubled digits", b'{"id": ROW, REST, "odometer": 8421084210}', "odometer_out_of_range"),
)

TIMES: Final = (
    accepted("updated in 2099", b'{"id": ROW, REST, "updated_at": "2099-01-01 00:00:00"}'),
    flagged("updated at a word", b'{"id": ROW, REST, "updated_at": "just now"}', "updated_at_unreadable"),
    flagged("created at a list", b'{"id": ROW, REST, "created_at": [1]}', "created_at_unreadable"),
    accepted("deleted at a zero date", b'{"id": ROW, REST, "deleted_at": "0000-00-00 00:00:00"}'),
    accepted("deleted at infinity", b'{"id": ROW, REST, "deleted_at": "infinity"}'),
    accepted("deleted at nothing", b'{"id": ROW, REST, "deleted_at": ""}'),
    accepted("deleted at, twice, the last null", b'{"id": ROW, REST, "deleted_at": "2026-06-01", "deleted_at": null}'),
    accepted("deleted by a flag", b'{"id": ROW, REST, "is_deleted": "Yes"}', is_deleted=True),
    flagged("deleted at a word", b'{"id": ROW, REST, "deleted_at": "gone"}', "deleted_at_unreadable"),
    flagged("filled on no day", b'{"id": ROW, REST, "datetime": "2026-02-30-09-30"}', "filled_at_unreadable"),
    flagged(
        "filled at the producer's unknown", b'{"id": ROW, REST, "datetime": "1970-01-01-03-00"}', "filled_at_unknown"
    ),
    flagged("filled in 2206", b'{"id": ROW, REST, "datetime": "2206-06-10-09-30"}', "filled_at_in_future"),
    flagged("filled in the year 0", b'{"id": ROW, REST, "datetime": "0000-06-10-09-30"}', "filled_at_unreadable"),
    flagged("filled at an object", b'{"id": ROW, REST, "datetime": {"date": "2026-06-10"}}', "filled_at_unreadable"),
)

SHAPES: Final = (
    rejected("null for a record", b"null", "not_an_object"),
    rejected("number for a record", b"ROW", "not_an_object"),
    rejected("text for a record", b'"ROW"', "not_an_object"),
    rejected("truth value for a record", b"true", "not_an_object"),
    rejected("list for a record", b'[ROW, "KCA 542Q", 40]', "not_an_object"),
    rejected("empty list for a record", b"[]", "not_an_object"),
    rejected("record in a list of its own", b'[{"id": ROW, REST}]', "not_an_object", "ROW"),
    rejected("record as a text", b'"{\\"id\\": ROW}"', "not_an_object"),
    rejected("lists nested too deep", note(b"[" * DEEP + b"]" * DEEP), "nested_too_deep", "ROW"),
    rejected("objects nested too deep", note(b'{"a":' * DEEP + b"1" + b"}" * DEEP), "nested_too_deep", "ROW"),
    accepted("lists nested deep", note(b"[" * 490 + b"]" * 490)),
    marker("empty object", b"{}"),
    marker("success marker", b'{"success": true}'),
    marker("marker with a message", b'{"message": "done", "error": null}'),
    flagged("id alone", b'{"id": ROW}', "car_missing", "litres_missing", "amount_missing", "filled_at_missing"),
    flagged("success marker with an id", b'{"id": ROW, "success": true}', "car_missing", "fuel_type_missing"),
    flagged("nothing but unknown fields", b'{"id": ROW, "a": 1, "b": [], "c": {}}', "car_missing", "odometer_missing"),
    flagged("all fields null", b'{"id": ROW, "car": null, "liters": null, "amount": null}', "car_missing"),
    accepted("unknown fuel", b'{"id": ROW, REST, "type": "MOONSHINE"}'),
    accepted("unknown department", b'{"id": ROW, REST, "department": "WIZARDRY"}'),
    BadRecord(
        name="older version of the record before it",
        text=b'{"id": BEFORE, REST, "updated_at": "2026-01-01 00:00:00"}',
        becomes="superseded",
    ),
)

MESSAGES: Final = (
    accepted("message with the row", b'{"op": "update", "id": ROW, "row": {"id": ROW, REST}}'),
    accepted("message whose row lacks its id", b'{"op": "u", "id": "ROW", "after": {REST}}'),
    accepted("message numbered for itself", b'{"op": "u", "id": 991234, "after": {"id": ROW, REST}}'),
    accepted("operation next to the fields", b'{"op": "insert", "id": ROW, REST}'),
    accepted("deletion by key", b'{"op": "delete", "id": ROW}', is_deleted=True),
    rejected("unknown operation", b'{"op": "upsurt", "id": ROW, "row": {"id": ROW, REST}}', "operation_unknown", "ROW"),
    accepted("deletion in the past tense", b'{"action": "Deleted", "id": ROW}', is_deleted=True),
    accepted("soft deletion", b'{"op": " SOFT_DELETE ", "row": {"id": ROW, REST}}', is_deleted=True),
    rejected(
        "update of nothing",
        b'{"op": "update", "id": ROW, "updated_at": "2026-06-11 17:24:33"}',
        "record_missing",
        "ROW",
    ),
    rejected("unknown operation alone", b'{"action": "archive", "id": ROW}', "operation_unknown", "ROW"),
    rejected("operation a number", b'{"op": 1, "row": {"id": ROW, REST}}', "operation_unknown", "ROW"),
    rejected("operation null", b'{"op": null, "id": ROW, "data": {REST}}', "operation_unknown", "ROW"),
    rejected("update without a row", b'{"op": "update", "id": ROW}', "record_missing", "ROW"),
    rejected("update with a null row", b'{"op": "update", "id": ROW, "row": null}', "record_missing", "ROW"),
    rejected("update with a list of rows", b'{"op": "u", "id": ROW, "row": [1]}', "record_missing", "ROW"),
    rejected("insert without anything", b'{"op": "insert"}', "record_missing"),
    rejected("update that knows only what was", b'{"op": "u", "before": {"id": ROW, REST}}', "record_missing", "ROW"),
    rejected("deletion of nobody", b'{"op": "delete"}', "id_missing"),
    rejected("deletion of null", b'{"op": "delete", "id": null}', "id_missing"),
    rejected("deletion of a word", b'{"op": "delete", "id": "all"}', "id_unusable"),
    rejected(
        "message whose row has a NUL",
        b'{"op": "u", "id": ROW, "row": {"id": ROW, "a": "\\u0000"}}',
        "nul_character",
        "ROW",
    ),
)

OTHER_MESSAGES: Final = (
    *(
        accepted(f"message without an operation, {name}", b'{"id": ROW, "%b": {REST}}' % name.encode())
        for name in ("row", "data", "record", "after", "Row", "new", "payload", "fields", "attributes", "doc")
    ),
    accepted(
        "message without an operation, before and after",
        b'{"before": {"id": ROW}, "after": {"id": ROW, REST}}',
    ),
    accepted("item of n8n", b'{"json": {"id": ROW, REST}, "pairedItem": {"item": 0}}'),
    accepted(
        "message in a payload",
        b'{"schema": {"optional": false}, "payload": {"op": "u", "before": null, "after": {"id": ROW, REST}}}',
    ),
    accepted("deletion in a body", b'{"body": {"op": "delete", "id": ROW}}', is_deleted=True),
    *(
        accepted(f"deletion, {text.decode()}", text, is_deleted=True)
        for text in (
            b'{"OP": "delete", "id": ROW}',
            b'{"Operation": "DELETE", "ID": ROW}',
            b'{"__op": "d", "id": ROW}',
            b'{"event": "delete", "id": ROW}',
            b'{"eventName": "REMOVE", "id": ROW}',
            b'{"event_type": "deleted", "id": ROW, "before": {REST}}',
            b'{"type": "DELETE", "id": ROW}',
            b'{"type": "DELETE", "table": "fuel", "schema": "public", "record": null, "old_record": {"id": ROW, REST}}',
            b'{"kind": "delete", "id": ROW, REST}',
            b'{"change": "removed", "id": ROW, "updated_at": "2026-06-11 12:00:00"}',
        )
    ),
    *(
        accepted(f"row, {text.decode()}", text)
        for text in (
            b'{"OP": "update", "id": ROW, "Row": {REST}}',
            b'{"type": "UPDATE", "table": "f", "record": {"id": ROW, "fuel_type": "DIESEL", REST}, "old_record": {}}',
            b'{"type": "insert", "ts": 17, "commit": true, "data": {"id": ROW, "fuel_type": "PMS", REST}, "old": {}}',
            b'{"event": "update", "id": ROW, REST}',
            b'{"eventName": "MODIFY", "newImage": {"id": ROW, REST}}',
        )
    ),
    *(
        rejected(f"not agreed on, {text.decode()}", text, "operation_unknown", "ROW")
        for text in (
            b'{"OP": "purge", "id": ROW}',
            b'{"OP": "purge", "ID": ROW}',
            b'{"event": "purged", "id": ROW}',
            b'{"event": "fuel.deleted", "id": ROW, "data": {REST}}',
            b'{"event": {"type": "delete"}, "id": ROW}',
            b'{"method": "PUT", "id": ROW, "body": {REST}}',
            b'{"type": "D", "id": ROW}',
            b'{"type": "delete", "id": ROW, REST}',
            b'{"status": "deleted", "id": ROW}',
            b'{"what": "Removed", "id": ROW, "row": {REST}}',
            b'{"deleted": true, "id": ROW}',
            b'{"_deleted": 1, "id": ROW}',
            b'{"flag": "X", "id": ROW, "row": {REST}}',
            b'{"id": ROW, "something": {REST}}',
            b'{"id": ROW, "something": [{REST}]}',
            b'{"id": ROW, "something": {"within": 1}, "what": {"amount": 1}}',
            b'{"op": "update", "event": "delete", "id": ROW, "row": {REST}}',
        )
    ),
    *(
        rejected(f"nothing in it, {text.decode()}", text, "record_missing", "ROW")
        for text in (
            b'{"id": ROW, "row": null}',
            b'{"id": ROW, "row": {}}',
            b'{"id": ROW, "row": {"id": ROW}}',
            b'{"id": ROW, "row": "update"}',
            b'{"id": ROW, "before": {REST}, "after": null}',
            b'{"id": ROW, "old": {REST}}',
            b'{"op": "update", "id": ROW, "row": {}}',
            b'{"op": "insert", "id": ROW, "note": "x"}',
            b'{"op": "insert", "id": ROW, "columns": {REST}}',
            b'{"event": "insert", "id": ROW}',
        )
    ),
    rejected("row in a text", b'{"id": ROW, "row": "{\\"car\\": \\"KCA 542Q\\"}"}', "operation_unknown", "ROW"),
    rejected(
        "row within rows", b'{"op": "update", "id": ROW, "data": {"attributes": {REST}}}', "record_missing", "ROW"
    ),
    *(
        accepted(f"record with {note.decode()}", b'{"id": ROW, REST, %b}' % note)
        for note in (
            b'"event": "refuel"',
            b'"action": "refuel"',
            b'"status": "deleted"',
            b'"before": {"litres": 3}',
            b'"vehicle_id": {"id": OTHER, "plate": "x"}',
            b'"data": {"plate": "x"}',
            b'"kind": "d"',
            b'"deleted": false',
            b'"method": null',
        )
    ),
)

BROKEN: Final = (
    broken("NaN literal", note(b"NaN")),
    broken("NaN literal for the id", b'{"id": NaN, REST}'),
    broken("infinity literal", note(b"-Infinity")),
    broken("undefined literal", note(b"undefined")),
    broken("Python's literals", note(b"None")),
    broken("literal cut off", note(b"tru")),
    broken("single quotes", note(b"'x'")),
    broken("key without quotes", b'{"id": ROW, REST, note: 1}'),
    broken("trailing comma", b'{"id": ROW, REST,}'),
    broken("two commas", b'{"id": ROW,, REST}'),
    broken("no comma", b'{"id": ROW REST}'),
    broken("no colon", b'{"id": ROW, REST, "note" 1}'),
    broken("no value", b'{"id": ROW, REST, "note":}'),
    broken("key alone", b'{"id": ROW, REST, "note"}'),
    broken("two values", note(b"1 2")),
    broken("comment", b'{"id": ROW, /* the plate */ REST}'),
    broken("leading zero", note(b"007")),
    broken("leading plus", note(b"+7")),
    broken("leading point", note(b".7")),
    broken("trailing point", note(b"7.")),
    broken("exponent without digits", note(b"7e")),
    broken("minus alone", note(b"-")),
    broken("hexadecimal", note(b"0x7F")),
    broken("line feed in a text", note(b'"a\nb"')),
    broken("control character in a text", note(b'"\x01"')),
    broken("NUL byte in a text", note(b'"\x00"')),
    broken("escape of a letter", note(b'"\\q"')),
    broken("escape of two digits", note(b'"\\u12"')),
    broken("lists nested 3,000 deep", note(b"[" * 3000 + b"]" * 3000), "nested_too_deep"),
)

RECORDS: Final = (*IDS, *TEXTS, *NUMBERS, *TIMES, *SHAPES, *MESSAGES, *OTHER_MESSAGES, *BROKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFile:
    """One file, read as a snapshot of a table that holds the records of `HEALTHY` and nothing else."""

    name: str
    content: bytes
    says: str = ""
    """What the refusal says (exit 65), as a regular expression; empty if the file is read."""
    guard: str = ""
    """The guard it trips (exit 3)."""


HEALTHY: Final = [fill(key) for key in range(1, 13)]
RECORD_TEXTS: Final = [json.dumps(record).encode() for record in HEALTHY]
LIST: Final = b"[" + b", ".join(RECORD_TEXTS) + b"]"
WHOLE: Final = b'{"metadata": {"record_count": 12}, "records": ' + LIST + b"}"
HALF: Final = b"[" + b", ".join(RECORD_TEXTS[:6]) + b"]"
OTHER_HALF: Final = b"[" + b", ".join(RECORD_TEXTS[6:]) + b"]"


DEEP_LIST: Final = b"[" * 3000 + b"]" * 3000


def announcing(metadata: bytes, records: bytes = LIST) -> bytes:
    return b'{"metadata": ' + metadata + b', "records": ' + records + b"}"


def refused(name: str, content: bytes, says: str) -> BadFile:
    return BadFile(name=name, content=content, says=says)


def guarded(name: str, content: bytes, guard: str) -> BadFile:
    return BadFile(name=name, content=content, guard=guard)


def read(name: str, content: bytes) -> BadFile:
    return BadFile(name=name, content=content)


CUT_AT: Final = {
    "after the first brace": 1,
    "in a key of the envelope": 5,
    "after the metadata's colon": WHOLE.index(b":") + 1,
    "in the metadata": WHOLE.index(b"12"),
    "after the metadata": WHOLE.index(b"}") + 1,
    "before the list": WHOLE.index(b"["),
    "after the list's bracket": WHOLE.index(b"[") + 1,
    "in a key of a record": WHOLE.index(b'"department"') + 4,
    "in a text of a record": WHOLE.index(b"KCA") + 2,
    "in a number of a record": WHOLE.index(b"84210") + 3,
    "after a record": WHOLE.index(b'}, {"id": 7') + 1,
    "after a comma between records": WHOLE.index(b'}, {"id": 7') + 2,
    "after the last record": len(WHOLE) - 2,
    "before the last brace": len(WHOLE) - 1,
}

FILES: Final = (
    refused("nothing at all", b"", "not JSON: it is empty, it ends too early at byte 0 of 0"),
    refused("white space", b" \n\t ", "not JSON: it holds nothing but white space, it ends too early"),
    refused("NUL bytes", b"\0" * 4096, "not JSON: it begins with nothing but NUL bytes at byte 0"),
    refused("null", b"null", "no list of records: it holds null"),
    refused("a truth value", b"true", "no list of records: it holds a single value"),
    refused("a number", b"12", "no list of records: it holds a single value"),
    refused("a text", b'"records"', "no list of records: it holds a text"),
    refused("records null", b'{"records": null}', "no list of records: it holds an object with the fields records"),
    refused("records an object", b'{"records": {}}', "no list of records"),
    refused("records a text", b'{"records": "[]"}', "no list of records"),
    refused("records under an unknown key", b'{"results": ' + LIST + b"}", "no list of records: .*fields results"),
    refused("records in a deeper envelope", b'{"body": ' + WHOLE + b"}", "no list of records: .*fields body"),
    refused("metadata alone", b'{"metadata": {"record_count": 12}}', "no list of records"),
    refused("one record without a list", RECORD_TEXTS[0], "no list of records"),
    refused("a record a line", b"\n".join(RECORD_TEXTS), "not JSON: trailing characters"),
    refused("comma-separated values", b"id,car,liters\n1,KCA 542Q,40\n", "not JSON: invalid character at byte 0"),
    refused("an error page", b"<!doctype html><title>502</title>", "not JSON: it is an HTML page at byte 0"),
    refused(
        "an XML error", b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "not JSON: it is XML at byte 0"
    ),
    refused("gzip's magic and garbage", b"\x1f\x8b\x08\x00garbage garbage garbage", "gzip is damaged"),
    refused("gzip cut off", gzip.compress(WHOLE)[:-20], "gzip is cut off"),
    refused("UTF-16", WHOLE.decode().encode("utf-16"), "not JSON: it is UTF-16, not UTF-8 at byte 0"),
    refused(
        "UTF-16 without its mark", WHOLE.decode().encode("utf-16-be"), "not JSON: it is UTF-16, not UTF-8 at byte 0"
    ),
    refused("one NUL byte", b"\0", "not JSON: it begins with nothing but NUL bytes"),
    refused("an archive", b"PK\3\4" + b"\0" * 64, "not JSON: it is a ZIP archive at byte 0"),
    refused("two byte order marks", b"\xef\xbb\xbf" * 2 + WHOLE, "not JSON"),
    *(refused(f"cut off {where}", WHOLE[:offset], "not JSON: it ends too early") for where, offset in CUT_AT.items()),
    refused("cut off in its middle, then closed", announcing(b"{}", LIST[:-40] + b'"}]'), "not JSON"),
    refused("NUL bytes after it", WHOLE + b"\0" * 512, "not JSON: trailing characters"),
    refused("no last brace", WHOLE[:-1], "not JSON: it ends too early"),
    refused("one brace too many", WHOLE + b"}", "not JSON: trailing characters"),
    refused("one bracket too many", LIST + b"]", "not JSON: trailing characters"),
    refused("a brace lost between records", announcing(b"{}", LIST.replace(b'}, {"id": 7', b', {"id": 7')), "not JSON"),
    refused("a comma lost between records", announcing(b"{}", LIST.replace(b"}, {", b"} {", 1)), "not JSON"),
    refused("a quote lost", announcing(b"{}", LIST.replace(b'Q"', b"Q", 1)), "not JSON"),
    refused(
        "a quote lost in two records, their count announced",
        announcing(b'{"count": 12}', LIST.replace(b'Q"', b"Q", 2)),
        "not JSON",
    ),
    refused("two documents", WHOLE + b"\n" + WHOLE, "not JSON: trailing characters"),
    refused(
        "records twice",
        b'{"records": ' + HALF + b', "records": ' + OTHER_HALF + b"}",
        r"more than one list of records \(records\)",
    ),
    refused(
        "records twice, the last empty", b'{"records": ' + LIST + b', "records": []}', "more than one list of records"
    ),
    refused("records and rows", b'{"records": ' + HALF + b', "rows": ' + OTHER_HALF + b"}", "records and rows"),
    refused(
        "records twice, one of them broken",
        b'{"records": [{"id": 1, "liters": NaN}], "records": ' + LIST + b"}",
        "not JSON",
    ),
    refused(
        "metadata twice",
        b'{"metadata": {"record_count": 12}, "records": ' + LIST + b', "metadata": {"record_count": 6}}',
        "it holds metadata twice",
    ),
    refused(
        "two exports in a list", b"[" + announcing(b"{}", HALF) + b"," + announcing(b"{}") + b"]", "holds 2 exports"
    ),
    refused(
        "metadata nested 3,000 deep", announcing(b'{"note": ' + DEEP_LIST + b"}"), "nested deeper than any record's"
    ),
    refused(
        "a note nested 3,000 deep", b'{"note": ' + DEEP_LIST + b', "records": ' + LIST + b"}", "nested deeper than any"
    ),
    refused(
        "a record nested 3,000 deep, and a brace lost between records",
        announcing(
            b"{}", (LIST[:-1] + b', {"id": 13, "a": ' + DEEP_LIST + b"}]").replace(b'}, {"id": 7', b', {"id": 7')
        ),
        "nested deeper than any record's|not JSON",
    ),
    refused("a bad escape in the envelope", b'{"note": "\\q", "records": ' + LIST + b"}", "not JSON"),
    refused(
        "a chunk lost from the metadata into the first record",
        b'{"metadata": {"exported_' + WHOLE[WHOLE.index(b'"driver"') + 3 :],
        "not JSON",
    ),
    refused("brackets alone", b"[" * 100_000, "nested deeper than any record's|not JSON"),
    refused("byte FF in a key of the envelope", b'{"records\xff": ' + LIST + b"}", "no list of records|not UTF-8"),
    guarded("an empty list", b"[]", "empty_snapshot"),
    guarded("an empty object", b"{}", "empty_snapshot"),
    guarded("an empty list in the envelope", announcing(b"{}", b"[]"), "empty_snapshot"),
    guarded("a success marker", b'{"success": true}', "empty_snapshot"),
    guarded("an error of the exporter", b'[{"message": "timeout", "error": "E"}]', "empty_snapshot"),
    guarded("nothing but rejects", b'[{"records": {}}, 5, null]', "empty_snapshot"),
    guarded("count too low", announcing(b'{"record_count": 11}'), "count_mismatch"),
    guarded("count too high", announcing(b'{"record_count": 13}'), "count_mismatch"),
    guarded("count too high, as a text", announcing(b'{"total": " 13 "}'), "count_mismatch"),
    guarded("half of its records", announcing(b"{}", HALF), "max_deletes"),
    guarded("all of its records in a record", b'[{"id": 1, "items": {"records": ' + LIST + b"}}]", "max_deletes"),
    read("count as a text", announcing(b'{"count": "12"}')),
    read("count absurd, the total right", announcing(b'{"record_count": "many", "total": 12}')),
    read("count negative", announcing(b'{"record_count": -12}')),
    read("count a fraction", announcing(b'{"record_count": 12.5}')),
    read("count of twenty digits", announcing(b'{"record_count": 12000000000000000000}')),
    read("metadata a list", announcing(b"[1, 2]")),
    read("metadata a text", announcing(b'"nightly"')),
    read("metadata null", announcing(b"null")),
    read("metadata with bytes that are no UTF-8", announcing(b'{"note": "\xff"}')),
    read("metadata with half a surrogate pair", announcing(b'{"note": "\\ud800"}')),
    read("metadata with a NUL escape", announcing(b'{"note": "\\u0000"}')),
    read("metadata with a number beyond a double", announcing(b'{"size": 1e400, "record_count": 12}')),
    read("exported in 2099", announcing(b'{"exported_at": "2099-01-01T00:00:00Z"}')),
    read("exported at a word", announcing(b'{"exported_at": "last night"}')),
    read("a byte order mark", b"\xef\xbb\xbf" + WHOLE),
    read("the envelope in a list", b"[" + WHOLE + b"]"),
    read("a plain list", LIST),
    read("an empty second list", b'{"records": ' + LIST + b', "changes": []}'),
    read("white space everywhere", b"\n\t " + json.dumps(json.loads(WHOLE), indent=4).encode() + b"\r\n\n"),
    read("a trailing comma after the last record", announcing(b"{}", LIST[:-1] + b",]")),
    read("gzip", gzip.compress(WHOLE)),
)

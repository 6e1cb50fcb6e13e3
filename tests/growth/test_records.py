"""A file that is made to be slow to read is read in time that grows with its size, and in memory that does, too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import pytest

from fleetfuel import errors
from fleetfuel.model.files import SourceFile
from fleetfuel.plan import absent, notices, same
from fleetfuel.printable import one_line, printable, sentence
from fleetfuel.records import envelope, judge, values
from fleetfuel.records.rows import CHUNK, index_records, read_rows
from fleetfuel.rules.book import Rules, load_rules

from .measure import SIZES, grows

RULES: Final = load_rules()

Make = Callable[[int], bytes]


def filled(before: bytes, part: bytes, after: bytes) -> Make:
    """A content of about so many bytes: the part again and again between two others."""
    return lambda size: before + part * (size // len(part)) + after


def field(name: str, part: str) -> Make:
    """One record, one of whose fields is a long text."""
    written = json.dumps(part, ensure_ascii=False)[1:-1].encode()
    return filled(b'[{"id":1,"' + name.encode() + b'":"', written, b'"}]')


MARKS: Final = "a\u0327\u0301"
"""Marks in an order that a normal form has to change: sorting them is quadratic if it is done naively."""

CONTENTS: Final[dict[str, Make]] = {
    "one long string": field("raw_message", "x"),
    "a string of line feeds": field("raw_message", "\n"),
    "a string of quotes": field("raw_message", '"'),
    "a string of backslashes": field("raw_message", "\\"),
    "a string that looks like NULs": field("raw_message", "\\u0000"),
    "half characters": filled(b'[{"id":1,"x":"', b"\\ud800", b'"}]'),
    "escaped characters": filled(b'[{"id":1,"x":"', b"\\u0041", b'"}]'),
    "a string without an end": filled(b'[{"id":1,"x":"', b"x ", b"}]"),
    "quotes": filled(b'[{"id":1,"x":', b'"', b"}]"),
    "a key again and again": filled(b'[{"id":1', b',"car":"KCA 542Q"', b"}]"),
    "two keys in turn": filled(b'[{"id":1', b',"liters":1,"litres":2', b"}]"),
    "an id again and again": filled(b'[{"id":1', b',"id":1', b"}]"),
    "other ids": filled(b'[{"id":1,"x":[', b'{"id":2},', b"1]}]"),
    "blanks before an id": filled(b'[{"id":', b" ", b"1}]"),
    "blanks before a broken id": filled(b'[{"id":', b" ", b"x}]"),
    "blanks after a key": filled(b'[{"id":1,"car"', b" ", b':"x"}]'),
    "an unknown field of great length": filled(b'[{"id":1,"', b"x", b'":1}]'),
    "a long number": filled(b'[{"id":1,"liters":', b"9", b"}]"),
    "a long fraction": filled(b'[{"id":1,"liters":0.', b"0", b"1}]"),
    "a long exponent": filled(b'[{"id":1,"liters":1e', b"0", b"1}]"),
    "great numbers": filled(b'[{"id":1,"x":[', b"1e99999,", b"1]}]"),
    "small numbers": filled(b'[{"id":1,"x":[', b"1e-9999,", b"1]}]"),
    "great numbers in many records": filled(b"[", b'{"id":1,"liters":1e131000,"litres":1e131000},', b"{}]"),
    "brackets": filled(b'[{"id":1,"x":[', b"[],", b"1]}]"),
    "brackets in brackets": filled(b'[{"id":1,"x":', b"[", b"}]"),
    "brackets in brackets, all closed": lambda size: b'[{"id":1,"x":%b%b}]' % (b"[" * (size // 2), b"]" * (size // 2)),
    "braces in braces, all closed": lambda size: (
        b'[{"id":1%b%b}]' % (b',"x":{"y":1' * (size // 11), b"}" * (size // 11))
    ),
    "brackets that close": filled(b'[{"id":1,"x":', b"]", b"}]"),
    "braces and brackets": filled(b'[{"id":1,"x":', b"{[", b"}]"),
    "empty objects": filled(b"[", b"{},", b"{}]"),
    "empty objects without commas": filled(b"[", b"{}", b"]"),
    "commas": filled(b'[{"id":1}', b",", b"]"),
    "blanks between records": filled(b'[{"id":1},', b" ", b'{"id":2}]'),
    "messages": filled(b"[", b'{"op":"update","id":1,"row":{"id":1}},', b"{}]"),
    "a message of many keys": filled(b'[{"op":"update","id":1', b',"row":{"id":1}', b"}]"),
    "lists in an envelope": filled(b"{", b'"records":[{"id":1}],', b'"x":1}'),
    "metadata": filled(b'{"metadata":{"x":"', b"x", b'"},"records":[{"id":1}]}'),
    "nothing but letters": filled(b"", b"x", b""),
    "bytes that are no text": filled(b'[{"id":1,"x":"', b"\xff", b'"}]'),
    **{
        f"{name}: {part[:8]!r}": field(name, part)
        for name in ("car", "driver", "department", "type", "liters", "datetime", "deleted_at", "is_deleted")
        for part in (MARKS, "DEPT ", "A.", "1,", " ", "2026-06-")
    },
}
for number in (b'"key%d":1', b'"\\u006bey%d":1'):
    CONTENTS[f"unknown fields like {number.decode()}"] = lambda size, number=number: (  # type: ignore[misc]
        b'[{"id":1,' + b",".join(number % place for place in range(size // 10)) + b"}]"
    )


def read(content: bytes, rules: Rules = RULES) -> None:
    """What an import does with a file before it asks the database, and what it says of it."""
    file = SourceFile(
        key="file.json",
        etag="x",
        size=len(content),
        modified_at=datetime(2026, 6, 11, 12, tzinfo=UTC),
        key_at=None,
        content=memoryview(content),
    )
    try:
        cut = envelope.cut_file(file, values.EAST_AFRICA)
    except errors.BadInput as error:
        sentence(str(error))
        return
    for index in index_records(cut, 0).iter_slices(CHUNK):
        rows = read_rows(index, [cut], rules, values.EAST_AFRICA, 0)
        judge.validate_rows(rows.typed, rules)
    if not len(cut.records):
        return
    for _ in notices.unknown_fields(
        Counter({name: count for name, (count, _) in rows.unknown_fields.items()}),
        {name: sample for name, (_, sample) in rows.unknown_fields.items()},
    ):
        pass
    text = bytes(content).strip(b"[]")
    try:
        same.changed_fields(b'{"id":1}', text)
        same.same_json(text + b" ", text)
    except ValueError:
        pass
    absent._values(text)


@pytest.mark.parametrize("name", CONTENTS)
def test_reading_a_file_takes_time_that_grows_with_it(name: str) -> None:
    def spend(size: int) -> float:
        content = CONTENTS[name](size)
        began = time.process_time()
        read(content)
        return time.process_time() - began

    read(CONTENTS[name](1_000))
    assert grows(spend) is None


@pytest.mark.parametrize("part", ["x", "\x1b", "\u202e", "\n", " ", "é", "a\u0301", "\U000e0041"])
@pytest.mark.parametrize("function", [printable, one_line, sentence])
def test_making_a_text_printable_takes_time_that_grows_with_it(function: Callable[[str], str], part: str) -> None:
    def spend(size: int) -> float:
        text = part * (size // len(part))
        began = time.process_time()
        function(text)
        return time.process_time() - began

    assert grows(spend) is None


MEMORY: Final = """
import resource, sys
from growth.test_records import CONTENTS, read
read(CONTENTS[sys.argv[1]](1_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read(CONTENTS[sys.argv[1]](int(sys.argv[2])))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("one long string", 4 << 20),
        ("a string of line feeds", 4 << 20),
        ("a string of backslashes", 4 << 20),
        ("great numbers in many records", 84_000),
        ("empty objects", 2 << 20),
    ],
)
def test_reading_a_file_takes_memory_that_grows_with_it(name: str, size: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, name, str(size)], capture_output=True, text=True, check=True, cwd="tests"
    )
    assert int(done.stdout) < 25 * size + (100 << 20)


def test_what_is_measured_would_show_work_that_grows_with_the_square() -> None:
    assert grows(lambda size: (size / 100_000) ** 2) is not None
    assert grows(lambda size: size / 100_000) is None
    assert SIZES[0] * 4 == SIZES[-1]

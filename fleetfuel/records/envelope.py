"""Pure: one file's bytes → the exact texts of its records, whatever the envelope around them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa

from fleetfuel import errors
from fleetfuel.model.files import SourceFile
from fleetfuel.model.records import Cut, TimeOrigin
from fleetfuel.records.broken import recover
from fleetfuel.records.complete import Marker, is_marker, names_marker, read_marker, shows_partial
from fleetfuel.records.export import (
    EXPORT_TIMES,
    LIST_KEYS,
    announced,
    around_list,
    everything,
    is_list_key,
    read_object,
    read_value,
)
from fleetfuel.records.json_text import DEEPEST, TOKEN, depth, json_fields, without_escapes
from fleetfuel.records.texts import Records, cut_list, is_long, records_of, records_within
from fleetfuel.records.values import read_instant
from fleetfuel.side import Pause, no_pause

HEAD: Final = 1 << 16
"""The list of records has to start within so many bytes if it is to be cut piece by piece."""
A_FEW: Final = 16
"""A file with more elements than this is not the answer to a failed request."""
_DATE: Final = re.compile(r"\s*[0-9]{4}-?[0-9]{2}-?[0-9]{2}\s*")
SHORT: Final = 10_000
"""Values of more bytes than this, next to the list of records, are not looked at."""


class _Envelope(msgspec.Struct):
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    rows: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    data: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    items: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    changes: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


_envelope = msgspec.json.Decoder(_Envelope)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_value = msgspec.json.Decoder(msgspec.Raw)


class _Ambiguous(Exception):
    """Which of several lists is the export cannot be known; the message says what was found."""


def cut_file(file: SourceFile, zone: ZoneInfo, seed: int = 0, pause: Pause = no_pause) -> Cut:
    """Cut a file into the texts of its records. Raises `BadInput`, with the offset if it has one.

    `seed` is that of the records' fingerprints. `file_at` is what the file claims first: `times.believe_time` says what
    is believed. `pause` is called between the pieces of a long list.
    """
    content = file.content
    if bytes(content[:3]) == b"\xef\xbb\xbf":
        content = content[3:]
    is_recovered = False
    try:
        metadata, records, around = _cut(content, seed, pause)
    except _Ambiguous as error:
        raise errors.BadInput(key=file.key, reason=str(error)) from None
    except msgspec.ValidationError as error:
        raise errors.WrongEnvelope(key=file.key, shape=f"it holds {_shape(content)} ({error})") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        recovered = recover(content)
        if recovered is None:
            raise _not_json(file, error) from None
        metadata, records, around = recovered[0], records_of(recovered[1], seed), recovered[2]
        is_recovered = True
    if records is None:
        raise errors.WrongEnvelope(key=file.key, shape=f"it holds {_shape(content)}")
    said = read_object(metadata)
    counts = announced(said, around)
    claims: list[tuple[TimeOrigin, datetime | None]] = [
        ("metadata", _export_time(said, zone) or _export_time(around, zone)),
        ("key", file.key_at),
        ("modification time", file.modified_at),
    ]
    claimed = tuple((origin, at) for origin, at in claims if at is not None)
    return Cut(
        file=file,
        file_at=claimed[0][1],
        claims=claimed,
        metadata=metadata.decode("utf-8", "replace"),
        partial=shows_partial(said) or shows_partial(around),
        declared=counts.counts,
        records=records,
        is_recovered=is_recovered,
        remarks=tuple(
            f"{file.key} has a {name} that is no number of records: it is ignored" for name in counts.unclear
        ),
    )


def _export_time(said: Mapping[str, object], zone: ZoneInfo) -> datetime | None:
    """The first of its times that can be read. A date without a time does not count."""
    given = {spelling: value for _, spelling, value, about in reversed(list(everything(said))) if about in ("", "meta")}
    written = (given.get(name) for name in EXPORT_TIMES)
    times = (value for value in written if isinstance(value, str) and not _DATE.fullmatch(value))
    return next((at for value in times if (at := read_instant(value, zone, feed=zone))), None)


def refuse_error_body(cut: Cut) -> None:
    """Raises `BadInput` if a file of changes holds nothing but the exporter's or a proxy's error."""
    if not 0 < len(cut.records) <= A_FEW:
        return
    texts = [bytes(text) for text in cut.records]
    if all(is_marker(text) for text in texts) and Marker.ERROR in map(read_marker, texts):
        raise errors.BadInput(key=cut.file.key, reason="it holds an error message and no record.")


def _not_json(file: SourceFile, error: Exception) -> errors.BadInput:
    if isinstance(error, RecursionError):
        return errors.BadInput(key=file.key, reason="its brackets are nested deeper than any record's")
    if isinstance(error, UnicodeDecodeError):
        return errors.BadInput(key=file.key, reason="the name of a field is not UTF-8")
    found = re.search(r"byte (\d+)", str(error))
    why = (
        "it ends too early" if "truncated" in str(error) else re.sub(r"^JSON is malformed: | \(byte.*", "", str(error))
    )
    offset = int(found[1]) if found else file.size
    return errors.NotJson(
        key=file.key, reason=_other_kind(bytes(file.content[:200])) or why, offset=offset, size=file.size
    )


def _other_kind(head: bytes) -> str | None:
    """What a file is that is not JSON, by its beginning; None if it may be broken JSON."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not text:
        return "it is empty, it ends too early" if not head else "it holds nothing but white space, it ends too early"
    if head.startswith(b"PK\3\4"):
        return "it is a ZIP archive"
    if not head.strip(b"\0"):
        return "it begins with nothing but NUL bytes"
    is_half_nul = len(head) > 1 and not (head[::2].strip(b"\0") and head[1::2].strip(b"\0"))
    if is_half_nul or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16, not UTF-8"
    if text.startswith(b"<"):
        return "it is an HTML page" if b"<html" in text or b"<!doctype html" in text else "it is XML"
    return None


def _cut(content: memoryview, seed: int, pause: Pause) -> tuple[bytes, Records | None, Mapping[str, object]]:
    """Metadata, records (None if there is no list of records), and what else the envelope says of the file."""
    if is_long(content) and (found := _cut_out(content, seed, pause)):
        return found
    metadata, elements, around = _open_envelope(content)
    return metadata, None if elements is None else records_within(content, elements, seed), around


def _cut_out(
    content: memoryview, seed: int, pause: Pause = no_pause
) -> tuple[bytes, Records, Mapping[str, object]] | None:
    """What `_cut` gives, for a long file: its list is cut first, and the text around it is read then.

    None if the list that was cut is not the file's list of records, or if anything is wrong with the file.
    """
    start = _find_list(content)
    if start is None:
        return None
    try:
        records, end = cut_list(content, start, seed, pause)
        around = memoryview(b"".join((content[:start], b"0", content[end:])))
        metadata, elements, said = _open_envelope(around)
    except (ValueError, RecursionError, _Ambiguous):
        return None
    if elements is None or len(elements) != 1:
        return None
    is_that_list = pa.py_buffer(elements[0]).address - pa.py_buffer(around).address == start
    return (metadata, records, said) if is_that_list else None


def _find_list(content: memoryview) -> int | None:
    """Where the elements of the list of records probably start: a list in an envelope, or the file itself."""
    outer: int | None = None
    closers: list[bytes] = []
    before: list[bytes] = []  # the last two tokens
    for found in TOKEN.finditer(without_escapes(content[:HEAD])):
        token = found[0]
        if token == b"[":
            if not closers:
                outer = found.end()
            elif closers in ([b"}"], [b"]", b"}"]) and before[-1] == b":" and is_list_key(before[0]):
                return found.end()
        if token in (b"[", b"{"):
            closers.append(b"]" if token == b"[" else b"}")
        elif token in (b"]", b"}") and (not closers or closers.pop() != token or closers == [b"]"]):
            return outer
        before = [*before[-1:], token]
    return outer


def _open_envelope(content: memoryview) -> tuple[bytes, Sequence[msgspec.Raw] | None, Mapping[str, object]]:
    """Metadata, the elements of the list of records (views on `content`; None if there is no list), and what else
    the envelope says of the file."""
    start = bytes(content[:64]).lstrip()[:1]
    if start == b"[":
        elements = _list.decode(content)
        if len(elements) == 1:
            inner = memoryview(elements[0])
            if bytes(inner[:1]) == b"{" and _list_key(inner) is not None:
                return _open_envelope(inner)
        elif elements and bytes(elements[0])[:1] == b"{" and _list_key(memoryview(elements[0])) is not None:
            raise _Ambiguous(f"it holds {len(elements):,} exports, and which of them is the feed cannot be known")
        return b"null", elements, {}
    envelope = _envelope.decode(content)
    for key in LIST_KEYS:
        found = getattr(envelope, key)
        if found is not msgspec.UNSET:
            _refuse_other_lists(content, found)
            return bytes(envelope.metadata), found, _around(content)
    if names_marker(json_fields.decode(content)):
        return b"null", [_value.decode(content)], {}
    return b"null", None, {}


def _around(content: memoryview) -> Mapping[str, object]:
    """What the envelope says next to its list: short values only. Raises `RecursionError` if it is too deep."""
    try:
        fields = json_fields.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if any(depth(bytes(text)) > DEEPEST for name, text in fields.items() if name not in LIST_KEYS):
        raise RecursionError(f"nested deeper than {DEEPEST}")
    return around_list({name: read_value(text) for name, text in fields.items() if len(memoryview(text)) <= SHORT})


def _refuse_other_lists(content: memoryview, records: Sequence[msgspec.Raw]) -> None:
    """Raises `_Ambiguous` if the text around the records holds another list, or metadata twice: the decoder keeps only
    the last of a repeated key."""
    start = end = 0
    if records:
        origin = pa.py_buffer(content).address
        first, last = pa.py_buffer(records[0]), pa.py_buffer(records[-1])
        start, end = first.address - origin, last.address - origin + last.size
    around = bytes(content[:start]) + bytes(content[end:])
    try:
        pairs = json.loads(around.decode("utf-8", "replace"), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return
    names = [name for name, _ in pairs]
    lists = [name for name, value in pairs if name in LIST_KEYS and isinstance(value, list)]
    full = [name for name, value in pairs if name in lists and value]
    if full or len(lists) != len(set(lists)):
        named = " and ".join(dict.fromkeys(lists))
        raise _Ambiguous(f"it holds more than one list of records ({named}), and which is the feed cannot be known")
    if names.count("metadata") > 1:
        raise _Ambiguous("it holds metadata twice, and which of them is true cannot be known")


def _list_key(content: memoryview) -> str | None:
    fields = json_fields.decode(content)
    return next((key for key in LIST_KEYS if key in fields and bytes(fields[key])[:1] == b"["), None)


def _shape(content: memoryview) -> str:
    """What a file holds, in words, without quoting its values."""
    try:
        fields = json_fields.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        first = bytes(content[:64]).lstrip()[:1]
        return {b"[": "an array", b'"': "a text", b"n": "null"}.get(first, "a single value")
    names = ", ".join(sorted(fields)[:6])
    return f"an object with the fields {names}" if names else "an empty object"

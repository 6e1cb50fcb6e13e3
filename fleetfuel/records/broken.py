"""Pure: a file whose JSON is broken inside some elements of its list → the texts of all elements, by their brackets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from fleetfuel.records.export import LIST_KEYS, announced, around_list, is_list_key, read_object
from fleetfuel.records.json_text import DEEPEST, TOKEN, decodes, depth, reads_loosely, without_escapes

_LIST: Final = re.compile(rb'"(?:%s)"\s*:\s*\[' % "|".join(LIST_KEYS).encode())


def recover(content: memoryview) -> tuple[bytes, Sequence[bytes], Mapping[str, object]] | None:
    """Metadata, elements, and what stands next to their list. None, unless it is certain that the file's JSON is broken
    inside elements only.

    It is certain if all brackets have their partners up to the end, if the text around the list is sound JSON, and if
    no elements can have been joined into one: a quote lost in one record and found in another would swallow those
    between. So either each broken element is JSON to a loose reader (`reads_loosely`), or the file announces exactly as
    many elements as were found.
    """
    spans: list[tuple[int, int]] = []
    metadata = b"null"
    closers: list[bytes] = []
    before: list[bytes] = []  # the last two tokens
    list_depth, start, metadata_start = -1, -1, -1
    opened = closed = 0
    for found in TOKEN.finditer(without_escapes(content)):
        token = found[0]
        if token == b'"' or (not closers and before):
            return None
        if token in (b"]", b"}"):
            if not closers or closers.pop() != token:
                return None
            if len(closers) == list_depth - 1:
                if start >= 0:
                    spans.append((start, found.start()))
                list_depth, start, closed = -2, -1, found.start()
            elif metadata_start >= 0 and len(closers) == 1:
                metadata, metadata_start = bytes(content[metadata_start : found.end()]), -1
        elif list_depth == len(closers) and token == b",":
            spans.append((start, found.start()))
            start = -1
        elif start < 0 <= list_depth and list_depth == len(closers):
            start = found.start()
        if token in (b"[", b"{"):
            is_list = token == b"[" and (not closers or (before[-1:] == [b":"] and is_list_key(before[-2])))
            if token == b"{" and before[-2:] == [b'"metadata"', b":"] and list_depth < 0:
                metadata_start = found.start()
            closers.append(b"]" if token == b"[" else b"}")
            if list_depth == -2 and is_list and len(closers) == 2:
                return None  # a second list of records
            if list_depth == -1 and is_list and len(closers) <= 2:
                list_depth, opened = len(closers), found.end()
        before = [*before[-1:], token]
    if closers or list_depth != -2 or any(start < 0 for start, _ in spans):
        return None
    outside = bytes(content[:opened]) + bytes(content[closed:])
    if depth(outside) > DEEPEST or not reads_loosely(outside):
        return None
    texts = [bytes(content[start:end]).rstrip() for start, end in spans]
    if texts and _LIST.search(texts[0]):  # an envelope in an array
        return recover(memoryview(texts[0])) if len(texts) == 1 else None
    broken = [text for text in texts if not decodes(text)]
    around = around_list(read_object(outside))
    counts = announced(read_object(metadata), around).counts
    if counts != (len(texts),) and not all(reads_loosely(text) for text in broken):
        return None
    return metadata, texts, around

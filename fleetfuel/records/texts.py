"""Pure: the texts of a list's elements, as places in the file's bytes, and their fingerprints.

Most records of a feed are never read: the table holds their fingerprint. So a long list is cut into pieces, its records
are counted and fingerprinted, and where each one lies is found out for the pieces that are asked for.

    bytes    …"records":[{…},{…},{…},│{…},{…},│{…}]…   the file, mapped: nothing of it is copied
    pieces               └ piece 0 ─┘ └ 1 ───┘ └ 2┘     cut where one object ends and the next starts, 1 MiB each
    firsts               0            3        5  6     position of each piece's first record, and of the next to come
    lengths              l0  l1  l2   l3  l4   l5       bytes of each record    ┐ a number a record:
    prints               f0  f1  f2   f3  f4   f5       its fingerprint         ┘ all that most runs need
    bounds               s0e0s1e1s2e2 ? ? ? ?  s5e5     where each starts and ends; `?` until its piece is asked for
    texts                an Arrow array on bytes and bounds: record, what parts it from the next, record, …
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import operator
import re
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa
import xxhash

from fleetfuel.side import Pause, no_pause

PIECE: Final = 1 << 20
"""Bytes cut at a time: they stay in the processor's cache until they are fingerprinted."""

TRIES: Final = 64
"""If so many possible ends of a piece fail, the list cannot be cut piece by piece."""

REACH: Final = 1 << 12
"""Bytes that are searched for an end at a time."""

TOGETHER: Final = 32
"""Pieces whose bounds are computed together."""

MANY: Final = 500
"""The bounds of at least so many records are computed from their lengths; fewer are decoded again."""

JSON_BLANKS: Final = b" \t\n\r"

_list = msgspec.json.Decoder(list[msgspec.Raw])
_BOUNDARY: Final = re.compile(rb"\}\s*,\s*(?=\{)")
_CLOSING: Final = re.compile(rb"\]")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """Whole elements of a list, between two places in the file."""

    start: int
    end: int
    fingerprints: pl.Series
    """Of its elements, as numbers."""
    lengths: pl.Series
    """Bytes of its elements."""


class Records:
    """The exact texts of a file's records, in file order; an index is a record's position."""

    def __init__(self, content: memoryview, pieces: Sequence[_Piece]) -> None:
        """`pieces` of `content`, in their order."""
        self._content = content
        self._pieces = [(piece.start, piece.end) for piece in pieces]
        self._firsts = [0, *itertools.accumulate(len(piece.lengths) for piece in pieces)]
        """Position of each piece's first record, and of the one that would come next."""
        self.fingerprints = pl.concat([_fingerprints([], 0), *(piece.fingerprints for piece in pieces)], rechunk=True)
        """One a record: XXH3-128 of its text, as a number, because numbers are joined in half the time."""
        self._lengths = pl.concat([pl.Series([], dtype=pl.UInt32), *(piece.lengths for piece in pieces)], rechunk=True)
        bounds = pa.allocate_buffer(16 * max(len(self), 1))  # pages that nobody writes to take no memory
        self._bounds = memoryview(bounds).cast("B").cast("q")
        """Where each record starts and where it ends, alternating, in the pieces that were located."""
        self._bounds[0] = self._bounds[-1] = 0
        if len(self):  # Arrow computes the size from the first and the last bound
            self._bounds[0], self._bounds[-1] = pieces[0].start, pieces[-1].end
        self._located: set[int] = set()
        self._locating = threading.Lock()
        # A record, what parts it from the next, a record, …: an array on the file's own bytes.
        height = max(2 * len(self) - 1, 0)
        self._texts = pa.Array.from_buffers(pa.large_binary(), height, [None, bounds, pa.py_buffer(content)])

    def __len__(self) -> int:
        return self._firsts[-1]

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, position: int) -> bytes:
        if not 0 <= position < len(self):
            raise IndexError(position)
        self._locate([bisect.bisect_right(self._firsts, position) - 1])
        return bytes(self._content[self._bounds[2 * position] : self._bounds[2 * position + 1]])

    def take(self, positions: pl.Series) -> pa.Array:
        """The texts at these positions as large binary; null if a position is null."""
        known = positions.drop_nulls().cast(pl.Int64)
        self._locate((pl.Series(self._firsts).search_sorted(known, "right") - 1).unique().to_list())
        return self._texts.take((positions.cast(pl.Int64) * 2).to_arrow())

    def _locate(self, pieces: Iterable[int]) -> None:
        """Find out where the records of these pieces lie."""
        with self._locating:
            for run in _runs(sorted({*pieces} - self._located)):
                if not self._is_even(run):
                    for piece in run:
                        self._find(piece)
                self._located.update(run)

    def _find(self, piece: int) -> None:
        start, end = self._pieces[piece]
        elements, text = _decode(self._content[start:end])
        origin = pa.py_buffer(text).address + 1 - start
        starts = [view.address - origin for view in map(pa.py_buffer, elements)]
        ends = map(operator.add, starts, map(len, elements))
        self._put(range(piece, piece + 1), memoryview(array("q", starts)), memoryview(array("q", ends)))

    def _is_even(self, pieces: range) -> bool:
        """Whether the same separator stands between all records of these pieces; if so, their bounds are now known.

        The bounds are computed from the lengths as if it were so. Then each computed place is checked: a comma between
        blanks has to stand there, and an object has to start after it.
        """
        first, after = self._firsts[pieces.start], self._firsts[pieces.stop]
        if after - first < MANY:
            return False
        start, end = self._pieces[pieces.start][0], self._pieces[pieces.stop - 1][1]
        lengths = self._lengths[first:after].cast(pl.Int64)
        gap, rest = divmod(end - start - lengths.sum(), after - first - 1)
        if rest:
            return False
        ends = (lengths + gap).cum_sum() + (start - gap)
        self._put(pieces, _view(ends - lengths), _view(ends))
        parting = bytes(self._content[start + lengths[0] : start + lengths[0] + gap])
        laid = pl.Series(self._texts.slice(2 * first, 2 * (after - first) - 1))
        return bool(
            parting.strip(JSON_BLANKS) == b","
            and (laid.gather_every(2, 1) == pl.Series([parting])).all()
            and laid.gather_every(2).bin.starts_with(b"{").all()
        )

    def _put(self, pieces: range, starts: memoryview, ends: memoryview) -> None:
        first, after = 2 * self._firsts[pieces.start], 2 * self._firsts[pieces.stop]
        self._bounds[first:after:2] = starts
        self._bounds[first + 1 : after : 2] = ends


def is_long(content: memoryview) -> bool:
    """Whether a file is so long that it is cut piece by piece."""
    return len(content) > PIECE


def cut_list(content: memoryview, start: int, seed: int, pause: Pause = no_pause) -> tuple[Records, int]:
    """Cut the JSON list whose elements begin at `start`: the records, and where its bracket closes.

    Each piece ends where one object ends and the next starts. The decoder proves that this place is between elements of
    the list, and not inside one of them: put between brackets, only whole elements are an array.
    Raises `ValueError` if no piece can be cut: the list is not JSON, or its elements are not objects.
    """
    pieces: list[_Piece] = []
    has_more = True
    while has_more:
        pause()
        has_more = start + PIECE < len(content)
        for end, after in _ends(content, start, start + PIECE) if has_more else _closings(content, start):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                elements, text = _decode(content[start:end])
                if elements:
                    bounds = _bounds(elements, pa.py_buffer(text).address + 1 - start)
                    pieces.append(_piece(*bounds, elements, seed))
                start = after
                break
        else:
            raise ValueError(f"the elements from byte {start} on cannot be separated")
    return Records(content, pieces), start


def records_within(content: memoryview, elements: Sequence[msgspec.Raw], seed: int) -> Records:
    """Records of the elements of one list: views on `content`."""
    if not elements:
        return Records(content, [])
    return Records(content, [_piece(*_bounds(elements, pa.py_buffer(content).address), elements, seed)])


def _bounds(elements: Sequence[msgspec.Raw], origin: int) -> tuple[int, int]:
    """Where the first element starts and the last one ends."""
    first, last = pa.py_buffer(elements[0]), pa.py_buffer(elements[-1])
    return first.address - origin, last.address + last.size - origin


def records_of(texts: Sequence[bytes], seed: int) -> Records:
    """Records of texts that are not part of one list."""
    content = memoryview(b"".join(texts))
    found = Records(content, [_piece(0, len(content), texts, seed)])
    bounds = memoryview(array("q", itertools.accumulate(map(len, texts), initial=0)))
    found._put(range(1), bounds[:-1], bounds[1:])
    found._located.add(0)
    return found


def fingerprint(text: bytes, seed: int) -> bytes:
    """XXH3-128 of a text, seeded with the rules that it is validated under."""
    return xxhash.xxh3_128_digest(text, seed)


def as_number(digest: bytes) -> int:
    """A fingerprint as the number that it is in a column."""
    return int.from_bytes(digest, "little", signed=True)


def as_numbers(fingerprints: pl.Series) -> pl.Series:
    """Fingerprints, each 16 bytes, as numbers."""
    return fingerprints.cast(pl.Binary).bin.reinterpret(dtype=pl.Int128, endianness="little")


def as_bytes(numbers: pl.Series) -> list[bytes | None]:
    """Fingerprints as the 16 bytes that they are."""
    return [None if number is None else number.to_bytes(16, "little", signed=True) for number in numbers.to_list()]


def _fingerprints(texts: Iterable[bytes | msgspec.Raw], seed: int) -> pl.Series:
    digest = xxhash.xxh3_128_digest
    return as_numbers(pl.Series([digest(text, seed) for text in texts], dtype=pl.Binary))


def _piece(start: int, end: int, elements: Sequence[bytes | msgspec.Raw], seed: int) -> _Piece:
    return _Piece(
        start=start,
        end=end,
        fingerprints=_fingerprints(elements, seed),
        lengths=pl.Series([*map(len, elements)], dtype=pl.UInt32),
    )


def _runs(pieces: Sequence[int]) -> Iterator[range]:
    """Ranges of neighbouring pieces among these (sorted), at most `TOGETHER` long."""
    start = 0
    for number, piece in enumerate(pieces, 1):
        if number == len(pieces) or pieces[number] != piece + 1 or number - start == TOGETHER:
            yield range(pieces[start], piece + 1)
            start = number


def _view(numbers: pl.Series) -> memoryview:
    """A view on a column of 64-bit numbers."""
    return memoryview(numbers.to_arrow().buffers()[1]).cast("B").cast("q")


def _decode(elements: memoryview) -> tuple[list[msgspec.Raw], bytes]:
    """Elements of a list, and the text that they are views on."""
    text = b"".join((b"[", elements, b"]"))
    return _list.decode(text), text


def _ends(content: memoryview, start: int, limit: int) -> Iterator[tuple[int, int]]:
    """Where an object ends and where the one after it starts, from `limit` back."""
    tries = TRIES
    while limit > start and tries > 0:
        found = [match.span() for match in _BOUNDARY.finditer(content, max(start, limit - REACH), limit)]
        for first, after in reversed(found):
            yield first + 1, after
        tries -= len(found)
        limit -= REACH


def _closings(content: memoryview, start: int) -> Iterator[tuple[int, int]]:
    """Where brackets close, from the last on."""
    found = [match.start() for match in _CLOSING.finditer(content, start)]
    return ((end, end) for end in reversed(found[-TRIES:]))

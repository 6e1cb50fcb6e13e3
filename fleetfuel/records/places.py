"""Pure: the texts of a run's records, each by its place: the number of its file, and its position in that file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import polars as pl
import pyarrow as pa

from fleetfuel.model.records import Place, Unwrapped
from fleetfuel.records.texts import Records


class Texts(Protocol):
    """Where a plan's texts come from: the files of the feed, a saved report, or the history in the database."""

    def take(self, files: pl.Series, positions: pl.Series) -> pa.Array:
        """The texts of the records at these places as large binary; null if a position is null."""
        ...

    def whole(self, file: int, position: int) -> bytes:
        """What lies at a place, to the byte: the record with the change message around it, if there is one."""
        ...


class FeedTexts:
    """The texts of records in the files of a delivery. Nothing is copied before it is asked for."""

    def __init__(self, files: Sequence[Records], unwrapped: Mapping[Place, Unwrapped] | None = None) -> None:
        """`unwrapped`: the records that lie inside messages."""
        self._files = files
        self._unwrapped = unwrapped or {}

    def whole(self, file: int, position: int) -> bytes:
        return self._files[file][position]

    def text(self, file: int, position: int) -> bytes:
        """The exact text of one record, without the message around it."""
        message = self._unwrapped.get((file, position))
        return message.text if message else self._files[file][position]

    def take(self, files: pl.Series, positions: pl.Series) -> pa.Array:
        if not self._unwrapped and len(file := files.drop_nulls().unique()) == 1:
            return self._files[file[0]].take(positions)
        places = zip(files.to_list(), positions.to_list(), strict=True)
        texts = [None if position is None else self.text(file, position) for file, position in places]
        return pa.array(texts, type=pa.large_binary())

    def fingerprints(self, files: pl.Series, positions: pl.Series) -> pl.Series:
        """The fingerprints of records, as numbers; for a record in a message, that of its own text and id."""
        if not self._unwrapped and len(file := files.unique()) == 1:
            return pl.Series(self._files[file[0]].fingerprints.gather(positions))
        places = zip(files.to_list(), positions.to_list(), strict=True)
        numbers = [
            message.fingerprint
            if (message := self._unwrapped.get(place))
            else self._files[place[0]].fingerprints[place[1]]
            for place in places
        ]
        return pl.Series(numbers, dtype=pl.Int128)


def part_texts(contents: Sequence[bytes]) -> tuple[list[str | None], list[bytes | None]]:
    """Each content as text, if PostgreSQL can hold it as text, else as bytes; the other of the two is None."""
    texts = [_as_text(content) for content in contents]
    return texts, [None if text is not None else content for text, content in zip(texts, contents, strict=True)]


def _as_text(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text

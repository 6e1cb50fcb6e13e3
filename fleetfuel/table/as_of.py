"""READER 2: the table as it was at an instant, from its history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import polars as pl

from fleetfuel import errors
from fleetfuel.model.table import HeldList, State
from fleetfuel.table.database import Database
from fleetfuel.table.frames import as_frame
from fleetfuel.table.standing import Standing, files_read, read_marks, read_standing
from fleetfuel.table.state import DETAILS, LOSABLE_NAMES, OPEN_REJECTS, ROWS, Now, shares


class AsOf(Now):
    """The table as it was at an instant, from its history."""

    def __init__(self, database: Database, instant: datetime) -> None:
        """Raises `NotKept` if the history does not reach back so far, or the instant lies in the future."""
        super().__init__(database)
        self._instant = instant
        kept = database.rows("read_history_kept", instant)[0]
        if kept["is_future"]:
            raise NotKept(instant=f"{instant:%Y-%m-%d %H:%M:%SZ}", reason="it lies in the future")
        if kept["since"] and kept["since"] > instant:
            first = f"the first instant that can be asked for is {kept['since'].isoformat().replace('+00:00', 'Z')}"
            raise NotKept(instant=f"{instant:%Y-%m-%d %H:%M:%SZ}", reason=first)

    def state(self) -> State:
        marks = self.marks()
        return State(
            rows=as_frame(self._database.table("read_rows_as_of", self._instant), ROWS),
            now=self._instant,
            mark=marks.get("snapshot"),
            watermark=marks.get("changes"),
            disbelieved=(),
            open_rejects=as_frame(self._database.table("read_open_rejects_as_of", self._instant), OPEN_REJECTS),
        )

    def marks(self) -> Mapping[str, datetime]:
        """Feed → where it stood: the mark of the snapshots, the watermark of the changes."""
        then = self._database.rows("read_marks_as_of", self._instant)
        if then:
            marks = json.loads(then[0]["marks"] or "{}")
            found = {feed: datetime.fromisoformat(mark["watermark"]) for feed, mark in marks.items()}
        else:
            found = {feed: mark["watermark"] for feed, mark in read_marks(self._database).items() if mark["watermark"]}
        return {feed: at for feed, at in found.items() if at <= self._instant}

    def details(self, ids: Iterable[int]) -> pl.DataFrame:
        wanted = "{" + ",".join(map(str, ids)) + "}"
        if wanted == "{}":
            return DETAILS.to_frame()
        return as_frame(self._database.table("read_details_as_of", self._instant, wanted), DETAILS)

    def column_shares(self) -> Mapping[str, float]:
        return shares(self._database.rows("read_column_shares_as_of", LOSABLE_NAMES, self._instant)[0]["counted"])

    def held_lists(self) -> tuple[HeldList, ...]:
        """Empty: which lists were held then is not known."""
        return ()


class NotKept(errors.FleetfuelError):
    message = """The table as it was at {instant} cannot be shown: {reason}."""
    exit_code = 66


def read_standing_as_of(database: Database, instant: datetime) -> Standing:
    """What a dry run with `--as-of` has to know: the files that had been read then, and the marks of then."""
    now = read_standing(database, with_files=False)
    marks = {feed: {"watermark": at} for feed, at in AsOf(database, instant).marks().items()}
    return replace(now, marks=marks, read=files_read(database.table("read_files_as_of", instant)))

"""Pure: when a file was true. No file is newer than its writing, nor than now, whatever it says of itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fleetfuel.model.records import Cut

WRONG_CLOCK: Final = timedelta(hours=24)
"""A file written this long before the time it claims was written by a store whose clock is wrong: that bounds nothing.
A claim this far in the future is no claim, if there is another."""

WORTH_SAYING: Final = timedelta(minutes=1)
"""Clocks a little apart are everyday, and stores write times in whole seconds."""


def believe_time(cut: Cut, now: datetime) -> Cut:
    """The cut with the time that is believed; `now` is the database's clock.

    Believed is the first claim of metadata, key and modification time, but no time later than the file's writing or
    than now. What was not believed is among the remarks.
    """
    usable = [claim for claim in cut.claims if claim[1] <= now + WRONG_CLOCK]
    origin, claimed = (usable or cut.claims[-1:])[0]
    written = cut.file.modified_at
    believed = min(claimed, now)
    if believed - WRONG_CLOCK <= written < believed:
        believed = written
    remarks = []
    for what, at in cut.claims[: cut.claims.index((origin, claimed)) + 1]:
        if at - believed > WORTH_SAYING:
            remarks.append(
                f"{cut.file.key} counts as of {believed:%Y-%m-%d %H:%M:%SZ}: its {what} says {at:%Y-%m-%d %H:%M:%SZ}, "
                f"and it {'was written before that' if believed == written else 'cannot be newer than now'}"
            )
            break
    return replace(cut, file_at=believed, remarks=(*cut.remarks, *remarks))

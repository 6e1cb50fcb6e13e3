"""Pure: when a file was true. No file is newer than its modification time, or than now, whatever it says of itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fleetfuel.model.records import Cut

WRONG_CLOCK: Final = timedelta(hours=24)
"""If a file was written this long before the time it claims, the store's clock is wrong, and its time is no limit. A
claim this far in the future is not used if there is another."""

WORTH_SAYING: Final = timedelta(minutes=1)
"""Smaller differences are usual: clocks differ a little, and stores write times in whole seconds."""


def believe_time(cut: Cut, now: datetime) -> Cut:
    """The cut with the time that is believed; `now` is the database's clock.

    The first claim of metadata, key and modification time is believed, but no time later than the file's modification
    time or than now. A claim that is not believed gets a remark.
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

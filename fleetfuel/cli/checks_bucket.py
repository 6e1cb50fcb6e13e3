"""What doctor checks in the bucket: the listing, the clock, the snapshot, the change files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from fleetfuel import errors
from fleetfuel.cli.finding import Finding, clock, guarded
from fleetfuel.report.health import LATE
from fleetfuel.settings import Settings

GAP_DAYS: Final = 7
"""Gaps in the change files of so many days are reported."""


def look_at_bucket(settings: Settings) -> Iterator[Finding]:
    """Each finding, as soon as it is known."""
    if not (settings.endpoint and settings.access_key and settings.secret_key):
        return
    from fleetfuel.feed import bucket, deliver
    from fleetfuel.feed.gaps import describe_gaps
    from fleetfuel.report.words import ago
    from fleetfuel.rules.book import load_rules

    try:
        listing = deliver.list_changes(settings)
    except errors.SourceNotFound as error:
        with bucket.open_bucket(settings) as store:
            names = ", ".join(store.bucket_names()) or "none"
        said, hint = str(error).splitlines()[0], f"RUSTFS_BUCKET names it. The keys see these buckets: {names}."
        yield Finding(name="bucket", said=said, next_step=hint, exit_code=error.exit_code)
        return
    there, here = None, datetime.now(UTC)
    with contextlib.suppress(errors.FleetfuelError), bucket.open_bucket(settings) as store:
        there = store.clock()  # if the keys may not ask for it, that is no fault: a run does not need it
    where = f"{settings.endpoint}, bucket {settings.bucket}"
    yield Finding(name="bucket", said=f"{where}: listed, {len(listing.files):,} change files")
    if there:
        yield clock("bucket", there, here)

    def snapshot() -> Iterator[Finding]:
        found = deliver.look_at_snapshot(settings)
        age = here - found.modified_at
        said = f"{found.key}, {found.size / 1e6:,.1f} MB, written {ago(age)} ago"
        limit = load_rules(settings.rules).guards.stale_feed_hours
        if age > timedelta(hours=limit):
            said += f"; an export that runs writes within {limit:g} hours"
            advice = "Does the export job run? Until it does, the table equals what it wrote last."
            yield Finding(name="snapshot", said=said, next_step=advice, exit_code=errors.BadInput.exit_code)
            return
        hint = "It is late: does the export job run?" if age > LATE else None
        yield Finding(name="snapshot", said=said, next_step=hint)

    def changes() -> Iterator[Finding]:
        newest = listing.files[-1]
        with deliver.fetch_changes(settings, [newest]) as delivery:
            bad = [each.reason for each in delivery.unreadable]
        if bad:
            raise errors.BadInput(key=newest.key, reason=f"{bad[0]}.")
        recent = [each.at for each in listing.files if each.at > here - timedelta(days=GAP_DAYS)]
        gaps = describe_gaps(recent)
        said = "; ".join(
            [f"the newest stands at {newest.at:%Y-%m-%d %H:%MZ}, {ago(here - newest.at)} ago, and can be read", *gaps]
        )
        hint = "It is late: does the export job run?" if here - newest.at > LATE else None
        hint = hint or ("The next snapshot makes up for hours without a file." if gaps else None)
        yield Finding(name="changes", said=said, next_step=hint)

    yield from guarded("snapshot", snapshot)
    with contextlib.suppress(errors.FleetfuelError):  # said above, whatever it is
        yield from _mark(settings)
    if listing.files:
        yield from guarded("changes", changes)
    else:
        yield Finding(name="changes", said="no change file; the snapshot alone will do")


def _mark(settings: Settings) -> Iterator[Finding]:
    """A finding if the next snapshot will be refused as old."""
    from fleetfuel.feed import deliver

    found, stands_at = deliver.look_at_snapshot(settings), _snapshot_mark(settings)
    if stands_at is None or found.modified_at >= stands_at:
        return
    yield Finding(
        name="mark",
        said=f"the last snapshot applied is of {stands_at:%Y-%m-%d %H:%MZ}, and {found.key} was written "
        f"before that, {found.modified_at:%Y-%m-%d %H:%MZ}: it will be refused as old",
        next_step="If the source was restored, or a wrong clock set that time: "
        "fleetfuel import --snapshot --force-old-snapshot, then with --apply",
        exit_code=3,
    )


def _snapshot_mark(settings: Settings) -> datetime | None:
    """File time of the last applied snapshot; None if that is not known, or lies in the future."""
    from fleetfuel.table import database, standing

    if not settings.database_url:
        return None
    with database.connect(settings.database_url, application_name="fleetfuel doctor") as connection:
        connection.begin(read_only=True)
        found = standing.believed_marks(standing.read_marks(connection)).get("snapshot")
        return found["watermark"] if found else None
